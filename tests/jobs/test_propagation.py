"""Rounds of a perturbation against every step done by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import predict
from cisoform.analysis.perturbation import SignalEdit
from cisoform.analysis.reader import Reader
from cisoform.errors import InputError
from cisoform.genome.motifs import Motif
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.perturbation import perturb
from cisoform.jobs.propagation import Binding, expression_ratio, propagate
from cisoform.jobs.readings import open_reader
from cisoform.tokens.peaks import dna_tokens, signal_tokens
from tests.data.gene_sets import build_small, save_creformer

torch.set_num_threads(1)
EDIT = np.array([1, 2, 3])
SOME = slice(0, None, 5)
"""Genes that are predicted by hand; the first have edited peaks and factors in reach."""


def motif(tf: str, codes: np.ndarray) -> Motif:
    return Motif(f"{tf}_M1", tf, np.eye(4)[codes])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    root = tmp_path_factory.mktemp("rounds")
    dataset = build_small(root, pool="pseudobulk:cell_type", n_cells=16)
    model = CREformerModel.load(save_creformer(root / "model"))
    with torch.no_grad():  # an untrained head hardly moves: make differences that ratios can show
        for parameter in model.model.head.parameters():
            parameter.mul_(3)
    every = np.arange(dataset.groups.height), np.arange(dataset.genes.height)
    return open_reader(model, dataset, *every, cache=root / "cache")


@pytest.fixture(scope="module")
def motifs(reader: Reader) -> list[Motif]:
    """TFA is perturbed; two genes of the data are factors whose words lie in other peaks; one factor is no gene."""
    windows, names = reader.dataset.windows(np.arange(reader.dataset.n_peaks)), reader.genes["gene_name"]
    return [
        motif("TFA", windows[1, 500:514]),
        motif(names[0], windows[5, 500:514]),
        motif(names[2], windows[8, 300:314]),
        motif("NONE", windows[5, 100:114]),
    ]


def test_ratios_and_factors_by_hand() -> None:
    before, after = np.log1p([[1.0, 0.0, 1.0]]), np.log1p([[0.5, 0.0, 9.0]])
    np.testing.assert_allclose(expression_ratio(before, after), [[0.55 / 1.05, 1, 2]])
    bound = np.array([[True, False], [True, True], [False, False]])
    binding = Binding(("A", "B"), np.array([0, 1]), np.arange(3), bound, np.array([1, 3, 1]))
    # The second peak has a third factor, the perturbed one: 1 + (-0.5 + 1) / 3.
    np.testing.assert_allclose(binding.factors(np.array([[0.5, 2.0]])), [[0.5, 1 + 0.5 / 3, 1]])


def test_binding_leaves_out_the_perturbed_factor_and_what_is_no_gene(
    reader: Reader, motifs: list[Motif]
) -> None:
    genes = np.arange(reader.genes.height)
    binding = Binding.of(reader, genes, motifs, {"TFA"}, 1e-7)
    names = reader.genes["gene_name"]
    assert binding.names == tuple(sorted([names[0], names[2]]))
    assert binding.bound[5, binding.names.index(names[0])] and binding.bound[8, binding.names.index(names[2])]
    assert binding.n_bound[1] >= 1 and not binding.bound[1].any()
    with pytest.raises(InputError, match="no other factor with a motif"):
        Binding.of(reader, genes[5:7], motifs, {"TFA"}, 1e-7)


def test_rounds_equal_every_step_by_hand(reader: Reader, motifs: list[Motif]) -> None:
    genes, groups = np.arange(reader.genes.height), np.arange(reader.groups.height)
    grouping, edit = Grouping.by_itself(reader.groups, groups), SignalEdit(EDIT)
    binding = Binding.of(reader, genes, motifs, {"TFA"}, 1e-7)
    table = propagate(reader, grouping, genes, edit, binding, 3)
    first = table.filter(pl.col("round") == 1)
    direct = perturb(reader, grouping, genes, edit, n_controls=0).table
    joined = direct.join(first, on=["gene_id", "group"])
    np.testing.assert_allclose(joined["after"], joined["after_right"], atol=1e-4)
    np.testing.assert_allclose(joined["before"], joined["before_right"], atol=1e-4)
    others = first.join(direct, on=["gene_id", "group"], how="anti")
    assert (others["difference"] == 0).all()
    for number in (2, 3):  # from what the round before has shown
        before = matrix(table, reader, number - 1, "before")
        expected = by_hand(reader, binding, before, matrix(table, reader, number - 1, "after"))
        np.testing.assert_allclose(matrix(table, reader, number, "after")[:, SOME], expected, atol=1e-3)
    moved = np.abs(matrix(table, reader, 2, "after") - matrix(table, reader, 1, "after"))
    assert moved[:, SOME].max() > 5e-3


def matrix(table: pl.DataFrame, reader: Reader, number: int, column: str) -> np.ndarray:
    shape = reader.groups.height, reader.genes.height
    return table.filter(pl.col("round") == number)[column].to_numpy().reshape(shape)


@torch.no_grad()
def by_hand(reader: Reader, binding: Binding, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    genes = np.arange(reader.genes.height)[SOME]
    found = np.empty((reader.groups.height, len(genes)))
    for group in range(reader.groups.height):
        factor = np.ones(reader.dataset.n_peaks)
        for peak in range(reader.dataset.n_peaks):
            for place, gene in enumerate(binding.genes.tolist()):
                if binding.bound[peak, place]:
                    counts = [max(np.expm1(value[group, gene]), 0) + 0.05 for value in (after, before)]
                    factor[peak] += (min(counts[0] / counts[1], 2) - 1) / binding.n_bound[peak]
        for column, gene in enumerate(genes.tolist()):
            inputs = reader.inputs(np.array([gene]), np.array([group]))
            peaks = inputs.peak[inputs.mask].numpy()
            signal = reader.base_signal(inputs, inputs.mask)
            signal = (signal * np.where(np.isin(peaks, EDIT), 0.0, factor[peaks])[:, None]).astype(np.float32)
            dna = torch.from_numpy(dna_tokens(reader.windows(inputs, inputs.mask)).astype(np.int32))
            tokens = torch.from_numpy(signal_tokens(signal, reader.dataset.edges))
            vectors = reader.model.encode_peaks(dna, {"atac": tokens})
            found[group, column] = predict(reader.model, reader.link, inputs.replaced(inputs.mask, vectors))[
                0
            ]
    return found
