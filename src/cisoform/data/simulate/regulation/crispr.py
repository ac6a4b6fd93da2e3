"""CRISPRi-style tested pairs, in the columns of the CRISPR benchmark's training table.

Every open element within reach of a gene is tested, but the gene's own promoter. A pair is `Regulated` when silencing
the element lowers the gene by at least `LEAST_EFFECT` in truth, as in the benchmark, where only losses count; silenced
repressors show as significant with a positive EffectSize. Measured EffectSize has noise, labels have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.regulation.edits import silence
from cisoform.data.simulate.regulation.rules import REACH_BP, Floats, distances
from cisoform.data.simulate.regulation.simulation import Regulation

if TYPE_CHECKING:
    import polars

LEAST_EFFECT = 0.10
EFFECT_NOISE = 0.03
LEAST_OPEN = 0.2
TESTED_GROUPS = 2


def crispr_table(regulation: Regulation, levels: dict[str, Floats]) -> polars.DataFrame:
    """Tested pairs of the first groups."""
    import polars as pl

    rng = np.random.default_rng([regulation.config.seed, 112])
    distance = distances(regulation.genome)
    frames = [
        _pairs_of(regulation, levels, group, distance, rng)
        for group in range(min(TESTED_GROUPS, len(regulation.group_names)))
    ]
    return pl.concat(frames)


def _pairs_of(
    regulation: Regulation,
    levels: dict[str, Floats],
    group: int,
    distance: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> polars.DataFrame:
    import polars as pl

    genome = regulation.genome
    readout = regulation.readout
    open_enough = readout.accessibility[:, group] >= LEAST_OPEN
    own = np.array([e.gene if e.kind == "promoter" else -1 for e in genome.elements])
    tested = (
        (np.abs(distance) <= REACH_BP) & open_enough[:, None] & (own[:, None] != np.arange(len(genome.genes)))
    )
    element, gene = np.nonzero(tested)
    truth = np.stack([silence(regulation.book, readout, number)[:, group] for number in range(len(own))])
    effect = truth[element, gene]
    measured = np.round(effect + rng.normal(0, EFFECT_NOISE, len(effect)), 4)
    significant = np.abs(effect) >= LEAST_EFFECT
    p_value = np.where(significant, rng.uniform(1e-6, 0.05, len(effect)), rng.uniform(0.06, 1, len(effect)))
    elements, genes = genome.elements, genome.genes
    name = regulation.group_names[group]
    chroms = [genome.names[chrom] for chrom in genome.gene_chrom[gene]]
    dhs = np.round(readout.accessibility[:, group] * genome.height * 10, 4)
    marks = {mark: np.round(level[:, group], 4) for mark, level in levels.items()}
    # the mean of 1,500 bp is lower than the middle
    expanded = np.round(marks["h3k27ac"] * 0.75, 4)
    category = np.where(
        marks["h3k27ac"] > 4, "H3K27ac", np.where(marks["h3k27me3"] > 4, "H3K27me3", "No H3K27ac")
    )
    spans = [(elements[number].start, elements[number].end) for number in element.tolist()]
    columns: dict[str, object] = {
        "chrom": chroms,
        "chromStart": [span[0] for span in spans],
        "chromEnd": [span[1] for span in spans],
        "name": [
            f"{genes[g].name}|{chrom}:{span[0]}-{span[1]}:*"
            for g, chrom, span in zip(gene.tolist(), chroms, spans, strict=True)
        ],
        "EffectSize": measured,
        "chrTSS": chroms,
        "startTSS": genome.tss[gene],
        "endTSS": genome.tss[gene] + 1,
        "measuredGeneSymbol": [genes[g].name for g in gene.tolist()],
        "measuredGeneEnsemblId": [genes[g].gene_id for g in gene.tolist()],
        "Significant": significant,
        "pValueAdjusted": np.round(p_value, 6),
        **{
            f"PowerAtEffectSize{size}": np.full(len(effect), min(1.0, size / 25))
            for size in (10, 15, 20, 25, 50)
        },
        "ValidConnection": ["TRUE"] * len(effect),
        "CellType": [name] * len(effect),
        "Reference": ["simulated"] * len(effect),
        "Regulated": significant & (effect < 0),
        "Dataset": ["simulated"] * len(effect),
        "distanceToTSS": np.abs(distance[element, gene]),
        "measuredGeneUbiquitousExpressed": [genes[g].steady for g in gene.tolist()],
        "elementChromatinCategory": category[element],
        "H3K27ac_peak_overlap": (marks["h3k27ac"] > 4).astype(int)[element],
        "H3K27ac.RPM": marks["h3k27ac"][element],
        "H3K27ac.percentile": _percentile(marks["h3k27ac"])[element],
        "H3K27ac.RPM.expandedRegion": expanded[element],
        "H3K27ac.expandedRegion.percentile": _percentile(expanded)[element],
        "DHS.RPM": dhs[element],
        "DHS.percentile": _percentile(dhs)[element],
        "CTCF_peak_overlap": np.zeros(len(effect), int),
        "CTCF.RPM": np.zeros(len(effect)),
        "H3K27me3_peak_overlap": (marks["h3k27me3"] > 4).astype(int)[element],
        "H3K27me3.RPM": marks["h3k27me3"][element],
        "H3K4me1_peak_overlap": (marks["h3k4me1"] > 4).astype(int)[element],
        "H3K4me1.RPM": marks["h3k4me1"][element],
        "direct_vs_indirect_negative": np.ones(len(effect)),
        "direct_rate_negative": np.zeros(len(effect)),
        "indirect_rate_negative": np.zeros(len(effect)),
        "imputed_indirect_rate": [False] * len(effect),
    }
    frame = pl.DataFrame(columns)
    logical = [column for column in frame.columns if frame.schema[column] == pl.Boolean]
    return frame.with_columns(pl.col(column).cast(pl.String).str.to_uppercase() for column in logical)


def _percentile(values: Floats) -> Floats:
    """Rank from 0 to 1."""
    return np.round(values.argsort(kind="stable").argsort() / max(len(values) - 1, 1), 4)
