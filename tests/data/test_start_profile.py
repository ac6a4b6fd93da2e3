from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from cisoform.batches import StartBatch
from cisoform.data.start_profile import (
    NO_CDS,
    ProfileWindow,
    StartProfileLoader,
    StartProfiles,
    _to_cds,
    fold_of_family,
    start_profiles,
)
from cisoform.models.start_score import StartScoreConfig, StartScorer
from cisoform.training.protocols import Export
from cisoform.training.start_profile import StartProfileTask

WINDOW = ProfileWindow(before=4, after=3, flank=2, jitter=0)


def nobody(dataset):
    return np.zeros(dataset.samples.n, dtype=bool)


def test_the_way_to_the_cds_includes_introns_on_either_strand():
    # CDS at base 12 of the RNA; a first exon of 10 bases, then an intron of 5: 10 + 5 + 2 bases down the genome.
    # Minus strand: exon 1 is 90..100, exon 2 is 75..85; base 12 is at 82, the start at 99.
    found = _to_cds(
        [12, 12, 3, -1], [[0, 15], [90, 75], [90, 75], [0]], [[10, 40], [100, 85], [100, 85], [9]]
    )
    assert found.tolist() == [17, 17, 3, NO_CDS]


def hand_made():
    """One gene of four transcripts: starts 100 and 98, one on the other strand, one too far."""
    return StartProfiles(
        row=np.arange(4),
        first=np.array([0, 4]),
        place=np.array([0, 0, 1, 0]),
        position=np.array([100, 98, 100, 60]),
        to_cds=np.array([2, 50, 50, NO_CDS]),
        usage=np.array([[5], [3], [7], [9]], dtype=np.float32),
    )


def test_labels_worked_by_hand(dataset):
    loader = StartProfileLoader(dataset.samples, hand_made(), WINDOW, 1)
    first, all_of_it = np.array([0]), (np.array([0]), np.array([4]))
    usage, allowed = loader._labels(first, *all_of_it, np.array([0]))
    # Places -4..2 round 100: 98 is at -2, 100 itself at 0; from the CDS at +2 on nothing can start.
    assert usage[0, 0].tolist() == [0, 0, 3, 0, 5, 0, 0]
    assert allowed[0].tolist() == [True] * 6 + [False]
    usage, allowed = loader._labels(first, *all_of_it, np.array([1]))  # a base further downstream
    assert usage[0, 0].tolist() == [0, 3, 0, 5, 0, 0, 0]
    assert allowed[0].tolist() == [True] * 5 + [False] * 2


def test_a_window_lies_where_its_labels_are(dataset):
    profiles = start_profiles(dataset, nobody(dataset), 3)
    batch = StartProfileLoader(dataset.samples, profiles, replace(WINDOW, jitter=3), 10**6, seed=1).batch(
        0, 0
    )
    own = np.random.default_rng((1, 0, 0)).permutation(profiles.n_genes)
    rng = np.random.default_rng((1, 0, 0, 1))
    shown = rng.integers(profiles.first[own], profiles.first[own + 1])
    shift = rng.integers(-3, 4, size=len(shown))
    rows = dataset.samples.dna_row[profiles.row[shown]]
    base = dataset.samples.dna.window(rows, 1, 0, 0)[:, 0]  # the first transcribed base
    place = WINDOW.before - shift
    inside = place < WINDOW.before + WINDOW.after
    assert inside.sum() > 5
    index = np.flatnonzero(inside)
    assert (batch.ids.numpy()[index, WINDOW.flank + place[index]] == base[index]).all()
    used = batch.usage.numpy()[index, :, place[index]]
    assert (used >= profiles.usage[shown][index]).all()


def test_only_training_rows_reach_the_labels(dataset):
    profiles = start_profiles(dataset, nobody(dataset), 1)
    train = np.flatnonzero(dataset.split == "train")
    assert sorted(profiles.row.tolist()) == train.tolist()
    held_out = dataset.split != "train"
    expression = np.array(dataset.expression)
    expression[held_out] = np.random.default_rng(0).random(expression[held_out].shape) * 1e6
    table = dataset.samples.table
    shifted = np.where(held_out, table["tss"].to_numpy() + 7, table["tss"].to_numpy())
    names = [
        f"new{i}" if out else name
        for i, (name, out) in enumerate(zip(table["transcript_id"], held_out, strict=True))
    ]
    samples = replace(
        dataset.samples,
        transcript_ids=names,
        table=table.with_columns(pl.Series("tss", shifted)),
    )
    other = replace(dataset, expression=expression, samples=samples)
    assert start_profiles(other, nobody(dataset), 1).digest() == profiles.digest()
    expression[train[0]] += 1
    assert start_profiles(other, nobody(dataset), 1).digest() != profiles.digest()


def test_gene_level_columns_are_no_labels(dataset):
    levels = [column.level for column in dataset.columns]
    assert levels.count("transcript") == 3 and "gene" in levels
    profiles, mean = (start_profiles(dataset, nobody(dataset), n) for n in (3, 1))
    np.testing.assert_allclose(mean.usage[:, 0], profiles.usage.mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(profiles.usage, dataset.expression[profiles.row][:, :3])


def test_a_fold_holds_whole_families_and_is_left_out_whole(dataset):
    fold = fold_of_family(dataset, 3)
    by_family = {}
    for name, number in zip(dataset.family, fold.tolist(), strict=True):
        assert by_family.setdefault(name, number) == number
    assert set(fold.tolist()) == {0, 1, 2}
    profiles = start_profiles(dataset, fold == 1, 1)
    assert profiles.n_genes and not (fold[profiles.row] == 1).any()
    assert (fold_of_family(replace(dataset, family=dataset.family[::-1]), 3) == fold[::-1]).all()


def test_batches_are_a_function_of_epoch_and_number(dataset):
    profiles = start_profiles(dataset, nobody(dataset), 3)

    def loader():
        return StartProfileLoader(dataset.samples, profiles, replace(WINDOW, jitter=2), 5, seed=3)

    batches = list(loader().epoch(2))
    assert len(batches) == loader().n_batches(2) == -(-profiles.n_genes // 5)
    assert sum(map(len, batches)) == profiles.n_genes
    for one, again in zip(batches[1:], loader().epoch(2, start=1), strict=True):
        assert all(torch.equal(getattr(one, name), getattr(again, name)) for name in vars(one))
    assert not torch.equal(batches[0].ids, loader().batch(3, 0).ids)


def test_the_loss_is_the_cross_entropy_of_usage(dataset):
    config = StartScoreConfig(outputs=1, channels=2, kernel=1, dilations=())
    model = StartScorer(config)
    torch.nn.init.zeros_(model.out.weight)
    torch.nn.init.zeros_(model.out.bias)
    task = StartProfileTask(model, Export({}))
    profiles = replace(hand_made(), to_cds=np.array([2, 50, 50, -9]))
    loader = StartProfileLoader(dataset.samples, profiles, replace(WINDOW, flank=0), 1)
    shown = np.array([0, 3])
    usage, allowed = loader._labels(shown, np.array([0, 0]), np.array([4, 4]), np.array([0, 0]))
    batch = StartBatch(
        torch.zeros(2, 7, dtype=torch.int8), torch.from_numpy(usage), torch.from_numpy(allowed)
    )
    loss = task.loss(batch)
    # Equal scores over the 6 allowed places: log 6. The other transcript's start lies within its CDS: no label.
    assert float(loss.weight) == 1
    assert float(loss.total.detach()) == pytest.approx(np.log(6))
    loss.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad():
        assert task.validate([batch])["loss"] == pytest.approx(np.log(6))
