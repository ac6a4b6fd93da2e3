"""The whole layer on a real genome: RNA and proteins must equal the sequences shipped with the pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cisoform.errors import InputError
from cisoform.genome.annotation import read_annotation
from cisoform.genome.expression import read_expression
from cisoform.genome.fasta import Genome, read_fasta_records
from cisoform.genome.interval import Interval
from cisoform.genome.names import match_ids
from cisoform.genome.sequence import decode_dna, decode_protein
from cisoform.genome.transcripts import TranscriptSet, build_transcripts
from tests.genome import toy

pytestmark = pytest.mark.pack


@pytest.fixture(scope="module")
def genome(yeast_pack: Path) -> Genome:
    return Genome.open(yeast_pack / "genome.fa.gz")


@pytest.fixture(scope="module")
def isoforms(yeast_pack: Path, genome: Genome) -> TranscriptSet:
    return build_transcripts(read_annotation(yeast_pack / "isoforms.gtf.gz"), genome)


def test_every_rna_equals_the_shipped_transcript(yeast_pack: Path, isoforms: TranscriptSet):
    shipped = {
        record.name: record.sequence for record in read_fasta_records(yeast_pack / "transcripts.fa.gz")
    }
    ids = isoforms.table["transcript_id"].to_list()
    same = sum(decode_dna(isoforms.rna[row]) == shipped[name] for row, name in enumerate(ids))
    assert (same, len(ids), len(shipped)) == (7116, 7116, 7116)


def test_every_protein_equals_the_shipped_one(yeast_pack: Path, isoforms: TranscriptSet):
    shipped = {record.name: record.sequence for record in read_fasta_records(yeast_pack / "proteins.fa.gz")}
    genes = isoforms.table["gene_id"].to_list()
    same = sum(
        decode_protein(isoforms.protein[int(isoforms.protein_row[row])]) == shipped[gene]
        for row, gene in enumerate(genes)
    )
    assert same == 7116
    distinct = {decode_protein(isoforms.protein[row]) for row in range(len(isoforms.protein))}
    assert distinct == {shipped[gene] for gene in genes}
    assert len(distinct) == len(isoforms.protein)


def test_coordinates_and_lengths_equal_the_table(yeast_pack: Path, isoforms: TranscriptSet):
    shipped = pl.read_csv(yeast_pack / "isoforms.tsv.gz", separator="\t")
    both = shipped.join(isoforms.table, on="transcript_id", suffix="_ours")
    assert both.height == 7116
    for name in (
        "gene_id",
        "gene_name",
        "chrom",
        "strand",
        "tss",
        "utr5_len",
        "cds_len",
        "utr3_len",
        "rna_len",
    ):
        assert (both[name] == both[f"{name}_ours"]).all(), name
    # The pack gives the end of a plus-strand transcript exclusively; here tes is the last base itself.
    last = both["tes"] - (both["strand"] == "+").cast(pl.Int64)
    assert (last == both["tes_ours"]).all()


def test_nothing_is_odd_about_the_isoforms(isoforms: TranscriptSet):
    assert isoforms.report["coding"] == 7116
    assert (isoforms.table["flags"] == 0).all()
    assert (
        isoforms.assembly.start,
        isoforms.assembly.no_internal_stop,
        isoforms.assembly.canonical_introns,
    ) == (1, 1, 1)
    assert isoforms.dropped.height == 0


def test_the_rna_begins_where_the_window_of_its_tss_is_centred(genome: Genome, isoforms: TranscriptSet):
    rows = np.flatnonzero(isoforms.table["n_exons"].to_numpy() == 1)[::200]
    for row in rows.tolist():
        chrom, tss, strand = isoforms.table.select("chrom", "tss", "strand").row(row)
        window = genome.fetch(Interval.window(chrom, tss, 40, strand))
        assert (window[20:] == isoforms.rna[row][:20]).all()


def test_the_ensembl_annotation_fits_too(yeast_pack: Path, genome: Genome):
    made = build_transcripts(read_annotation(yeast_pack / "annotation.gtf.gz"), genome)
    assert len(made) > 6900
    assert made.assembly.start > 0.999 and made.report["internal_stop"] == 0


def test_another_assembly_is_refused(tmp_path: Path, yeast_pack: Path, genome: Genome):
    # The same chromosome with 1,000 bases less at its start, and room for the last transcripts.
    letters = decode_dna(genome.chromosome("I"))
    shifted = Genome.open(
        toy.write_fasta(tmp_path / "other.fa", {"chrI": letters[1000:] + "A" * 1000}, width=60)
    )
    annotation = read_annotation(yeast_pack / "isoforms.gtf.gz")
    one = annotation.take(np.flatnonzero((annotation.transcripts["chrom"] == "I").to_numpy()))
    with pytest.raises(InputError, match=r"only \d\.\d% of \d+ complete CDS begin with a start codon"):
        build_transcripts(one, shifted)


def test_expression_belongs_to_the_isoforms(yeast_pack: Path, isoforms: TranscriptSet):
    table = read_expression(yeast_pack / "expression_isoform.tsv.gz", tissues=["WT", "diamide"])
    match = match_ids(isoforms.table["transcript_id"].to_list(), table.ids)
    assert (len(match), match.n_exact) == (7116, 7116)
    assert np.isfinite(table.values).all()
    genes = read_expression(yeast_pack / "expression_gene.tsv.gz")
    assert genes.values.shape == (6073, 6)
    assert (
        len(match_ids(sorted(set(isoforms.table["gene_id"])), genes.ids))
        == isoforms.table["gene_id"].n_unique()
    )


def test_replicates_average_to_the_shipped_means(tmp_path: Path, yeast_pack: Path):
    samples = tmp_path / "samples.tsv"
    rows = [f"{tissue}_rep{number}\t{tissue}" for tissue in ("WT", "diamide") for number in (1, 2, 3)]
    samples.write_text("\n".join(["sample\ttissue", *rows]) + "\n")
    path = yeast_pack / "expression_isoform.tsv.gz"
    means = read_expression(path, samples=samples)
    shipped = read_expression(path, tissues=["WT", "diamide"])
    assert (means.columns, means.n_samples) == (["WT", "diamide"], [3, 3])
    # The pack rounds to four decimals.
    np.testing.assert_allclose(means.values, shipped.values, rtol=1e-6, atol=1.1e-4)
