"""Real human pieces: K562 regions and genes of two contigs as a data set, and the assembly check on a chromosome."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cisoform.data.gene_build import build_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
from cisoform.data.genes import GenesDataset
from cisoform.genome.fasta import Genome
from cisoform.genome.interval import Interval
from cisoform.genome.peaks import parse_peak_names, place_peaks, tss_enrichment
from tests.data.multiome_files import write_h5ad

pytestmark = pytest.mark.pack
CONTIGS = ("ENm004s", "chr22_20M")


@pytest.fixture
def pack(packs_dir: Path) -> Path:
    if not (packs_dir / "human_regulation").is_dir():
        pytest.skip("no pack named human_regulation")
    return packs_dir / "human_regulation"


def test_enrichment_tells_the_right_assembly_from_a_shifted_one(pack: Path):
    regions = pl.read_parquet(pack / "k562_chr22" / "regions_atac.parquet")
    genes = pl.read_csv(pack / "k562_chr22" / "genes.tsv", separator="\t")
    names = [
        f"{chrom}:{start}-{end}" for chrom, start, end in regions.select("chrom", "start", "end").iter_rows()
    ]
    peaks = place_peaks(parse_peak_names(names, "regions"), {"chr22": 50_818_468}, "regions").peaks
    reads = regions["ATAC_reads"].to_numpy()[peaks.source].astype(np.float64)
    tss, chrom = genes["tss"].to_numpy(), np.zeros(genes.height, dtype=np.int64)
    right = tss_enrichment(peaks, reads, chrom, tss)
    assert right is not None and right > 10
    for shift in (50_000, 391_000, -400_000):
        wrong = tss_enrichment(peaks, reads, chrom, tss + shift)
        assert wrong is not None and wrong < 2, shift


def test_k562_regions_and_genes_of_two_contigs(pack: Path, tmp_path: Path):
    regions = pl.read_csv(pack / "k562_chr22" / "contig_regions_atac.tsv", separator="\t")
    genes = pl.read_csv(pack / "sequence" / "contig_genes.tsv", separator="\t").filter(
        pl.col("contig").is_in(CONTIGS)
    )
    cpm = dict(pl.read_parquet(pack / "expression" / "k562_multiome_pseudobulk_cpm.parquet").iter_rows())
    lines = []
    for contig, tss, strand, symbol, gene_id, kind in genes.iter_rows():
        start, end = (tss, tss + 50) if strand == "+" else (max(0, tss - 49), tss + 1)
        about = f'gene_id "{gene_id}"; transcript_id "T{gene_id}"; gene_name "{symbol}"; gene_type "{kind}";'
        lines += [
            f"{contig}\tx\t{what}\t{start + 1}\t{end}\t.\t{strand}\t.\t{about}\n"
            for what in ("transcript", "exon")
        ]
    (tmp_path / "genes.gtf").write_text("".join(lines))
    spans = regions.select("contig", "contig_start", "contig_end")
    names = [f"{contig}:{start}-{end}" for contig, start, end in spans.iter_rows()]
    width = (regions["contig_end"] - regions["contig_start"]).to_numpy()
    signal = regions["ATAC.RPM"].to_numpy() * 10 / width
    known = [symbol for symbol in genes["symbol"] if symbol in cpm]
    rna = write_h5ad(tmp_path / "rna.h5ad", np.log1p([[cpm[symbol] for symbol in known]]), ["K562"], known)
    atac = write_h5ad(tmp_path / "atac.h5ad", signal[None], ["K562"], names)
    inputs = GeneInputs(
        genome=pack / "sequence" / "contigs.fa.gz", annotation=tmp_path / "genes.gtf", rna=rna, atac=atac
    )
    config = GeneBuildConfig(allow_normalised=True, test_chromosomes=("ENm004s",), valid_chromosomes=())
    made = build_genes(inputs, tmp_path / "d", config)
    data = GenesDataset.open(tmp_path / "d")
    assert data.n_peaks == 443 and 10 < made.n_genes <= 22
    assert set(data.genes.filter(pl.col("split") == "test")["chrom"]) == {"ENm004s"}
    genome = Genome.open(pack / "sequence" / "contigs.fa.gz")
    for peak in (0, 200, 442):
        chrom, start, end = data.peaks.row(peak)
        first = (start + end) // 2 - 514
        expected = genome.fetch(Interval(chrom, first, first + 1029))
        np.testing.assert_array_equal(data.windows(np.array([peak]))[0], expected)
    assert data.index.promoter.mean() > 0.3, "real starts are accessible"
    near = [int(np.abs(data.index.distance(gene)).max()) for gene in range(len(data.index))]
    assert max(near) <= 150_000
