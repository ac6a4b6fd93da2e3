"""What an encoder may be pre-trained on: nothing of a held-out transcript, in letters or in bases of the genome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.masked_tokens import VOCABULARIES, MaskedSource, MaskingConfig
from cisoform.data.pretraining import Spans, pretraining_pools, window_spans
from cisoform.data.sampling import BatchLimits
from cisoform.data.windows import GenomeWindows
from cisoform.errors import InputError
from cisoform.tokens import kmer
from cisoform.tokens.protein import ESM_MASK
from tests.cli.mini import write_mini_project

WINDOW = 1201


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IsoformDataset:
    root = tmp_path_factory.mktemp("mini")
    mini = write_mini_project(root)
    build_isoform_dataset(
        mini.genome, mini.annotation, mini.expression, splits=mini.splits, window=128, out=root / "data"
    )
    return IsoformDataset.open(root / "data")


def held_out_genome(dataset: IsoformDataset) -> np.ndarray:
    """True at every base of the joined chromosomes in a held-out transcript or window, marked base by base."""
    placed = {chromosome.name: chromosome.start for chromosome in dataset.chromosomes}
    marked = np.zeros(len(dataset.samples.dna.codes), dtype=bool)
    for row in np.flatnonzero(dataset.split != "train"):
        record = dataset.samples.table.row(int(row), named=True)
        first = placed[record["chrom"]]
        marked[first + record["start"] : first + record["end"]] = True
        start = first + record["tss"]
        half = WINDOW // 2
        low = start - half if record["strand"] == "+" else start - (WINDOW - half) + 1
        marked[max(low, 0) : low + WINDOW] = True
    return marked


def test_no_held_out_base_is_shown(dataset: IsoformDataset) -> None:
    """Held-out bases become A and all others N: training windows, moved or not, then show nothing but N."""
    source = dataset.samples.dna
    assert isinstance(source, GenomeWindows)
    marked = held_out_genome(dataset)
    pool = pretraining_pools(dataset, "dna", WINDOW, 99).train
    draws = [None, *(np.random.default_rng(seed) for seed in range(5))]

    def known(codes: np.ndarray, excluded: Spans | None) -> int:
        planted = replace(
            pool, samples=replace(pool.samples, dna=replace(source, codes=codes)), excluded=excluded
        )
        return sum(int((planted.codes(i, rng) < 4).sum()) for i in range(len(pool)) for rng in draws)

    held = np.where(marked, 0, 4).astype(np.uint8)
    assert known(held, pool.excluded) == 0
    # Without the exclusion the same windows show many of them; and the other bases are shown.
    assert known(held, None) > 1000
    assert known(np.where(marked, 4, 0).astype(np.uint8), pool.excluded) > 1000


def test_training_rows_share_no_family_and_no_letters_with_held_out_ones(dataset: IsoformDataset) -> None:
    samples = dataset.samples
    for modality in ("rna", "protein"):
        pools = pretraining_pools(dataset, modality, 10_000, 99)
        assert (dataset.split[pools.train.rows] == "train").all()
        assert (dataset.split[pools.valid.rows] == "valid").all()
        assert pools.left_out == {"family": 0, "identical": 0}
        held = {
            tuple(getattr(samples, modality)[int(getattr(samples, f"{modality}_row")[row])].tolist())
            for row in np.flatnonzero((dataset.split != "train") & samples.has(modality))
        }
        assert not held & {tuple(pools.train.codes(i).tolist()) for i in range(len(pools.train))}


def test_a_family_across_the_split_and_an_identical_sequence_are_left_out(dataset: IsoformDataset) -> None:
    full = pretraining_pools(dataset, "protein", 500, 99).train
    held = int(np.flatnonzero((dataset.split == "test") & dataset.samples.has("protein"))[0])
    related = int(full.rows[0])
    family = list(dataset.family)
    family[related] = family[held]
    pools = pretraining_pools(replace(dataset, family=family), "protein", 500, 99)
    assert pools.left_out == {"family": 1, "identical": 0} and related not in pools.train.rows
    row = dataset.samples.protein_row.copy()
    row[related] = row[held]
    twin = replace(dataset, samples=replace(dataset.samples, protein_row=row))
    pools = pretraining_pools(twin, "protein", 500, 99)
    assert pools.left_out["identical"] == 1 and len(pools.train) == len(full) - 1


def test_a_data_set_without_the_modality_or_part_is_refused(dataset: IsoformDataset) -> None:
    with pytest.raises(InputError, match="'train' has no protein"):
        pretraining_pools(replace(dataset, samples=dataset.samples.without(["protein"])), "protein", 500, 9)
    nobody = np.where(dataset.split == "valid", "test", dataset.split)
    with pytest.raises(InputError, match="'valid' has no rna"):
        pretraining_pools(replace(dataset, split=nobody), "rna", 500, 9)


def test_spans_by_hand() -> None:
    # 3-7 and 5-9 overlap, 9-11 touches them, 20-22 stands alone.
    spans = Spans.merged(np.array([20, 5, 3, 9]), np.array([22, 9, 7, 11]))
    assert spans.starts.tolist() == [3, 20] and spans.ends.tolist() == [11, 22]
    assert spans.longest_gap(0, 30) == (11, 20)
    assert spans.longest_gap(0, 15) == (11, 15)
    assert spans.longest_gap(4, 10) == (4, 4)
    assert spans.longest_gap(12, 19) == (12, 19)
    # One long interval over a short one does not end early.
    assert Spans.merged(np.array([0, 2]), np.array([50, 3])).ends.tolist() == [50]


def test_windows_lie_where_the_reader_cuts_them(dataset: IsoformDataset) -> None:
    source = dataset.samples.dna
    assert isinstance(source, GenomeWindows)
    rows = np.arange(len(source))
    marked = replace(source, codes=(np.arange(len(source.codes)) % 4).astype(np.uint8))
    for shift in (0, 13, -8):
        begin, end = window_spans(source, rows, 101, shift)
        windows = marked.window(rows, 101, shift)
        for row in rows:
            if source.minus[row] or begin[row] < source.chrom_start[row] or end[row] > source.chrom_end[row]:
                continue
            assert windows[row].tolist() == (np.arange(begin[row], end[row]) % 4).tolist()


def test_batches_hide_what_they_say(dataset: IsoformDataset) -> None:
    config = MaskingConfig(max_tokens=64, limits=BatchLimits(batch_size=5))
    for modality, vocabulary in VOCABULARIES.items():
        pools = pretraining_pools(dataset, modality, vocabulary.cap(config.max_tokens), 99)
        source = MaskedSource(pools.train, config, seed=3)
        kept = shown = hidden = total = 0
        for epoch in range(6):
            for batch in source.epoch(epoch):
                assert batch.ids.shape[1] <= 64
                at = batch.ids.flatten()[batch.hidden.index]
                target = batch.hidden.target
                assert ((target >= vocabulary.first) & (target < vocabulary.last)).all()
                assert batch.mask.flatten()[batch.hidden.index].all()
                shown += int((at == vocabulary.mask).sum())
                kept += int((at == target).sum())
                hidden += len(target)
                total += int(((batch.ids >= vocabulary.first) & (batch.ids < vocabulary.last)).sum())
        assert 0.12 < hidden / (total + shown) < 0.2, modality
        assert 0.75 < shown / hidden < 0.85 and 0.06 < kept / hidden < 0.15
        again = MaskedSource(pools.train, config, seed=3)
        one, two = source.batch(4, 0), next(again.epoch(4))
        assert (one.ids == two.ids).all() and (one.hidden.index == two.hidden.index).all()
        assert next(MaskedSource(pools.train, config, seed=4).epoch(4)).ids.tolist() != one.ids.tolist()


def test_validation_batches_are_fixed_and_all_masked(dataset: IsoformDataset) -> None:
    config = MaskingConfig(max_tokens=64, limits=BatchLimits(batch_size=5))
    pools = pretraining_pools(dataset, "protein", 62, 99)
    source = MaskedSource(pools.valid, config, fixed=True)
    for one, two in zip(source.epoch(0), source.epoch(0), strict=True):
        assert (one.ids == two.ids).all()
        assert (one.ids.flatten()[one.hidden.index] == ESM_MASK).all()
    n = [int(one.hidden.index.shape[0]) for one in source.epoch(0)]
    assert sum(n) > 0


def test_rna_is_cut_in_every_frame_and_keeps_its_3_end_in_validation(dataset: IsoformDataset) -> None:
    pools = pretraining_pools(dataset, "rna", 60, 99)
    whole = pretraining_pools(dataset, "rna", 10_000, 99)
    text = whole.train.codes(0)
    assert pools.valid.codes(0).tolist() == whole.valid.codes(0)[-60:].tolist()
    begins = set()
    for seed in range(60):
        part = whole.train.codes(0, np.random.default_rng(seed))
        begins.add(len(text) - len(part))
        assert part.tolist() == text[len(text) - len(part) :].tolist()
    assert begins == set(range(kmer.K))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"max_tokens": 7}, "max_tokens=7"), ({"share": 0.0}, "share=0.0"), ({"as_mask": 0.95}, "as_mask=0.95")],
)
def test_settings_out_of_range_are_refused(change: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MaskingConfig(**change)


def test_the_folder_is_unchanged(dataset: IsoformDataset) -> None:
    """Choosing sequences reads; the data set's hash still fits its files."""
    assert IsoformDataset.open(Path(dataset.path)).hash == dataset.hash
