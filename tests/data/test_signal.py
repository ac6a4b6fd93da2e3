"""Tracks along the windows of starts: levels worked by hand on both strands, storing, names, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cisoform.data.promoter_views import PromoterViews
from cisoform.data.signal import (
    PromoterSignal,
    ReadTracks,
    StoredLevels,
    TrackLevels,
    check_samples,
    open_tracks,
    sample_name,
)
from cisoform.data.windows import GenomeWindows
from cisoform.errors import InputError
from cisoform.genome.tracks import TrackRow
from cisoform.tokens.peaks import RELEASED_EDGES

LENGTHS = {"chr1": 40, "chr2": 30}
EDGES = {"atac": RELEASED_EDGES}


def windows() -> GenomeWindows:
    """Starts at chr1:20 (+), chr1:20 (-), chr1:3 (+) and chr2:28 (-), of chromosomes of 40 and 30 bases."""
    position = np.array([20, 20, 3, 68])
    return GenomeWindows(
        np.random.default_rng(0).integers(0, 4, 70).astype(np.uint8),
        position,
        np.array([False, True, False, True]),
        np.where(position < 40, 0, 40),
        np.where(position < 40, 40, 70),
    )


def bedgraph(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def read(path: Path, edges=EDGES) -> TrackLevels:
    return TrackLevels(
        windows(), {0: "chr1", 40: "chr2"}, LENGTHS, [TrackRow("brain", "atac", path)], ("brain",), edges
    )


def test_levels_worked_by_hand_on_both_strands(tmp_path: Path) -> None:
    # 6.0 at base 22 alone: of the 6-mers, those that begin at 17..22 have the mean 1.0, which is level 15 (13 edges
    # lie below 1.0, and it is itself an edge: 2 + 14 = 16).
    source = read(bedgraph(tmp_path / "a.bg", "chr1 22 23 6", "chr2 0 30 0"))
    found = source.levels(np.array([0, 1]), 12)
    level = 2 + sum(edge <= 1.0 for edge in RELEASED_EDGES)
    assert level == 16
    # On +, the window's first 6-mer begins at base 14; on - it is base 26 going down, so that the 6-mer at index i
    # covers 26-i-5..26-i: it holds base 22 for i = 0..4 and, where 22 is its last base, for no more than i = 4.
    assert found[0, 0, 0].tolist() == [level if 17 <= 14 + i <= 22 else 1 for i in range(12)]
    assert found[1, 0, 0].tolist() == [level if 26 - i - 5 <= 22 <= 26 - i else 1 for i in range(12)]


def test_beyond_the_chromosome_and_on_lacking_chromosomes_nothing_is_measured(tmp_path: Path) -> None:
    source = read(bedgraph(tmp_path / "a.bg", "chr1 0 40 3"))
    found = source.levels(np.array([2, 3]), 12)
    # The window of chr1:3 begins at -3: its first three 6-mers are not wholly on the chromosome.
    assert found[0, 0, 0, :3].tolist() == [0, 0, 0]
    assert (found[0, 0, 0, 3:] == 2 + sum(edge <= 3.0 for edge in RELEASED_EDGES)).all()
    assert (found[1] == 0).all()
    assert source.lacking() == {"chr2": 1}


@pytest.mark.parametrize(
    ("length", "upstream", "shift"), [(16, None, 0), (8, None, 2), (6, 5, -1), (24, 9, 3)]
)
def test_stored_levels_are_those_of_the_file_as_far_as_they_reach(tmp_path, length, upstream, shift) -> None:
    rng = np.random.default_rng(1)
    rows = [f"{chrom} {i} {i + 1} {rng.gamma(1, 3):.3f}" for chrom, n in LENGTHS.items() for i in range(n)]
    source = read(bedgraph(tmp_path / "a.bg", *rows))
    stored = StoredLevels(source.levels(np.arange(4), 16))
    picked = np.array([3, 0, 1])
    first = 8 - (length // 2 if upstream is None else upstream) + shift
    inside = [0 <= first + i < 16 for i in range(length)]
    found, expected = (s.levels(picked, length, shift, upstream) for s in (stored, source))
    np.testing.assert_array_equal(found[..., inside], expected[..., inside])
    assert (found[..., np.logical_not(inside)] == 0).all()


def test_a_column_reads_the_sample_of_its_name() -> None:
    assert sample_name("Whole Blood") == "Whole_Blood"
    assert sample_name("brain (gene)") == "brain"
    signal = PromoterSignal(
        StoredLevels(np.zeros((4, 2, 1, 8), np.uint8)), ("Whole_Blood", "brain"), ("atac",), EDGES
    )
    columns = ("brain", "liver", "Whole Blood", "brain (gene)")
    assert signal.views(columns) == (2, 0, 1, 2)
    # One sample that no column reads is no view: brain is view 1 where blood is not predicted.
    views = PromoterViews.of(windows(), signal, 8, None, None, ("brain", "liver"))
    assert (views.samples, views.of_column, views.n_views) == ((1,), (1, 0), 2)
    without = PromoterViews.of(windows(), signal, 8, None, (), columns)
    assert (without.n_views, without.of_column) == (1, (0, 0, 0, 0))
    with pytest.raises(InputError, match=r"tracks.tsv: sample 'brian' .* did you mean 'brain'"):
        check_samples("tracks.tsv", ("brain", "brian"), columns)


def test_views_hold_the_tracks_of_their_sample_in_the_order_of_the_model() -> None:
    values = np.arange(4 * 2 * 2 * 8, dtype=np.uint8).reshape(4, 2, 2, 8)
    edges = {"atac": RELEASED_EDGES, "dnase": RELEASED_EDGES}
    signal = PromoterSignal(StoredLevels(values), ("brain", "liver"), ("atac", "dnase"), edges)
    views = PromoterViews.of(windows(), signal, 8, None, ("dnase", "h3k4me3"), ("liver", "brain"))
    found = views.levels(np.array([2, 1]))
    assert found.shape == (3, 2, 2, 8)
    assert (found[0] == 0).all() and (found[:, :, 1] == 0).all()
    for view, sample in ((1, 0), (2, 1)):
        np.testing.assert_array_equal(found[view, :, 0], values[[2, 1], sample, 1])
    flipped = views.levels(np.array([2, 1]), flipped=np.array([True, False]))
    np.testing.assert_array_equal(flipped[:, 0], found[:, 0, :, ::-1])
    np.testing.assert_array_equal(flipped[:, 1], found[:, 1])
    states = views.states(np.repeat([2, 1], 3), np.tile([0, 1, 2], 2))
    assert states.tolist() == [6, 7, 8, 3, 4, 5]


def test_what_a_model_reads_is_kept_and_checked() -> None:
    read_tracks = ReadTracks(dict(EDGES), ("brain", "liver"))
    again = ReadTracks.from_json(read_tracks.to_json(), "tracks.json")
    assert again == read_tracks
    assert "no" in again.check(None, "data")[0]
    other = {"atac": tuple(edge * 2 for edge in RELEASED_EDGES)}
    signal = PromoterSignal(StoredLevels(np.zeros((4, 1, 1, 8), np.uint8)), ("brain",), ("atac",), EDGES)
    assert "liver" in again.check(signal, "data")[0]
    spoiled = PromoterSignal(signal.source, signal.samples, signal.tracks, other)
    with pytest.raises(InputError, match="data: the levels of track 'atac' are cut at other edges"):
        again.check(spoiled, "data")
    with pytest.raises(InputError, match=r"tracks.json: not a list of tracks"):
        ReadTracks.from_json({"edges": {"atac": [1.0]}, "samples": []}, "tracks.json")


def test_samples_and_gaps_are_told(tmp_path: Path) -> None:
    path = bedgraph(tmp_path / "a.bg", "chr1 0 40 3")
    table = [TrackRow("brain", "atac", path), TrackRow("liver", "dnase", path)]
    edges = {"atac": RELEASED_EDGES, "dnase": RELEASED_EDGES}
    signal, said = open_tracks(
        "t.tsv", table, windows(), {0: "chr1", 40: "chr2"}, LENGTHS, ("liver", "brain"), edges
    )
    assert signal.samples == ("brain", "liver")
    assert "chr2, lacking in 2 files" in said[0]
    assert "2 of 4 pairs" in said[1]
    assert (signal.source.levels(np.array([0]), 8)[0, 0, 1] == 0).all()
