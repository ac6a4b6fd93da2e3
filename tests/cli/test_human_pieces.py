"""A smoke test on real human pieces, no more: that both stages run on them, not that anything general is learnt.

What is run, from the pack `human_regulation`: K562 at chr22_20M and ENm004s (1.3 Mb of hg19), in contig coordinates.

    stage 1   tracks atac, dnase and h3k27ac: reads per million of each candidate region, spread over its bases (the
              pack has no base-level track here), cut into windows of 2,048 bp; ENm004s held out
    stage 2   the 443 ATAC regions as peaks, the same atac track, and expression of the 22 genes of the contigs from
              1,000 nuclei (their summed counts per million; genes that the nuclei lack from the pack's pseudobulk)

What does not fit together and is left out: the pack's fragments lie at chr22:10.6-16.5 Mb (hg38), for which it has no
sequence; and its nuclei have no accessibility of their own, so K562 is one sample, and nothing across cells is scored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytestmark = pytest.mark.pack
Cli = Callable[..., Any]
CONTIGS = ("chr22_20M", "ENm004s")


@pytest.fixture
def pieces(packs_dir: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The pack, and a folder with tables of its pieces in contig coordinates."""
    pack = packs_dir / "human_regulation"
    if not pack.is_dir():
        pytest.skip("no pack named human_regulation")
    atac = pl.read_csv(pack / "k562_chr22" / "contig_regions_atac.tsv", separator="\t")
    other = pl.read_csv(pack / "k562_chr22" / "contig_regions_dhs_h3k27ac.tsv", separator="\t")
    for name, table, column in (
        ("atac", atac, "ATAC_reads"),
        ("dnase", other, "DHS_reads"),
        ("h3k27ac", other, "H3K27ac_reads"),
    ):
        write_bedgraph(tmp_path / f"{name}.bedGraph", table, column)
    spans = atac.select("contig", "contig_start", "contig_end").sort("contig", "contig_start")
    spans.write_csv(tmp_path / "peaks.bed", separator="\t", include_header=False)
    genes = pl.read_csv(pack / "sequence" / "contig_genes.tsv", separator="\t")
    genes = genes.filter(pl.col("contig").is_in(CONTIGS))
    write_gtf(tmp_path / "genes.gtf", genes)
    write_expression(tmp_path / "expression.tsv", pack, genes["symbol"].to_list())
    return pack, tmp_path


def write_bedgraph(path: Path, table: pl.DataFrame, reads: str) -> None:
    """Reads of each region per million of all regions' reads, spread over its bases; of two that overlap the later is cut."""
    total, lines, last = table[reads].sum(), [], {}
    columns = table.sort("contig", "contig_start").select("contig", "contig_start", "contig_end", reads)
    for contig, start, end, count in columns.iter_rows():
        first = max(start, last.get(contig, 0))
        if first < end:
            lines.append(f"{contig}\t{first}\t{end}\t{1e6 * count / total / (end - start):.5f}\n")
            last[contig] = end
    path.write_text("".join(lines))


def write_gtf(path: Path, genes: pl.DataFrame) -> None:
    lines = []
    for contig, tss, strand, symbol, gene_id, kind in genes.iter_rows():
        start, end = (tss, tss + 50) if strand == "+" else (max(0, tss - 49), tss + 1)
        about = f'gene_id "{gene_id}"; transcript_id "T{gene_id}"; gene_name "{symbol}"; gene_type "{kind}";'
        for what in ("transcript", "exon"):
            lines.append(f"{contig}\tpack\t{what}\t{start + 1}\t{end}\t.\t{strand}\t.\t{about}\n")
    path.write_text("".join(lines))


def write_expression(path: Path, pack: Path, symbols: list[str]) -> None:
    import anndata

    nuclei = anndata.read_h5ad(pack / "multiome" / "k562_rna_1000cells_chr22_tfs.h5ad")
    summed = dict(zip(nuclei.var_names, nuclei.X.sum(axis=0).A1, strict=True))
    total = float(nuclei.obs["total_counts_all_genes"].sum())
    pseudobulk = dict(
        pl.read_parquet(pack / "expression" / "k562_multiome_pseudobulk_cpm.parquet").iter_rows()
    )
    values = {
        name: 1e6 * summed[name] / total if name in summed else pseudobulk.get(name) for name in symbols
    }
    rows = [f"{name}\t{value:.4f}\n" for name, value in values.items() if value is not None]
    path.write_text("gene\tK562\n" + "".join(rows))


def test_smoke_both_stages_on_k562_pieces(pieces: tuple[Path, Path], cli: Cli) -> None:
    pack, root = pieces
    genome = pack / "sequence" / "contigs.fa.gz"
    rows = [f"K562\t{name}\t{name}.bedGraph\n" for name in ("atac", "dnase", "h3k27ac")]
    (root / "tracks.tsv").write_text("sample\ttrack\tpath\n" + "".join(rows))
    (root / "atac.tsv").write_text("sample\ttrack\tpath\nK562\tatac\tatac.bedGraph\n")

    def run(*words: object) -> Any:
        result = cli("regulation", *words)
        assert result.exit_code == 0, f"{words}\n{result.stderr}"
        return result

    held_out = ("--test-chromosomes", "ENm004s")
    made = run(
        *("build-regions", "--genome", genome, "--tracks", root / "tracks.tsv", "--window", 2048),
        *("--chromosomes", ",".join(CONTIGS), *held_out, "--out", root / "regions", "--json"),
    )
    # 1.3 Mb in windows of 2,053 bp; those in the gap of 100,000 N of chr22_20M are left out.
    assert 560 <= json.loads(made.stdout)["n_regions"] <= 633
    settings = ("--set", "train.epochs=null", "--set", "train.max_steps=30", "--device", "cpu")
    run("pretrain", root / "regions", "--recipe", "tiny", "--out", root / "first", *settings)
    scored = run(
        *("evaluate", root / "first", "--data", root / "regions", "--split", "test", "--tokens", 8192),
        *("--json", "--device", "cpu"),
    )
    part = json.loads(scored.stdout)["parts"]["unseen chromosome, seen sample"]
    assert set(part["preserved"]) == {"atac", "dnase", "h3k27ac"}
    made = run(
        *(
            "build-genes",
            "--genome",
            genome,
            "--annotation",
            root / "genes.gtf",
            "--tracks",
            root / "atac.tsv",
        ),
        *("--peaks", root / "peaks.bed", "--expression", root / "expression.tsv", "--edges", root / "first"),
        *(*held_out, "--out", root / "genes", "--json"),
    )
    found = json.loads(made.stdout)
    assert found["n_peaks"] == 443 and 15 < found["n_genes"] <= 22, found
    run(
        *(
            "fit",
            root / "genes",
            "--elementary",
            root / "first",
            "--recipe",
            "tiny",
            "--out",
            root / "second",
        ),
        *("--cache", root / "cache", *settings),
    )
    words = (root / "second", "--data", root / "genes", "--cache", root / "cache", "--device", "cpu")
    scored = run("evaluate", *words, "--split", "test", "--json")
    parts = json.loads(scored.stdout)["parts"]
    run("predict", *words, "--out", root / "predicted.tsv")
    table = pl.read_csv(root / "predicted.tsv", separator="\t")
    assert table.height == found["n_genes"] and table["predicted"].is_finite().all()
    assert any(part["n_genes"] == 4 for part in parts.values()), "the four genes of ENm004s are scored"
