"""The README of a simulated folder: what each file is and what was planted."""

from __future__ import annotations

import numpy as np

from cisoform.data.simulate import chromatin
from cisoform.data.simulate.expression import ceiling
from cisoform.data.simulate.rules import SHARED_MOTIF, SPECIFIC_MOTIFS, UTR3_MOTIFS
from cisoform.data.simulate.simulation import Simulation

_TEXT = """\
Simulated genome with planted expression rules
==============================================

Made by `cisoform simulate`; nothing here is real. {genes} genes, {transcripts} transcripts, {tissues} tissues,
{megabases:.1f} Mb on {chromosomes} chromosomes, seed {seed}. Rules that act: {rules}.

Files
-----
genome.fa            genome (genome.fa.gz when bgzip was asked for), with its index
annotation.gtf       GENCODE flavour
expression.tsv       transcript x tissue, TPM-like units (columns are not scaled to a million)
replicates.tsv       transcript x sample, {replicates} replicates per tissue; samples.tsv says which tissue
gene_expression.tsv  sum over each gene's transcripts
splits.tsv           train / valid / test by gene
variants.vcf         variants that break or create sites, and controls; effects in truth.json
elements.bed         every planted site: MOTIF|GENE|acts or decoy
truth.json           rules with all constants, variance shares, attainable R2, effect of each variant
truth.parquet        per transcript: features, contribution of each rule in each tissue, noise-free value
{track_files}
What was planted (all additive on log1p TPM)
--------------------------------------------
promoter  {promoter}.
          A site acts on the transcript's strand, with full weight from 200 to 30 bp before the TSS, fading to 0
          at 250 and 10. One mismatch halves it. {shared} raises in all tissues, the others in some. Isoforms
          with another TSS have another promoter.
uorf      An upstream ORF in the 5'UTR ([AG]NNATGG with a stop inside the 5'UTR) lowers the isoform.
utr3      Sites in the 3'UTR only: {utr3}. The first lowers everywhere, the second raises in
          every other tissue and lowers in the rest.
codon     Codons ending in A or C raise; within a synonymous family, so GC content does not tell.
protein   Residues F D P K raise, V Y T Q lower (both sets use bases equally often at codon positions 1 and 2),
          and A L R S among the first 20 residues raise (a presequence).
{chromatin}noise     Normal on log1p TPM. expression.tsv is the mean of the replicates on that scale.

Motifs also occur by chance and as planted decoys where they do not act; chance sites in place do act.
A rule switched off leaves the sequences as they are and contributes exactly 0.

Best R2 anyone can reach on log1p TPM (noise-free values against the table), by tissue
----------------------------------------------------------------------------------------
{ceilings}
"""


_TRACK_FILES = """\
tracks/, tracks.tsv  accessibility of each tissue as bigWig ({track}); the samples are the tissues of expression.tsv
"""
_CHROMATIN = """\
chromatin A start is open or closed in each tissue, by a coin; open raises its transcripts there. The bases do not
          say it, the tracks do, with noise; further peaks in them do nothing.
"""


def readme_text(simulation: Simulation) -> str:
    """The text of README.txt."""
    config, genome = simulation.config, simulation.genome
    motifs = (SHARED_MOTIF, *SPECIFIC_MOTIFS[: config.n_specific_motifs])
    ceilings = zip(config.tissues, ceiling(simulation.expression), strict=True)
    return _TEXT.format(
        genes=len(genome.genes),
        transcripts=len(genome.transcript_ids),
        tissues=config.n_tissues,
        megabases=sum(len(codes) for codes in genome.chromosomes.values()) / 1e6,
        chromosomes=config.n_chromosomes,
        seed=config.seed,
        rules=", ".join(sorted(config.rules)) or "none",
        replicates=config.replicates,
        promoter=" ".join(f"{name}={motif}" for name, motif in motifs),
        shared=SHARED_MOTIF[0],
        utr3=" ".join(f"{name}={motif}" for name, motif in UTR3_MOTIFS),
        track_files=_TRACK_FILES.format(track=chromatin.TRACK) if config.has_tracks else "",
        chromatin=_CHROMATIN if config.has_tracks else "",
        ceilings="\n".join(f"{tissue:<10} {np.round(value, 3):.3f}" for tissue, value in ceilings),
    )
