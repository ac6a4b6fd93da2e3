from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import anndata
import h5py
import mudata
import numpy as np
import polars as pl
import pybigtools
import pysam
import pytest
from scipy import sparse

from cisoform.data.simulate.regulation.files import write_genome
from cisoform.data.simulate.regulation.readme import FILES
from cisoform.data.simulate.regulation.simulation import simulate_regulation
from cisoform.data.simulate.regulation.write import write_regulation
from cisoform.errors import InputError
from cisoform.genome.annotation import read_annotation
from cisoform.genome.fasta import Genome
from cisoform.genome.transcripts import build_transcripts

CRISPR_COLUMNS = (
    "chrom chromStart chromEnd name EffectSize chrTSS startTSS endTSS measuredGeneSymbol measuredGeneEnsemblId "
    "Significant pValueAdjusted PowerAtEffectSize10 PowerAtEffectSize15 PowerAtEffectSize20 PowerAtEffectSize25 "
    "PowerAtEffectSize50 ValidConnection CellType Reference Regulated Dataset distanceToTSS "
    "measuredGeneUbiquitousExpressed elementChromatinCategory H3K27ac_peak_overlap H3K27ac.RPM H3K27ac.percentile "
    "H3K27ac.RPM.expandedRegion H3K27ac.expandedRegion.percentile DHS.RPM DHS.percentile CTCF_peak_overlap CTCF.RPM "
    "H3K27me3_peak_overlap H3K27me3.RPM H3K4me1_peak_overlap H3K4me1.RPM direct_vs_indirect_negative "
    "direct_rate_negative indirect_rate_negative imputed_indirect_rate"
).split()


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(regulated, tmp_path):
    write_regulation(simulate_regulation(regulated.config), tmp_path / "again")
    first, again = all_bytes(regulated.out), all_bytes(tmp_path / "again")
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []
    other = simulate_regulation(replace(regulated.config, seed=4))
    assert not np.array_equal(
        other.genome.chromosomes["chr1"], regulated.regulation.genome.chromosomes["chr1"]
    )


def test_every_file_of_the_list_is_there_and_every_file_is_in_the_list(regulated):
    assert all((regulated.out / name).exists() for name in FILES)
    companions = {"genome.fa.fai", "atac_fragments.tsv.gz.tbi", "README.txt"}
    written = {name.split("/")[0] for name in all_bytes(regulated.out)} - companions
    assert written == {name.rstrip("/").split("/")[0] for name in FILES}
    assert regulated.truth["files"] == FILES
    assert "attainable_r2" in (regulated.out / "README.txt").read_text()


def read_10x(path):
    with h5py.File(path) as file:
        group = file["matrix"]
        shape = tuple(group["shape"][:])
        matrix = sparse.csc_matrix((group["data"][:], group["indices"][:], group["indptr"][:]), shape=shape)
        features = {
            name: group["features"][name][:].astype(str)
            for name in ("id", "name", "feature_type", "interval")
        }
        return matrix.T.tocsr(), group["barcodes"][:].astype(str).tolist(), features


def test_fragments_give_the_peak_counts_of_the_matrix(regulated):
    matrix, barcodes, features = read_10x(regulated.out / "filtered_feature_bc_matrix.h5")
    is_peak = features["feature_type"] == "Peaks"
    rows = {name: number for number, name in enumerate(barcodes)}
    peaks = [line.split("\t") for line in (regulated.out / "peaks.bed").read_text().splitlines()]
    assert [f"{c}:{s}-{e}" for c, s, e, _ in peaks] == features["id"][is_peak].tolist()
    assert features["interval"][is_peak].tolist() == features["id"][is_peak].tolist()
    counts = np.zeros((len(barcodes), len(peaks)), int)
    strangers = 0
    with pysam.TabixFile(str(regulated.out / "atac_fragments.tsv.gz")) as fragments:
        for number, (chrom, start, end, _) in enumerate(peaks):
            for line in fragments.fetch(chrom, int(start), int(end)):
                _, left, right, barcode, _ = line.split("\t")
                if barcode not in rows:
                    strangers += 1
                    continue
                for cut in (int(left), int(right) - 1):
                    counts[rows[barcode], number] += int(start) <= cut < int(end)
    assert strangers > 0
    assert np.array_equal(matrix[:, is_peak].toarray(), counts)


def test_fragments_are_sorted_inside_their_chromosomes_and_carry_a_header(regulated):
    with gzip.open(regulated.out / "atac_fragments.tsv.gz", "rt") as handle:
        lines = handle.read().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert lines[0].startswith("# id=") and len(rows) > 1000
    keys = [(int(chrom[3:]), int(start), int(end)) for chrom, start, end, *_ in rows]
    assert keys == sorted(keys)
    sizes = {name: len(text) for name, text in regulated.dna.items()}
    assert all(0 <= int(start) < int(end) <= sizes[chrom] for chrom, start, end, *_ in rows)
    assert all(int(row[4]) >= 1 for row in rows)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_mudata_holds_the_same_counts_and_the_labels(regulated):
    matrix, barcodes, features = read_10x(regulated.out / "filtered_feature_bc_matrix.h5")
    both = mudata.read_h5mu(regulated.out / "multiome.h5mu")
    is_peak = features["feature_type"] == "Peaks"
    assert isinstance(both["rna"], anndata.AnnData)
    assert both["rna"].obs_names.tolist() == barcodes
    assert both["rna"].var["gene_ids"].tolist() == features["id"][~is_peak].tolist()
    assert both["atac"].var_names.tolist() == features["id"][is_peak].tolist()
    assert (both["rna"].X != matrix[:, ~is_peak]).nnz == 0 and (both["atac"].X != matrix[:, is_peak]).nnz == 0
    cells = pl.read_csv(regulated.out / "cells.tsv", separator="\t")
    assert cells["barcode"].to_list() == barcodes
    for column in ("cell_type", "state", "group"):
        assert both["atac"].obs[column].astype(str).tolist() == cells[column].to_list()
    assert cells["n_umi"].to_list() == matrix[:, ~is_peak].sum(1).A1.astype(int).tolist()
    assert set(cells["state"]) == {"rest", "stimulated"}


def test_tracks_cover_every_base_and_follow_accessibility(regulated):
    table = pl.read_csv(regulated.out / "tracks.tsv", separator="\t")
    names = regulated.regulation.group_names
    assert table.columns == ["sample", "track", "path"] and table.height == 5 * len(names)
    elements = pl.read_parquet(regulated.out / "truth" / "elements.parquet").filter(pl.col("chrom") == "chr1")
    group = names[0]
    signal = {}
    for track, path in table.filter(pl.col("sample") == group).select("track", "path").rows():
        file = pybigtools.open(str(regulated.out / path))
        assert file.chroms() == {name: len(text) for name, text in regulated.dna.items()}
        values = file.values("chr1", 0, len(regulated.dna["chr1"]), fillna=None)
        assert not np.isnan(values).any() and values.min() >= 0
        signal[track] = np.array([values[mid - 250 : mid + 250].mean() for mid in elements["mid"]])
    open_share = elements[f"accessibility.{group}"].to_numpy()
    effect, kind = elements[f"effect.{group}"].to_numpy(), elements["kind"].to_numpy()
    assert np.corrcoef(signal["atac"], open_share)[0, 1] > 0.8
    distal = kind != "promoter"
    assert (
        signal["h3k27ac"][distal & (effect > 0.4)].mean()
        > 4 * signal["h3k27ac"][distal & (effect < -0.4)].mean()
    )
    assert signal["h3k27me3"][effect < -0.4].mean() > 4 * signal["h3k27me3"][effect > 0.4].mean()
    assert signal["h3k4me3"][~distal].mean() > 4 * signal["h3k4me3"][distal].mean()
    assert np.abs(signal["atac"][effect > 0.4].mean() / signal["atac"][effect < -0.4].mean() - 1) < 0.5


def test_the_annotation_fits_the_genome(regulated):
    genome = Genome.open(regulated.out / "genome.fa")
    annotation = read_annotation(regulated.out / "annotation.gtf")
    transcripts = build_transcripts(annotation, genome)
    assert transcripts.table["flags"].to_list() == [0] * len(regulated.regulation.genome.genes)
    genes = pl.read_parquet(regulated.out / "truth" / "genes.parquet")
    joined = transcripts.table.select(
        "gene_id", pl.col("tss").alias("read"), pl.col("strand").alias("s")
    ).join(genes, on="gene_id")
    assert joined.height == genes.height
    assert (joined["read"] == joined["tss"]).all() and (joined["s"] == joined["strand"]).all()
    assert set((regulated.out / "tfs.txt").read_text().split()) <= set(genes["gene_name"])


def test_tested_pairs_have_the_columns_and_labels_of_the_rules(regulated):
    pairs = pl.read_csv(regulated.out / "crispr.tsv", separator="\t")
    assert pairs.columns == CRISPR_COLUMNS
    links = pl.read_parquet(regulated.out / "truth" / "links.parquet")
    for group in pairs["CellType"].unique():
        part = pairs.filter(pl.col("CellType") == group).with_columns(
            pl.format("{}:{}-{}", "chrom", "chromStart", "chromEnd").alias("peak")
        )
        joined = part.join(links, left_on=["peak", "measuredGeneEnsemblId"], right_on=["peak", "gene_id"])
        assert joined.height == part.height > 100
        lost = np.expm1(-joined[f"effect.{group}"].to_numpy())
        assert joined["Regulated"].to_list() == (lost <= -0.10).tolist()
        assert joined["Significant"].to_list() == (np.abs(lost) >= 0.10).tolist()
        assert np.abs(joined["EffectSize"].to_numpy() - lost).max() < 0.2
        assert (joined["distanceToTSS"] == joined["distance"].abs()).all()
    assert 0.02 < pairs["Regulated"].mean() < 0.3


def test_chip_peaks_lie_on_elements_with_sites_of_the_tf(regulated):
    sites = pl.read_parquet(regulated.out / "truth" / "sites.parquet")
    names = dict(pl.read_parquet(regulated.out / "truth" / "elements.parquet").select("name", "peak").rows())
    decoys = {tf["tf"] for tf in regulated.truth["tfs"] if tf["role"] == "decoy"}
    files = sorted((regulated.out / "chip").glob("*.bed"))
    assert len(files) >= 10 and not decoys & {path.stem for path in files}
    for path in files:
        with_site = set(sites.filter(pl.col("tf") == path.stem)["peak"])
        assert {names[line.split("\t")[3]] for line in path.read_text().splitlines()} <= with_site
    assert list((regulated.out / "chip" / "type01").glob("*.bed"))


def test_truth_json_agrees_with_the_tables(regulated):
    truth = regulated.truth
    links = pl.read_parquet(regulated.out / "truth" / "links.parquet")
    assert len(truth["enhancer_gene"]) == links["is_link"].sum()
    assert {row["sign"] for row in truth["tf_enhancer_gene"]} == {-1, 1}
    assert truth["state"]["driver"] in truth["masters"]["type04_stimulated"]
    assert set(truth["knockout"]) == {tf["tf"] for tf in truth["tfs"] if tf["role"] != "decoy"}
    splits = dict(line.split("\t") for line in (regulated.out / "splits.tsv").read_text().splitlines()[1:])
    assert truth["splits"] == splits and set(splits.values()) == {"train", "valid", "test"}
    observed = pl.read_csv(regulated.out / "expression.tsv", separator="\t")
    assert observed.columns == ["gene_id", "gene_name", *regulated.regulation.group_names]
    genes = pl.read_parquet(regulated.out / "truth" / "genes.parquet")
    for group in regulated.regulation.group_names:
        assert observed[group].sum() == pytest.approx(10_000, rel=1e-4)  # linear, per 10,000
        want = genes[f"observed_log1p_cp10k.{group}"]
        np.testing.assert_allclose(np.log1p(observed[group]), want, rtol=1e-4, atol=1e-4)
    assert 0.8 < truth["attainable"]["per_gene_pearson_mean"] <= 1


def test_the_genome_can_be_compressed(regulated, tmp_path):
    write_genome(regulated.regulation, tmp_path, bgzip=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "genome.fa.gz",
        "genome.fa.gz.fai",
        "genome.fa.gz.gzi",
    ]
    with pysam.FastaFile(str(tmp_path / "genome.fa.gz")) as fasta:
        assert fasta.fetch("chr2").upper() == regulated.dna["chr2"]
        assert fasta.fetch("chr2", 0, 3000).count("N") == 200


def test_a_folder_in_use_is_not_touched(regulated):
    before = sorted(regulated.out.iterdir())
    with pytest.raises(InputError, match="already exists"):
        write_regulation(regulated.regulation, regulated.out)
    assert sorted(regulated.out.iterdir()) == before
