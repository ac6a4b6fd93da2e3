"""Batches of genes: what they hold, what an epoch holds, and that each is a function of its numbers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from cisoform.batches import GeneBatch
from cisoform.data import gene_loader
from cisoform.data.gene_build import build_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
from cisoform.data.gene_loader import GeneLoaderConfig, GeneSource
from cisoform.data.genes import GenesDataset
from cisoform.training.protocols import Batch, Source
from tests.data.multiome_files import write_multiome

CONFIG = GeneLoaderConfig(batch_size=37, drop_atac=0.0, sort_batches=3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> GenesDataset:
    root = tmp_path_factory.mktemp("loader")
    mini = write_multiome(root / "files", n_cells=31)
    inputs = GeneInputs(genome=mini.genome, annotation=mini.annotation, rna=mini.rna, atac=mini.atac)
    config = GeneBuildConfig(reach_bp=9_000, test_chromosomes=("chr4",), valid_chromosomes=("chr3",))
    build_genes(inputs, root / "d", config)
    return GenesDataset.open(root / "d")


def source(dataset: GenesDataset, split: str = "train", seed: int = 3, **changes: object) -> GeneSource:
    config = dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]
    return GeneSource(dataset, *dataset.part(split), config, seed, training=split == "train")


def pairs(batch: GeneBatch) -> list[tuple[int, int]]:
    return list(zip(batch.group.tolist(), batch.gene.tolist(), strict=True))


def equal(one: GeneBatch, other: GeneBatch) -> bool:
    return all(
        torch.equal(getattr(one, field.name), getattr(other, field.name))
        for field in dataclasses.fields(GeneBatch)
    )


def test_a_batch_holds_states_distances_and_ranks_of_each_sample(dataset: GenesDataset):
    batch = source(dataset).batch(0, 2)
    assert isinstance(batch, Batch) and len(batch) <= 37 and batch.state.dtype == torch.int32
    states = dataset.states(batch.group.numpy(), batch.gene.numpy())
    assert batch.targets is not None
    for row, (group, gene) in enumerate(pairs(batch)):
        count = int(dataset.index.count[gene])
        assert batch.mask[row].sum() == count and batch.mask[row, :count].all()
        assert batch.state[row, :count].tolist() == states[row].tolist()
        assert batch.distance[row, :count].tolist() == dataset.index.distance(gene).tolist()
        assert batch.rank[row, :count].tolist() == dataset.index.rank(gene).tolist()
        assert batch.tss_peak[row] == dataset.index.tss_peak[gene]
        for name in ("state", "distance", "rank"):
            assert not getattr(batch, name)[row, count:].any(), "padding is 0"
        assert batch.targets[row] == dataset.targets(np.array([group]), np.array([gene]))[0]
    assert batch.mask.any(dim=0).all(), "padded to the longest of the batch, no further"


def test_an_epoch_has_every_expressed_pair_once_and_as_many_zeros(dataset: GenesDataset):
    genes, groups = dataset.part("train")
    matrix = dataset.expression_matrix(groups, genes)
    loader = source(dataset)
    assert isinstance(loader, Source)
    expressed: Counter[tuple[int, int]] = Counter()
    n_zero = 0
    for batch in loader.epoch(0):
        assert batch.targets is not None
        for pair, target in zip(pairs(batch), batch.targets.tolist(), strict=True):
            expressed.update([pair] if target else [])
            n_zero += not target
    assert set(expressed.values()) == {1} and len(expressed) == (matrix > 0).sum()
    assert {gene for _, gene in expressed} <= set(genes.tolist())
    zeros = min((matrix > 0).sum(), (matrix == 0).sum())
    assert abs(n_zero - zeros) <= loader.n_batches() and loader.n_samples == len(expressed) + n_zero


def test_zeros_are_drawn_without_a_list_where_pairs_are_many(
    dataset: GenesDataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gene_loader, "_LISTED_PAIRS", 0)
    loader = source(dataset)
    assert loader._zero_pairs is None
    for batch in loader.epoch(1):
        expected = dataset.targets(batch.group.numpy(), batch.gene.numpy())
        assert batch.targets is not None and batch.targets.tolist() == expected.tolist()
    assert sum(len(batch) for batch in loader.epoch(1)) == loader.n_samples


def test_a_batch_is_a_function_of_seed_epoch_and_number(dataset: GenesDataset):
    loader, again = source(dataset, drop_atac=0.1), source(dataset, drop_atac=0.1)
    batches = list(loader.epoch(4))
    assert len(batches) == loader.n_batches(4)
    assert equal(again.batch(4, 5), batches[5]) and equal(again.batch(4, 1), batches[1])
    assert all(equal(a, b) for a, b in zip(again.epoch(4, start=3), batches[3:], strict=True))
    assert not equal(loader.batch(5, 5), batches[5])
    assert not equal(source(dataset, seed=4, drop_atac=0.1).batch(4, 5), batches[5])


def test_genes_of_like_length_come_together(dataset: GenesDataset):
    def padding(sort_batches: int) -> float:
        batches = list(source(dataset, sort_batches=sort_batches, batch_size=16).epoch(0))
        return 1 - sum(int(b.mask.sum()) for b in batches) / sum(b.mask.numel() for b in batches)

    assert padding(16) < 0.6 * padding(1)


def test_dropped_samples_show_the_sequence_alone(dataset: GenesDataset):
    n = dataset.n_peaks
    always = source(dataset, drop_atac=1.0).batch(0, 0)
    real = always.state[always.mask]
    assert ((real >= n) & (real < 2 * n)).all() and not always.state[~always.mask].any()
    sometimes = list(source(dataset, drop_atac=0.25).epoch(0))
    dropped = [
        bool((b.state[row][b.mask[row]] >= n).all() and (b.state[row][b.mask[row]] < 2 * n).all())
        for b in sometimes
        for row in range(len(b))
    ]
    assert 0.18 < np.mean(dropped) < 0.32


def test_evaluation_shows_every_pair_once_in_a_fixed_order(dataset: GenesDataset):
    genes, groups = dataset.part("test")
    loader = source(dataset, "test", drop_atac=0.9)
    seen = [pair for batch in loader.epoch(0) for pair in pairs(batch)]
    assert sorted(seen) == sorted((group, gene) for group in groups.tolist() for gene in genes.tolist())
    assert [pair for batch in loader.epoch(7) for pair in pairs(batch)] == seen
    states = next(iter(loader.epoch(0))).state
    assert not ((states >= dataset.n_peaks) & (states < 2 * dataset.n_peaks)).any(), "nothing is dropped"
    few = source(dataset, "test", valid_samples=29)
    some = [pair for batch in few.epoch(0) for pair in pairs(batch)]
    assert len(some) == len(set(some)) == 29 and set(some) <= set(seen)


def test_some_genes_and_a_short_epoch(dataset: GenesDataset):
    genes, groups = dataset.part("train")
    some = genes[[0, 2, 5, 6]]
    loader = GeneSource(dataset, some, groups[::3], dataclasses.replace(CONFIG, epoch_samples=20), 0)
    seen = [pair for batch in loader.epoch(0) for pair in pairs(batch)]
    assert len(seen) == loader.n_samples and 15 <= len(seen) <= 25
    assert {gene for _, gene in seen} <= set(some.tolist()) and {group for group, _ in seen} <= set(
        groups[::3].tolist()
    )
    whole = GeneSource(dataset, some, groups[::3], CONFIG, 0)
    assert whole.n_expressed == (dataset.expression_matrix(groups[::3], some) > 0).sum()


def test_no_sample_is_an_error(dataset: GenesDataset):
    with pytest.raises(ValueError, match="no sample"):
        GeneSource(dataset, np.array([0]), np.array([], dtype=np.int64), CONFIG)
    with pytest.raises(ValueError, match="drop_atac=1.5"):
        GeneLoaderConfig(drop_atac=1.5)


def test_a_feature_table_is_gathered_by_state(dataset: GenesDataset, tmp_path: Path):
    """How features meet batches: one row a state, one gather a batch."""
    table = torch.arange(dataset.n_states, dtype=torch.float32)[:, None].expand(-1, 5)
    batch = source(dataset).batch(0, 0)
    features = table[batch.state]
    assert features.shape == (*batch.state.shape, 5)
    assert torch.equal(features[..., 0], batch.state.float())
