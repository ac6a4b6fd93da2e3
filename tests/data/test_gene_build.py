"""A data set of genes from files: equal to the dense truth, whatever the container; resumable; deterministic."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from cisoform.data import gene_build, gene_signal
from cisoform.data.gene_build import build_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
from cisoform.data.gene_pools import Pooling
from cisoform.data.gene_states import N_BINS
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.genome.fasta import Genome
from cisoform.genome.interval import Interval
from cisoform.tokens.peaks import RELEASED_EDGES, signal_levels, signal_tokens
from tests.data.multiome_files import MiniMultiome, save_fragments, write_gtf, write_h5ad, write_multiome


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> MiniMultiome:
    return write_multiome(tmp_path_factory.mktemp("genes"))


def build(mini: MiniMultiome, out: Path, config: dict[str, Any] | None = None, **files: Any) -> GenesDataset:
    inputs = GeneInputs(genome=mini.genome, annotation=mini.annotation, **(files or {"multiome": mini.h5}))
    build_genes(inputs, out, GeneBuildConfig(**(config or {})))
    return GenesDataset.open(out)


@pytest.fixture(scope="module")
def cells(mini: MiniMultiome, tmp_path_factory: pytest.TempPathFactory) -> GenesDataset:
    config = {"cell_types": "cell_type", "test_cell_types": ("T",), "valid_cell_types": ("NK",)}
    return build(
        mini, tmp_path_factory.mktemp("built") / "d", config, multiome=mini.h5, cells=mini.cell_table
    )


def feature_rows(dataset: GenesDataset, mini: MiniMultiome) -> list[int]:
    ids = [gene[0] for gene in mini.genes]
    return [ids.index(name) for name in dataset.genes["gene_id"]]


def test_expression_is_log1p_of_counts_per_10000_of_all_genes(cells: GenesDataset, mini: MiniMultiome):
    genes, groups = np.arange(cells.genes.height), np.arange(cells.groups.height)
    counts = mini.counts[:, feature_rows(cells, mini)]
    expected = np.log1p(counts / mini.counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(cells.expression_matrix(groups, genes), expected, rtol=1e-6)
    pairs = np.indices(expected.shape).reshape(2, -1)
    np.testing.assert_allclose(cells.targets(*pairs), expected.ravel(), rtol=1e-6)


def test_states_show_the_signal_of_each_peak_in_each_cell(cells: GenesDataset, mini: MiniMultiome):
    depth = mini.open.sum(axis=1)
    np.testing.assert_array_equal(cells.groups["depth"].to_numpy(), depth)
    for group in (0, 3, 17):
        ids = cells.group_states(group)
        assert (cells.state_peaks(ids) == np.arange(cells.n_peaks)).all()
        for peak in range(0, cells.n_peaks, 7):
            count = mini.open[group, peak]
            _, start, end = mini.peaks[peak]
            middle = cells.state_tokens(ids[[peak]])[0, 500]
            expected = signal_levels(np.array([count / (end - start) * 10 * 1e6 / depth[group]]))
            assert middle == expected[0]
            assert (ids[peak] == peak) == (count == 0)


def test_ragged_states_of_samples_are_those_of_the_genes_peaks(cells: GenesDataset):
    groups, genes = np.array([5, 0, 5, 22]), np.array([0, 39, 7, 7])
    states, absent = cells.states(groups, genes), cells.states(groups, genes, absent=True)
    for sample, (group, gene) in enumerate(zip(groups, genes, strict=True)):
        peaks = np.arange(cells.index.first[gene], cells.index.first[gene] + cells.index.count[gene])
        np.testing.assert_array_equal(states[sample], cells.group_states(int(group))[peaks])
        np.testing.assert_array_equal(absent[sample], peaks + cells.n_peaks)
    assert states.data.dtype == np.int32
    used = cells.states_in_use(np.unique(groups), np.unique(genes))
    assert set(states.data.tolist()) <= set(used.tolist())


def test_windows_are_the_genome_round_the_midpoints(cells: GenesDataset, mini: MiniMultiome):
    genome = Genome.open(mini.genome)
    for peak in (0, 1, 40, cells.n_peaks - 1):
        chrom, start, end = mini.peaks[peak]
        first = (start + end) // 2 - 514
        np.testing.assert_array_equal(
            cells.windows(np.array([peak]))[0], genome.fetch(Interval(chrom, first, first + 1029))
        )


def test_chromosomes_and_cell_types_are_held_out_both_ways(cells: GenesDataset, mini: MiniMultiome):
    split_of = dict(zip(cells.genes["chrom"], cells.genes["split"], strict=True))
    assert all(split_of[row[0]] == row[1] for row in cells.genes.select("chrom", "split").iter_rows())
    assert set(split_of.values()) == {"train", "valid", "test"}
    assert [g for g, t in zip(cells.group_split, mini.types, strict=True) if t == "T"] == [
        "test"
    ] * mini.types.count("T")
    assert len(cells.four_way()) == 4
    genes, groups = cells.part("test")
    assert set(cells.gene_split[genes]) == {"test"} and set(cells.group_split[groups]) == {"test"}
    ranks = ["train valid test".split().index(name) for name in cells.gene_split]
    assert ranks == sorted(ranks), "genes of a split stand together"


@pytest.mark.parametrize("pool", ["cells", "knn:3"])
def test_cells_without_a_type_are_left_out_where_types_are_held_out(
    mini: MiniMultiome, tmp_path: Path, pool: str
):
    header, *lines = mini.cell_table.read_text().splitlines()
    blank = [f"{line.split(chr(9))[0]}\t" if row % 5 == 0 else line for row, line in enumerate(lines)]
    (tmp_path / "cells.tsv").write_text("\n".join([header, *blank]) + "\n")
    named = {name for row, name in enumerate(mini.cells) if row % 5}
    files = {"multiome": mini.h5, "cells": tmp_path / "cells.tsv"}
    config = {"cell_types": "cell_type", "pool": Pooling.parse(pool)}
    made = build(mini, tmp_path / "a", {**config, "test_cell_types": ("T",)}, **files)
    assert set(made.groups["name"]) == named and "T" not in set(
        made.groups.filter(pl.col("split") == "train")["cell_type"]
    )
    assert any("5 of 23 cells have no cell type" in note for note in made.manifest["notes"])


def test_every_container_gives_the_same_data(cells: GenesDataset, mini: MiniMultiome, tmp_path: Path):
    config = {"cell_types": "cell_type", "test_cell_types": ("T",), "valid_cell_types": ("NK",)}
    pair = build(mini, tmp_path / "pair", config, rna=mini.rna, atac=mini.atac)
    both = build(mini, tmp_path / "h5mu", config, multiome=mini.h5mu)
    dense = write_h5ad(
        tmp_path / "dense.h5ad", mini.open[::-1], mini.cells[::-1], mini.peak_names, layout="dense"
    )
    streamed = build(mini, tmp_path / "dense", config, rna=mini.rna, atac=dense)
    assert pair.hash == both.hash == streamed.hash == cells.hash


def test_a_bed_keeps_some_peaks_of_a_matrix_by_name(mini: MiniMultiome, tmp_path: Path):
    bed = tmp_path / "some.bed"
    bed.write_text("".join(f"{c}\t{s}\t{e}\n" for c, s, e in mini.peaks[::-2]))
    some = build(mini, tmp_path / "d", {"min_tss_enrichment": 0.0}, multiome=mini.h5, peaks=bed)
    assert some.n_peaks == 40
    kept = [int(p) for p in range(80) if mini.peaks[p] in set(mini.peaks[::-2])]
    np.testing.assert_array_equal(some.groups["depth"].to_numpy(), mini.open.sum(axis=1))  # of all its peaks
    np.testing.assert_array_equal((some.group_states(2) >= 80), mini.open[2, kept] > 0)


def test_values_that_are_no_counts_are_taken_as_they_are(mini: MiniMultiome, tmp_path: Path):
    rna = write_h5ad(tmp_path / "rna.h5ad", np.log1p(mini.counts), mini.cells, [g[1] for g in mini.genes])
    atac = write_h5ad(tmp_path / "atac.h5ad", mini.open * 0.7, mini.cells, mini.peak_names)
    made = build(mini, tmp_path / "d", {"allow_normalised": True}, rna=rna, atac=atac)
    np.testing.assert_allclose(
        made.expression_matrix(np.arange(23), np.arange(40)),
        np.log1p(mini.counts)[:, feature_rows(made, mini)],
        rtol=1e-6,
    )
    ids = made.group_states(4)
    peak = int(np.argmax(mini.open[4]))
    assert made.state_tokens(ids[[peak]])[0, 500] == signal_levels(np.array([0.7 * mini.open[4, peak]]))[0]
    assert made.manifest["expression"] == made.manifest["depth_normalisation"] == "as given"


# --- pools ----------------------------------------------------------------------------------------------------------


def test_pseudobulks_are_sums(mini: MiniMultiome, tmp_path: Path):
    made = build(
        mini, tmp_path / "d", {"pool": Pooling.parse("pseudobulk:cell_type")}, rna=mini.rna, atac=mini.atac
    )
    kinds = np.array(mini.types)
    assert made.groups["name"].to_list() == sorted(set(mini.types))
    for row, kind in enumerate(made.groups["name"]):
        counts = mini.counts[kinds == kind].sum(axis=0)
        np.testing.assert_allclose(
            made.expression_matrix(np.array([row]), np.arange(40))[0],
            np.log1p(counts[feature_rows(made, mini)] / counts.sum() * 1e4),
            rtol=1e-6,
        )
        assert made.groups["depth"][row] == mini.open[kinds == kind].sum()
        np.testing.assert_array_equal(made.group_states(row) >= 80, mini.open[kinds == kind].sum(axis=0) > 0)


def test_pools_of_neighbours_and_a_draw_of_centres(mini: MiniMultiome, tmp_path: Path):
    made = build(
        mini, tmp_path / "d", {"pool": Pooling.parse("knn:6"), "max_groups": 9}, rna=mini.rna, atac=mini.atac
    )
    assert made.groups["n_cells"].to_list() == [6] * 9
    assert set(made.groups["name"]) < set(mini.cells)
    assert made.manifest["counts"]["cells"] == 23


# --- fragments ------------------------------------------------------------------------------------------------------


def expected_bins(mini: MiniMultiome, members: dict[str, int], n_groups: int) -> np.ndarray:
    """Cuts per group, peak and 10-bp bin, counted one by one."""
    bins = np.zeros((n_groups, len(mini.peaks), N_BINS))
    for chrom, start, end, barcode in mini.fragments:
        if barcode in members:
            for cut in (start, end - 1):
                for peak, (other, first, last) in enumerate(mini.peaks):
                    place = cut - ((first + last) // 2 - 514)
                    if other == chrom and 0 <= place < 1029:
                        bins[members[barcode], peak, place // 10] += 1
    return bins


@pytest.mark.parametrize("pool", ["cells", "pseudobulk:cell_type"])
def test_fragments_give_cuts_per_base_and_million(mini: MiniMultiome, tmp_path: Path, pool: str):
    made = build(
        mini,
        tmp_path / "d",
        {"pool": Pooling.parse(pool)},
        rna=mini.rna,
        fragments=mini.fragment_file,
        peaks=mini.bed,
    )
    names = made.groups["name"].to_list()
    own = mini.cells if pool == "cells" else mini.types
    members = {cell: names.index(name) for cell, name in zip(mini.cells, own, strict=True)}
    bins = expected_bins(mini, members, len(names))
    per_cell = Counter(row[3] for row in mini.fragments)
    depth = [
        sum(2 * per_cell[cell] for cell in mini.cells if members[cell] == row) for row in range(len(names))
    ]
    assert made.groups["depth"].to_list() == depth
    for group in (0, 1, len(names) - 1):
        value = bins[group] * 1e6 / depth[group]
        tokens = signal_tokens(np.repeat(value, 10, axis=1)[:, :1029])
        np.testing.assert_array_equal(made.state_tokens(made.group_states(group)), tokens)
    observed = made.state_tokens(np.arange(160, made.n_states))
    distinct = {
        (peak, row.tobytes()) for peak, row in zip(made.observed.peak.tolist(), observed, strict=True)
    }
    assert len(distinct) == len(made.observed), "a state is stored once"


def test_the_order_of_fragments_does_not_matter(mini: MiniMultiome, tmp_path: Path):
    files = {"rna": mini.rna, "peaks": mini.bed}
    config = {"pool": Pooling.parse("knn:5")}
    sorted_ = build(mini, tmp_path / "a", config, fragments=mini.fragment_file, **files)
    save_fragments(tmp_path / "f.tsv.gz", mini.fragments[::-1], end="\r\n")
    assert build(mini, tmp_path / "b", config, fragments=tmp_path / "f.tsv.gz", **files).hash == sorted_.hash


def test_quantile_edges_use_all_levels(mini: MiniMultiome, tmp_path: Path):
    config = {"pool": Pooling.parse("knn:8"), "edges": "quantile"}
    by_count = build(mini, tmp_path / "a", config, rna=mini.rna, atac=mini.atac)
    assert len(set(by_count.observed.level.tolist())) > 30  # type: ignore[union-attr]
    assert by_count.edges != RELEASED_EDGES
    per_base = build(mini, tmp_path / "b", config, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed)
    assert per_base.edges != RELEASED_EDGES


@pytest.mark.parametrize("signal", ["levels", "coverage"])
def test_quantile_edges_are_of_training_chromosomes_and_all_along_them(
    mini: MiniMultiome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal: str
):
    """Few values are taken, and peaks are in genomic order: the first ones would all be of chr1, which is held out."""
    monkeypatch.setattr(gene_signal, "_QUANTILE_VALUES", 200 * 6 if signal == "levels" else 400)
    found: list[npt.NDArray[Any]] = []

    def spy(values: npt.NDArray[Any]) -> tuple[float, ...]:
        found.append(np.sort(values))
        return RELEASED_EDGES

    monkeypatch.setattr(gene_signal, "quantile_edges", spy)
    held_out = {"test_chromosomes": ("chr1",), "valid_chromosomes": ("chr4",)}
    pool = {
        "pool": Pooling.parse("pseudobulk:cell_type"),
        "cell_types": "cell_type",
        "test_cell_types": ("T",),
    }
    config = {"edges": "quantile", **held_out, **pool, "valid_cell_types": ()}
    files = signal_files(mini, signal)
    made = build(mini, tmp_path / "d", config, **files, cells=mini.cell_table)
    train = np.flatnonzero(made.group_split == "train")
    inside = made.peaks["chrom"].is_in(["chr2", "chr3"]).to_numpy()
    everything = [made.group_states(int(group))[inside] for group in train]
    n_open = sum(int((ids >= 2 * made.n_peaks).sum()) for ids in everything)
    (values,) = found
    if signal == "coverage":
        observed = np.concatenate([ids[ids >= 2 * made.n_peaks] for ids in everything]) - 2 * made.n_peaks
        n_bins = int(np.diff(made.observed.offsets)[observed].sum())  # type: ignore[union-attr]
        assert len(values) in [len(range(0, n_bins, 2**power)) for power in range(8)]
        assert 200 <= len(values) <= 400 < n_bins
        return
    assert len(train) * 3 <= len(values) <= len(train) * 6 < n_open
    depth, cell_type = made.groups["depth"].to_numpy(), made.groups["cell_type"].to_list()
    own: set[float] = set()
    for group in train:
        counts = mini.open[[t == cell_type[group] for t in mini.types]].sum(axis=0)
        width = np.array([end - start for _, start, end in mini.peaks])
        own |= set(np.round((counts * 1e7 / width / depth[group])[inside], 6))
    assert {float(value) for value in np.round(values, 6)} <= own


# --- bulk -----------------------------------------------------------------------------------------------------------


def bulk_files(mini: MiniMultiome, folder: Path, bare: tuple[str, ...] = ()) -> dict[str, Path]:
    """Tracks with signal on every other peak of chr1 and, outside of windows, on the other chromosomes but `bare`."""
    import pybigtools

    from tests.data.multiome_files import CHROMS

    lines = ["sample\ttrack\tpath"]
    for number, sample in enumerate(("liver", "brain")):
        records = [row for row in mini.peaks if row[0] == "chr1"][::2]
        records += [(chrom, 0, 10) for chrom in CHROMS if chrom != "chr1" and chrom not in bare]
        values = iter([(*row, 3.0 + number) for row in records])
        pybigtools.open(str(folder / f"{sample}.bw"), "w").write(dict(CHROMS), values)
        lines.append(f"{sample}\tatac\t{sample}.bw")
    (folder / "tracks.tsv").write_text("\n".join(lines) + "\n")
    table = ["gene_id\tbrain\tliver\tother", *(f"{g[0]}\t{i}\t{2 * i}\t1" for i, g in enumerate(mini.genes))]
    (folder / "tpm.tsv").write_text("\n".join(table) + "\n")
    return {"tracks": folder / "tracks.tsv", "expression": folder / "tpm.tsv", "peaks": mini.bed}


def test_bulk_tracks_in_place_of_cells(mini: MiniMultiome, tmp_path: Path):
    made = build(mini, tmp_path / "d", **bulk_files(mini, tmp_path))
    assert made.groups["name"].to_list() == ["liver", "brain"]
    rows = np.array(feature_rows(made, mini))
    np.testing.assert_allclose(
        made.expression_matrix(np.arange(2), np.arange(40)), np.log1p([2.0 * rows, rows]), rtol=1e-6
    )
    ids = made.group_states(1)
    assert made.state_tokens(ids[[0]])[0, 514] == signal_levels(np.array([4.0]))[0]
    assert (ids >= 160).sum() >= 14 and made.manifest["depth_normalisation"] == "as given"


def test_genes_on_chromosomes_that_a_bulk_track_lacks_are_left_out(mini: MiniMultiome, tmp_path: Path):
    made = build(mini, tmp_path / "d", **bulk_files(mini, tmp_path, bare=("chr2", "chr4")))
    assert set(made.genes["chrom"]) == {"chr1", "chr3"}
    lost = sum(gene[2] in ("chr2", "chr4") for gene in mini.genes)
    assert any(f"{lost} genes on 2 chromosomes that some track lacks" in n for n in made.manifest["notes"])
    others = [gene for gene in mini.genes if gene[2] != "chr1"]
    write_gtf(tmp_path / "others.gtf", others)
    files = bulk_files(mini, tmp_path, bare=("chr2", "chr3", "chr4"))
    inputs = GeneInputs(genome=mini.genome, annotation=tmp_path / "others.gtf", **files)
    with pytest.raises(InputError, match=r"no chromosome with genes \(chr2, chr3, chr4\) is in all tracks"):
        build_genes(inputs, tmp_path / "e", GeneBuildConfig())


# --- killed, resumed ------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def signal_files(mini: MiniMultiome, signal: str) -> dict[str, Path]:
    if signal == "levels":
        return {"rna": mini.rna, "atac": mini.atac}
    return {"rna": mini.rna, "fragments": mini.fragment_file, "peaks": mini.bed}


@pytest.fixture(scope="module")
def wholes(mini: MiniMultiome, tmp_path_factory: pytest.TempPathFactory) -> dict[str, GenesDataset]:
    root = tmp_path_factory.mktemp("whole")
    config = {"pool": Pooling.parse("knn:4")}
    return {
        signal: build(mini, root / signal, config, **signal_files(mini, signal))
        for signal in ("levels", "coverage")
    }


@pytest.mark.parametrize(
    ("signal", "after"), [("levels", 1), ("levels", 9), ("levels", 14), ("coverage", 7), ("coverage", 9)]
)
def test_a_killed_build_goes_on_to_the_same_bytes(
    mini: MiniMultiome,
    wholes: dict[str, GenesDataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    signal: str,
):
    from cisoform.data.partial import PartialFolder
    from cisoform.genome import hdf5

    files, whole = signal_files(mini, signal), wholes[signal]
    config = {"pool": Pooling.parse("knn:4")}
    monkeypatch.setattr(hdf5.CountMatrix.blocks, "__defaults__", (0, 120, False))
    monkeypatch.setattr(gene_signal, "_BLOCK_ENTRIES", 300)
    settle, left = PartialFolder.settle, [after]

    def dying(self: PartialFolder, *args: Any, **options: Any) -> None:
        settle(self, *args, **options)
        left[0] -= 1
        if not left[0]:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(PartialFolder, "settle", dying)
        with pytest.raises(Killed):
            build(mini, tmp_path / "d", config, **files)
    assert not (tmp_path / "d").exists() and (tmp_path / "d.partial").is_dir()
    # What was written after the last entry of the log is cut off, and a half-written line is dropped.
    for array in (tmp_path / "d.partial").rglob("*.npy"):
        with array.open("ab") as handle:
            handle.write(b"\x07" * 40)
    with (tmp_path / "d.partial" / "progress.jsonl").open("a") as log:
        log.write('{"stage": "rna", "ne')
    inputs = GeneInputs(genome=mini.genome, annotation=mini.annotation, **files)
    made = build_genes(inputs, tmp_path / "d", GeneBuildConfig(**config), resume=True)
    assert made.resumed and made.hash == whole.hash
    for file in whole.path.iterdir():
        assert file.read_bytes() == (tmp_path / "d" / file.name).read_bytes(), file.name
    assert not (tmp_path / "d.partial").exists()


def test_work_of_other_settings_is_not_taken_up(
    mini: MiniMultiome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def die(*_: Any) -> None:
        raise Killed

    inputs = GeneInputs(genome=mini.genome, annotation=mini.annotation, multiome=mini.h5)
    with monkeypatch.context() as patch:
        patch.setattr(gene_build, "write_expression", die)
        with pytest.raises(Killed):
            build_genes(inputs, tmp_path / "d")
    with pytest.raises(InputError, match="other inputs or settings .*config.*without --resume"):
        build_genes(inputs, tmp_path / "d", GeneBuildConfig(max_peaks=9), resume=True)
    made = build_genes(inputs, tmp_path / "d", GeneBuildConfig(max_peaks=9))
    assert not made.resumed and made.peaks_per_gene <= 9


def test_a_damaged_part_of_the_work_is_done_again(
    mini: MiniMultiome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def die(*_: Any) -> None:
        raise Killed

    inputs = GeneInputs(genome=mini.genome, annotation=mini.annotation, multiome=mini.h5)
    with monkeypatch.context() as patch:
        patch.setattr(gene_build, "write_expression", die)
        with pytest.raises(Killed):
            build_genes(inputs, tmp_path / "d")
    with (tmp_path / "d.partial" / "work" / "atac_value.npy").open("r+b") as handle:
        handle.seek(300)
        handle.write(b"\xff\xff")
    made = build_genes(inputs, tmp_path / "d")
    assert made.resumed and made.hash == build_genes(inputs, tmp_path / "e").hash


def test_a_changed_file_is_noticed_on_opening(mini: MiniMultiome, tmp_path: Path):
    made = build(mini, tmp_path / "d")
    with (made.path / "open_code.npy").open("r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        handle.write(b"\x33")
    with pytest.raises(InputError, match=r"open_code.npy: changed since"):
        GenesDataset.open(made.path)
    (made.path / "windows.npy").unlink()
    with pytest.raises(InputError, match=r"(open_code.npy: changed|windows.npy: missing)"):
        GenesDataset.open(made.path)
    with pytest.raises(InputError, match="no such data set.*build-genes"):
        GenesDataset.open(tmp_path / "nothing")


def test_tables_say_what_they_hold(cells: GenesDataset):
    assert cells.genes.columns == [
        *(
            "gene_id",
            "gene_name",
            "biotype",
            "chrom",
            "strand",
            "tss",
            "split",
            "first_peak",
            "n_peaks",
            "tss_peak",
        ),
        "promoter",
    ]
    assert cells.genes.schema["first_peak"] == pl.Int32
    assert (
        cells.manifest["counts"]["open"] == cells.n_open
        and cells.manifest["counts"]["samples"] == cells.n_expressed
    )
    assert cells.manifest["tss_enrichment"] > 2
