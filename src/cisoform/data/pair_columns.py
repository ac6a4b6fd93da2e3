"""Columns of the CRISPR benchmark's tables: the signals of an element, and what no predictor may use."""

from __future__ import annotations

import re

SIGNALS = ("DHS.RPM", "H3K27ac.RPM.expandedRegion", "H3K27ac.RPM", "CTCF.RPM", "H3K27me3.RPM", "H3K4me1.RPM")
"""Signals of an element that the benchmark's tables hold: reads per million."""
PERCENTILES = {
    "DHS.RPM": "DHS.percentile",
    "H3K27ac.RPM": "H3K27ac.percentile",
    "H3K27ac.RPM.expandedRegion": "H3K27ac.expandedRegion.percentile",
}
"""By signal, the column with its rank (0 to 1) among all elements of the cell type's genome that are no promoters."""
UBIQUITOUS = "measuredGeneUbiquitousExpressed"
_ANSWER = re.compile(
    r"effect.?size|significan|p.?val|q.?val|fdr|^padj|power|valid.?connection|regulated|direct_|_direct|indirect",
    re.IGNORECASE,
)
_DESIGN = re.compile(
    r"^(dataset|reference|name|celltype|notes?|guides?.*|.*nperturbed.*|study|screen)$", re.IGNORECASE
)
_IDENTITY = re.compile(
    r"^(chrom|chr|chromstart|chromend|start|end|chrtss|starttss|endtss|measuredgene(symbol|ensemblid)|gene|strand.*)$",
    re.IGNORECASE,
)


def refuse_column(name: str) -> str | None:
    """Why a column may not be a feature of a predictor; None where it may."""
    if _ANSWER.search(name):
        return "holds the answer or how sure the screen was of it"
    if _DESIGN.search(name):
        return "tells the screens apart, not the pairs"
    if _IDENTITY.search(name):
        return "names the place or the gene, which a predictor would learn by heart"
    return None
