"""Matrices of every container give the same counts; cells are matched by name under stated rules."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cisoform.errors import InputError
from cisoform.genome.hdf5 import CountMatrix
from cisoform.genome.multiome import cell_column, match_barcodes, read_h5ad, read_multiome, read_rna_10x
from cisoform.genome.peaks import parse_peak_names
from tests.data.multiome_files import MiniMultiome, write_h5ad, write_multiome


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> MiniMultiome:
    return write_multiome(tmp_path_factory.mktemp("multiome"))


def dense(matrix: CountMatrix, **options: object) -> np.ndarray:
    out = np.zeros((matrix.shape[0], len(matrix.feature_ids)))
    for block in matrix.blocks(**options):  # type: ignore[arg-type]
        for row in range(block.n_cells):
            part = slice(block.indptr[row], block.indptr[row + 1])
            assert (np.diff(block.indices[part]) > 0).all()
            out[block.first + row, block.indices[part]] = block.values[part]
    return out


def test_10x_h5_gives_genes_and_peaks_apart(mini: MiniMultiome):
    both = read_multiome(mini.h5)
    assert both.atac is not None
    np.testing.assert_array_equal(dense(both.rna), mini.counts)
    np.testing.assert_array_equal(dense(both.atac, max_entries=37), mini.open)
    assert both.rna.feature_ids[3] == mini.genes[3][0] and both.rna.feature_names[3] == mini.genes[3][1]
    alone = read_rna_10x(mini.h5)
    assert alone is not None and alone.feature_ids == both.rna.feature_ids
    assert read_rna_10x(mini.rna) is None


def test_h5mu_rows_follow_their_own_names(mini: MiniMultiome):
    both = read_multiome(mini.h5mu)
    assert both.atac is not None
    match = match_barcodes(both.rna.cells, both.atac.cells, "rna", "atac")
    np.testing.assert_array_equal(dense(both.atac)[match.right], mini.open[match.left])
    assert cell_column([both.rna], None, "cell_type") == dict(zip(mini.cells, mini.types, strict=True))


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
def test_every_layout_of_h5ad_gives_the_same_blocks(mini: MiniMultiome, tmp_path: Path, layout: str):
    path = write_h5ad(tmp_path / "x.h5ad", mini.counts, mini.cells, [g[0] for g in mini.genes], layout=layout)
    matrix = read_h5ad(path, "rna")
    assert matrix.layout == layout
    np.testing.assert_array_equal(dense(matrix, max_entries=101), mini.counts)
    np.testing.assert_array_equal(dense(matrix, start=7)[7:], mini.counts[7:])


def test_blocks_hold_few_entries(mini: MiniMultiome):
    sizes = [len(block.values) for block in read_h5ad(mini.rna, "rna").blocks(max_entries=50)]
    assert len(sizes) > 5 and max(sizes) <= 50


def test_unsorted_and_repeated_entries_of_a_cell_are_joined(tmp_path: Path):
    path = write_h5ad(tmp_path / "x.h5ad", np.array([[1, 2, 3]]), ["c"], ["a", "b", "d"])
    with h5py.File(path, "r+") as file:
        file["X/indices"][:] = [2, 0, 2]
    assert dense(read_h5ad(path, "rna")).tolist() == [[2, 0, 4]]


def test_almost_whole_counts_are_counts_and_others_are_refused(tmp_path: Path):
    path = write_h5ad(tmp_path / "x.h5ad", np.array([[0.99999, 0], [0, 2]]), ["c1", "c2"], ["a", "b"])
    assert dense(read_h5ad(path, "rna")).tolist() == [[1, 0], [0, 2]]
    path = write_h5ad(tmp_path / "y.h5ad", np.array([[1, 0], [0, 1.5]]), ["c1", "c2"], ["a", "b"])
    with pytest.raises(InputError, match=r"cell 'c2', feature 'b': value 1.5; .*--allow-normalised"):
        dense(read_h5ad(path, "rna"))
    assert dense(read_h5ad(path, "rna"), normalised=True)[1, 1] == 1.5


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_values_that_are_no_signal_are_refused_always(tmp_path: Path, value: float):
    path = write_h5ad(tmp_path / "x.h5ad", np.array([[1, value]]), ["c1"], ["a", "b"])
    with pytest.raises(InputError, match="'c1', feature 'b'"):
        dense(read_h5ad(path, "rna"), normalised=True)


def test_an_index_outside_the_matrix_is_damage(mini: MiniMultiome, tmp_path: Path):
    path = write_h5ad(tmp_path / "x.h5ad", mini.counts, mini.cells, [g[0] for g in mini.genes])
    with h5py.File(path, "r+") as file:
        file["X/indices"][5] = 4000
    with pytest.raises(InputError, match="index of 4000 where 40"):
        dense(read_h5ad(path, "rna"))


def test_repeated_barcodes_and_features_are_named(tmp_path: Path):
    path = write_h5ad(tmp_path / "x.h5ad", np.ones((2, 2)), ["c1", "c1"], ["a", "b"])
    with pytest.raises(InputError, match="barcode 'c1' stands twice"):
        read_h5ad(path, "rna")
    path = write_h5ad(tmp_path / "y.h5ad", np.ones((2, 2)), ["c1", "c2"], ["a", "a"])
    with pytest.raises(InputError, match="feature 'a' stands twice"):
        read_h5ad(path, "rna")


# --- barcodes -------------------------------------------------------------------------------------------------------


def test_barcodes_match_with_and_without_gem_group_and_endings():
    left = ["AAAC-1", "CCCT-1", "GGGA-1"]
    for right, rule in (
        (["GGGA-1", "AAAC-1"], "as they are"),
        (["GGGA", "AAAC"], "without -1"),
        (["GGGA-1_atac", "AAAC-1_atac"], "endings"),
        (["GGGA_atac", "AAAC_atac"], "without -1 and"),
    ):
        match = match_barcodes(left, right, "rna", "atac")
        assert match.left.tolist() == [0, 2] and match.right.tolist() == [1, 0], rule
        assert rule in match.text


def test_a_rule_that_joins_two_cells_is_not_used():
    # Two GEM groups: without -1 and -2 the cells would fall together.
    left, right = ["AAAC-1", "AAAC-2"], ["AAAC", "CCCT"]
    with pytest.raises(InputError, match="no barcode agrees.*AAAC-1, AAAC-2.*AAAC, CCCT"):
        match_barcodes(left, right, "rna", "atac")


def test_little_overlap_is_refused_with_three_of_each_side():
    left = [f"A{i}-1" for i in range(10)]
    right = ["A0-1", *(f"B{i}-1" for i in range(9))]
    with pytest.raises(InputError, match=r"only 10% of the barcodes.*A0-1, A1-1, A2-1.*A0-1, B0-1, B1-1"):
        match_barcodes(left, right, "rna", "atac")


# --- real files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def real(packs_dir: Path) -> Path:
    folder = packs_dir / "human_regulation" / "multiome"
    if not folder.is_dir():
        pytest.skip("no pack named human_regulation")
    return folder


@pytest.mark.pack
def test_a_real_10x_pair_of_old_anndata_form(real: Path):
    rna = read_h5ad(real / "pbmc10x_100cells_rna.h5ad", "rna")
    atac = read_h5ad(real / "pbmc10x_100cells_atac.h5ad", "atac")
    match = match_barcodes(rna.cells, atac.cells, "rna", "atac")
    assert len(match.left) == 100 and "endings" in match.text
    # The pair happens to be in one order, which says that names were matched rightly.
    assert (match.left == match.right).all()
    peaks = parse_peak_names(atac.feature_names, "atac")
    assert peaks.name(0) == atac.feature_ids[0] == "chr18:11980068-11982718"
    # Indices within its rows are not sorted; sums are those of the raw arrays.
    with h5py.File(real / "pbmc10x_100cells_atac.h5ad") as file:
        data, indices = file["X/data"][()], file["X/indices"][()]
    np.testing.assert_allclose(dense(atac).sum(axis=0), np.bincount(indices, data, minlength=200))
    types = cell_column([rna], None, "celltype")
    assert types[rna.cells[0]] == cell_column([atac], None, "celltype")[atac.cells[0]] == "17"


@pytest.mark.pack
def test_a_real_normalised_pair_needs_the_flag(real: Path):
    atac = read_h5ad(real / "a549_scicar_atac.h5ad", "atac")
    with pytest.raises(InputError, match="value 3.60114; whole counts are expected"):
        next(atac.blocks())
    block = next(atac.blocks(normalised=True))
    assert block.values[0] == np.float32(3.6011357) and block.n_cells == 2641
    assert len(parse_peak_names(atac.feature_names, "atac")) == 52_761
    assert sorted(set(cell_column([atac], None, "time_h").values())) == ["0", "1", "3"]
