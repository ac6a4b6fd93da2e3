"""Batches: functions of (seed, epoch, number); what is hidden or preserved is nowhere in the input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cisoform.batches import RegionBatch
from cisoform.data.region_build import build_regions
from cisoform.data.region_loader import (
    RegionLoaderConfig,
    RegionSource,
    assemble,
    find_anchor,
    fixed_windows,
)
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.regions import RegionDataset
from cisoform.errors import InputError
from cisoform.genome.sequence import reverse_complement
from cisoform.tokens.masking import HidingConfig
from cisoform.tokens.peaks import dna_tokens
from tests.data import region_files as files

CONFIG = RegionLoaderConfig(lengths=(128, 256, 512), batch_tokens=1024, valid_length=256, valid_tokens=4096)
TRACKS = ("atac", "h3k4me3", "ctcf")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> RegionDataset:
    folder = tmp_path_factory.mktemp("loader")
    files.write_genome(folder)
    files.write_tracks(folder, ("liver", "brain"), TRACKS)
    config = RegionBuildConfig(window=512, test_chromosomes=("c3",))
    build_regions(folder / "genome.fa", folder / "tracks.tsv", folder / "regions", config)
    return RegionDataset.open(folder / "regions")


def tensors(batch: RegionBatch) -> list[torch.Tensor]:
    out = [batch.dna, batch.region, batch.start, *batch.tracks.values()]
    for places in (batch.hidden_dna, *batch.hidden_tracks.values(), *batch.preserved.values()):
        out += [places.index, places.target]
    return out


def test_a_batch_is_a_function_of_seed_epoch_and_number(dataset: RegionDataset) -> None:
    source = RegionSource(dataset, dataset.rows("train"), CONFIG, seed=5)
    again = RegionSource(dataset, dataset.rows("train"), CONFIG, seed=5)
    late = list(source.epoch(2, start=3))
    assert len(late) == source.n_batches(2) - 3
    for one, other in zip(late, list(again.epoch(2))[3:], strict=True):
        for a, b in zip(tensors(one), tensors(other), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(source.batch(0, 0).dna, source.batch(1, 0).dna)
    assert not torch.equal(
        source.batch(0, 0).dna, RegionSource(dataset, source.rows, CONFIG, seed=6).batch(0, 0).dna
    )


def test_all_batches_have_the_same_tokens_and_all_lengths_occur(dataset: RegionDataset) -> None:
    source = RegionSource(dataset, dataset.rows("train"), CONFIG)
    batches = [batch for epoch in range(3) for batch in source.epoch(epoch)]
    assert {batch.dna.numel() for batch in batches} == {1024}
    assert {batch.dna.shape[1] for batch in batches} == {128, 256, 512}
    assert all(torch.equal(batch.start % 128, torch.zeros_like(batch.start)) for batch in batches)


def test_hidden_things_are_not_in_the_input(dataset: RegionDataset) -> None:
    source = RegionSource(dataset, dataset.rows("train"), CONFIG, seed=1)
    for batch in source.epoch(0):
        length = batch.dna.shape[1]
        for row, (region, start) in enumerate(zip(batch.region.tolist(), batch.start.tolist(), strict=True)):
            codes = dataset.dna(region, start, length)
            ids = dna_tokens(codes)
            shown = batch.dna[row].numpy()
            visible = shown > 3
            assert (shown[visible] == ids[visible]).all()
            index = batch.hidden_dna.index.numpy()
            tokens = index[index // length == row] % length
            # No visible 6-mer covers a base that counts, and its target is the true 6-mer.
            for token in tokens:
                assert not visible[max(0, token - 5) : token + 1].any()
            assert (batch.hidden_dna.target.numpy()[index // length == row] == ids[tokens]).all()
            levels = dataset.levels(region, start, length)
            for number, name in enumerate(dataset.tracks):
                track = batch.tracks.get(name)
                if track is None or not (track[row] != 0).any():  # preserved: nothing of it is shown
                    continue
                values = track[row].numpy()
                assert ((values == levels[number]) | (values == 37)).all()
                if name in batch.hidden_tracks:
                    at = batch.hidden_tracks[name].index.numpy()
                    mine = at[at // length == row] % length
                    assert (values[mine] == 37).all()
                    wanted = batch.hidden_tracks[name].target.numpy()[at // length == row]
                    assert (wanted == levels[number][mine]).all()


def test_every_track_is_either_shown_or_preserved(dataset: RegionDataset) -> None:
    source = RegionSource(dataset, dataset.rows("train"), CONFIG, seed=2)
    for batch in source.epoch(0):
        bins = batch.dna.shape[1] // 128
        for name in dataset.tracks:
            shown = (
                (batch.tracks[name] != 0).any(dim=1)
                if name in batch.tracks
                else torch.zeros(len(batch), dtype=bool)
            )
            kept = torch.zeros(len(batch), dtype=torch.bool)
            if name in batch.preserved:
                kept[batch.preserved[name].index // bins] = True
            assert torch.equal(shown, ~kept)
        for name, places in batch.preserved.items():
            first = int(places.index[0])
            row, place = first // bins, first % bins
            levels = dataset.bin_levels(int(batch.region[row]), int(batch.start[row]), batch.dna.shape[1])
            assert int(places.target[0]) == levels[dataset.tracks.index(name)][place]


def test_the_anchor_is_alone_as_often_as_asked(dataset: RegionDataset) -> None:
    config = RegionLoaderConfig(
        lengths=(128,), batch_tokens=128 * 512, anchor_alone=0.35, sequence_alone=0.2, valid_length=128
    )
    batch = RegionSource(dataset, dataset.rows("train"), config, seed=3).batch(0, 0)
    shown = torch.stack([(batch.tracks[name] != 0).any(dim=1) for name in TRACKS], dim=1)
    none = float((shown.sum(dim=1) == 0).float().mean())
    anchor_only = float((shown[:, 0] & ~shown[:, 1] & ~shown[:, 2]).float().mean())
    # Random subsets of one or two of three tracks give the anchor alone in 1/6 of the rest.
    assert abs(none - 0.2) < 0.06 and abs(anchor_only - (0.35 + 0.45 / 6)) < 0.07
    assert not shown.all(dim=1).any()


def test_the_anchor_is_a_setting(dataset: RegionDataset) -> None:
    assert find_anchor("auto", ("h3k27ac", "dnase")) == "dnase" and find_anchor("auto", ("h3k27ac",)) is None
    assert find_anchor(None, TRACKS) is None and find_anchor("ctcf", TRACKS) == "ctcf"
    with pytest.raises(InputError, match=r"anchor track 'ATAC' is not in the data \(atac, h3k4me3, ctcf\)"):
        find_anchor("ATAC", TRACKS)


def test_validation_is_the_same_every_epoch_and_tiles_its_regions(dataset: RegionDataset) -> None:
    rows = dataset.rows("valid")
    source = RegionSource(dataset, rows, CONFIG, fixed=True)
    for one, other in zip(source.epoch(0), source.epoch(7), strict=True):
        assert torch.equal(one.dna, other.dna)
    windows = fixed_windows(dataset, rows, 256, 10**9)
    assert sorted(map(tuple, windows.tolist())) == sorted((int(r), s) for r in rows for s in (0, 256))
    assert len(fixed_windows(dataset, rows, 128, 256)) == 2


def test_nothing_hidden_nothing_shown(dataset: RegionDataset) -> None:
    rows = np.array([0, 1])
    none = np.zeros((2, 3), dtype=bool)
    batch = assemble(dataset, rows, rows * 0, 256, none, np.random.default_rng(0), None)
    assert batch.tracks == {} and batch.hidden_tracks == {} and not len(batch.hidden_dna.index)
    assert set(batch.preserved) == set(TRACKS) and len(batch.preserved["atac"].index) == 4
    assert (batch.dna.numpy() == dna_tokens(np.stack([dataset.dna(0, 0, 256), dataset.dna(1, 0, 256)]))).all()


def test_the_other_strand_is_the_reverse_complement_with_its_signal(dataset: RegionDataset) -> None:
    rows = dataset.rows("train")[:3]
    shown = dataset.measured[rows]
    back = np.array([True, False, True])
    rng = np.random.default_rng(0)
    one = assemble(dataset, rows, rows * 0, 256, shown, rng, None)
    other = assemble(dataset, rows, rows * 0, 256, shown, rng, None, back)
    assert torch.equal(other.dna[1], one.dna[1])
    for row in (0, 2):
        codes = reverse_complement(dataset.dna(int(rows[row]), 0, 256))
        assert other.dna[row].tolist() == dna_tokens(codes).astype(np.int16).tolist()
        assert torch.equal(other.tracks["atac"][row], one.tracks["atac"][row].flip(0))
    # Preserved bins turn as well: with nothing shown, every bin is a target.
    nothing = np.zeros_like(shown)
    bins = assemble(dataset, rows, rows * 0, 256, nothing, rng, None).preserved["atac"].target.reshape(3, 2)
    turned = assemble(dataset, rows, rows * 0, 256, nothing, rng, None, back).preserved["atac"].target
    assert turned.reshape(3, 2).tolist() == [
        bins[0].flip(0).tolist(),
        bins[1].tolist(),
        bins[2].flip(0).tolist(),
    ]


def test_windows_are_drawn_where_the_anchor_has_signal(dataset: RegionDataset) -> None:
    def mean_signal(share: float) -> float:
        config = RegionLoaderConfig(
            lengths=(128,), batch_tokens=1024, valid_length=128, valid_tokens=4096, at_signal=share
        )
        source = RegionSource(dataset, dataset.rows("train"), config, seed=1)
        batches = [source.batch(0, number) for number in range(60)]
        found = [
            float(dataset.means(int(region), int(start), 128)[0, 0])
            for batch in batches
            for region, start in zip(batch.region.tolist(), batch.start.tolist(), strict=True)
        ]
        return float(np.mean(found))

    # A bin is drawn by its share of the region's signal, so the mean is that of squares over that of values.
    every = [dataset.means(int(row), 0, 512)[0] for row in dataset.rows("train")]
    anywhere = float(np.mean(every))
    expected = float(np.mean([(row**2).sum() / row.sum() for row in every]))
    assert mean_signal(0.0) == pytest.approx(anywhere, rel=0.1)
    assert mean_signal(1.0) == pytest.approx(expected, rel=0.1) and expected > 1.15 * anywhere


def test_wrong_settings_and_data(dataset: RegionDataset) -> None:
    with pytest.raises(ValueError, match="need multiples of 128"):
        RegionLoaderConfig(lengths=(100,))
    with pytest.raises(ValueError, match="batch_tokens=64 is less"):
        RegionLoaderConfig(lengths=(128,), batch_tokens=64)
    with pytest.raises(ValueError, match="at_signal=1.5"):
        RegionLoaderConfig(at_signal=1.5)
    with pytest.raises(ValueError, match="no probabilities"):
        RegionLoaderConfig(anchor_alone=0.8, sequence_alone=0.3)
    long = RegionLoaderConfig(lengths=(1024,), hiding=HidingConfig())
    with pytest.raises(
        InputError, match="its regions have 512 tokens, fewer than the shortest window of 1024"
    ):
        RegionSource(dataset, dataset.rows("train"), long)
    with pytest.raises(InputError, match="no region to read"):
        RegionSource(dataset, np.array([], dtype=np.int64), CONFIG)


def test_moving_a_batch_keeps_it_whole(dataset: RegionDataset) -> None:
    batch = RegionSource(dataset, dataset.rows("train"), CONFIG).batch(0, 0)
    for a, b in zip(tensors(batch), tensors(batch.to(torch.device("cpu"))), strict=True):
        assert torch.equal(a, b)


def test_files_are_found_from_any_place(dataset: RegionDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path("/"))
    assert len(RegionSource(dataset, dataset.rows("train"), CONFIG).batch(0, 1)) > 0
