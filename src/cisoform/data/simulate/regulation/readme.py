"""The README.txt of a regulatory simulation, and what every file of it holds."""

from __future__ import annotations

from typing import Any

from cisoform.data.simulate.regulation.simulation import Regulation

FILES = {
    "genome.fa": "genome, with .fai (genome.fa.gz, .fai, .gzi after --bgzip)",
    "annotation.gtf": "one protein-coding transcript per gene; TFs are genes of the same name",
    "peaks.bed": "called peaks, the columns of the ATAC matrix",
    "blacklist.bed": "stretches of N",
    "motifs.meme": "a motif per TF, decoys included",
    "tfs.txt": "names of the TFs",
    "tracks.tsv": "sample (group), track, path of its bigWig relative to this table",
    "tracks/": "bigWigs: atac, h3k27ac, h3k27me3, h3k4me1, h3k4me3 for every group",
    "filtered_feature_bc_matrix.h5": "10x multiome: Gene Expression and Peaks, cells only",
    "multiome.h5mu": "the same counts as MuData (rna, atac) with the cell metadata",
    "atac_fragments.tsv.gz": "fragments, also of barcodes that are no cells; .tbi beside it",
    "cells.tsv": "barcode, cell_type, state, group (cell type and state: the pseudobulk), counts",
    "expression.tsv": "observed CP10k (linear) of the groups",
    "splits.tsv": "chromosome, train/valid/test",
    "crispr.tsv": "tested pairs in the columns of the CRISPR benchmark",
    "chip/": "ChIP peaks, TF.bed over all groups and GROUP/TF.bed",
    "variants.vcf": "single-base variants in sites and beside them",
    "truth.json": "links, TF edges, masters, driver, knock-outs, attainable scores, settings",
    "truth/genes.parquet": "level and answer of each gene, expected and observed expression by group",
    "truth/elements.parquet": "peaks: kind, gate, accessibility and effect by group",
    "truth/sites.parquet": "sites of TFs that bind, with strand and strength",
    "truth/tfs.parquet": "role, sign and activity by group",
    "truth/links.parquet": "every peak and gene within reach, effect on the log rate by group",
    "truth/tf_links.parquet": "TF, peak, gene with sign and effect by group",
    "truth/knockout.parquet": "activity of one TF set to 0: change by gene and group",
    "truth/knockin.parquet": "activity of one TF set to 1: change by gene and group",
    "truth/variants.parquet": "change of the log rate by variant, gene and group",
}

_TEXT = """Simulated regulatory genome with planted rules (cisoform simulate)
==================================================================
{n_genes} genes, {n_peaks} peaks, {n_tfs} TFs, {n_groups} groups of {n_cells} cells, {megabases:.1f} Mb, seed {seed}.
Rules that act: {rules}.

Files
-----
{files}

What was planted
----------------
Peaks are read within 300 bp of their middle. {n_binding} TFs bind; the other {n_decoys} are expressed decoys whose
motifs lie in the same peaks and do nothing, and {n_shadows} of them follow the expression of a TF that acts. A site is
worth 0 to 1 by its score. Binding of a TF = sites (at most 4) x activity in the group x chromatin gate. Bound TFs open
a peak alike, whatever they do: activators raise, repressors lower, neutral ones do nothing; some peaks are open
without any site. Accessibility therefore does not tell the sign; the motif does.
  log rate of a gene = level + answer x {effect} x sum over peaks of exp(-distance / {decay:,} bp) x effect of the peak
up to {reach:,} bp. Core-promoter motifs set the level. Steady promoters (CpG-rich, STEADY motif) answer with {steady}
of the full effect, so the gene an enhancer moves most is often not the nearest one. At each TF's gene lie two
elements of a ubiquitous activator whose chromatin gate follows the activity of that TF, so its expression does too.
Half of the cells of {state_types} are stimulated: there the driver {driver} is on, and nothing else differs.
Knock-outs are direct effects: other TFs keep their activity. Marks follow binding and accessibility.

This simulation
---------------
{figures}

Measured on preset small (fits leave one chromosome out; every gene in every group)
{measured}

Bytes: the same seed gives the same bytes in every file with the same library versions; multiome.h5mu and parquet carry
the versions of the libraries that wrote them.
"""

MEASURED = """
Pearson per gene across groups, mean over genes, seeds 0, 1, 2    (ceiling 0.95 to 0.97)
  ridge on accessibility with distance decay, and of the promoter 0.20  0.15  0.18
  ridge on motif scan (44 motifs) x accessibility x decay         0.74  0.70  0.78
  ridge with the true sign of each peak x accessibility x decay   0.78  0.78  0.82
  the same with the noise-free opening by TFs                     0.88  0.89  0.92
  (the last three know which promoters are steady; without, the motif scan of the 13 binding TFs gives 0.71 to 0.74)
AUPRC of the tested pairs, Regulated (8.6 to 10 % of pairs)       truth 1
  -distance                                                       0.40  0.44  0.46
  accessibility x distance^-0.87                                  0.35  0.39  0.38
  sqrt(accessibility x H3K27ac) x distance^-0.87                  0.63  0.68  0.65
Preset tiny is a test of formats: its accessibility ridge gives 0.30 to 0.38, its motif scan 0.36 to 0.74.
""".strip("\n")


def readme_text(regulation: Regulation, planted: dict[str, Any]) -> str:
    """The text of README.txt."""
    from cisoform.data.simulate.regulation.rules import DECAY_BP, EFFECT, REACH_BP, STEADY_ANSWER

    figures = planted["summary"] | {
        f"attainable_{key}": value for key, value in planted["attainable"].items()
    }
    tfs = regulation.roster.tfs
    width = max(len(name) for name in FILES)
    return _TEXT.format(
        **{key: figures[key] for key in ("n_genes", "n_peaks", "n_tfs", "n_groups", "n_cells")},
        megabases=figures["n_bases"] / 1e6,
        seed=regulation.config.seed,
        rules=", ".join(sorted(regulation.config.rules)) or "none",
        files="\n".join(f"{name:<{width}}  {what}" for name, what in FILES.items()),
        n_binding=len(regulation.roster.binding),
        n_decoys=len(regulation.roster.of_role("decoy")),
        n_shadows=sum(tf.shadows is not None for tf in tfs),
        effect=EFFECT,
        decay=DECAY_BP,
        reach=REACH_BP,
        steady=STEADY_ANSWER,
        state_types=" and ".join(planted["state"]["cell_types"]),
        driver=planted["state"]["driver"],
        figures="\n".join(f"{key:<42} {_figure(value)}" for key, value in figures.items()),
        measured=MEASURED,
    )


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return f"{value:,}"
