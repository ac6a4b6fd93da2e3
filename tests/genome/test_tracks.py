"""bigWig and bedGraph give the same values; gaps are 0 and counted; wrong files and values are one-line errors."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pybigtools
import pytest

from cisoform.errors import InputError
from cisoform.genome.tracks import SignalTrack, read_bed, read_track_table

GENOME = {"chr1": 200, "chr2": 90}
RECORDS = [("chr1", 10, 60, 1.5), ("chr1", 60, 75, 4.0), ("chr1", 120, 200, 0.25), ("chr2", 0, 90, 2.0)]


def bigwig(
    path: Path, records: list[tuple[str, int, int, float]] = RECORDS, lengths: dict[str, int] = GENOME
) -> Path:
    pybigtools.open(str(path), "w").write(lengths, iter(records))
    return path


def bedgraph(path: Path, records: list[tuple[str, int, int, float]] = RECORDS, head: str = "") -> Path:
    text = head + "".join("\t".join(map(str, record)) + "\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def by_hand(chrom: str, start: int, end: int) -> tuple[np.ndarray, int]:
    out = np.full(GENOME[chrom], np.nan)
    for name, low, high, value in RECORDS:
        if name == chrom:
            out[low:high] = value
    part = out[start:end]
    return np.nan_to_num(part), int(np.isnan(part).sum())


@pytest.mark.parametrize("kind", ["bigwig", "bedgraph", "bedgraph.gz"])
@pytest.mark.parametrize("span", [(0, 200), (15, 70), (70, 130), (76, 119), (199, 200)])
def test_values_of_either_form(tmp_path: Path, kind: str, span: tuple[int, int]) -> None:
    head = "track type=bedGraph\n# note\n\n"
    path = bigwig(tmp_path / "x.bw") if kind == "bigwig" else bedgraph(tmp_path / f"x.{kind}", head=head)
    track = SignalTrack(path, GENOME)
    values, empty = track.read("chr1", *span)
    expected, gaps = by_hand("chr1", *span)
    np.testing.assert_array_equal(values, expected)
    assert empty == gaps and track.chromosomes == {"chr1": "chr1", "chr2": "chr2"}


def test_a_transform_keeps_gaps_at_zero_and_undoes_what_was_stored(tmp_path: Path) -> None:
    stored = [("chr1", 0, 25, float(np.float32(np.arcsinh(7.0)))), ("chr1", 50, 60, 0.0)]
    track = SignalTrack(bigwig(tmp_path / "x.bw", stored), GENOME, "sinh")
    values, empty = track.read("chr1", 0, 100)
    np.testing.assert_allclose(values[:25], 7.0, rtol=1e-6)
    assert not values[25:].any() and empty == 65


def test_names_with_and_without_chr_are_matched(tmp_path: Path) -> None:
    track = SignalTrack(bedgraph(tmp_path / "x.bg", [("1", 5, 9, 3.0)]), GENOME)
    assert track.chromosomes == {"chr1": "1"}
    assert track.read("chr1", 4, 10)[0].tolist() == [0, 3, 3, 3, 3, 0]


def test_nan_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "x.bg"
    path.write_text("chr1 0 5 nan\nchr1 5 7 2\n")
    assert SignalTrack(path, GENOME).read("chr1", 0, 8)[0].tolist() == [0, 0, 0, 0, 0, 2, 2, 0]


@pytest.mark.parametrize(
    ("records", "transform", "said"),
    [
        ([("chr1", 5, 9, -2.0)], "none", r"signal at chr1:6 is -2; levels need"),
        ([("chr1", 5, 9, float("inf"))], "none", r"signal at chr1:6 is inf"),
        ([("chr1", 7, 9, 2000.0)], "sinh", r"signal at chr1:8 is 2000 \(sinh: inf\)"),
    ],
)
@pytest.mark.parametrize("form", ["bw", "bg"])
def test_impossible_signal_is_refused_with_its_place(
    tmp_path: Path, form: str, records: list[tuple[str, int, int, float]], transform: str, said: str
) -> None:
    path = bigwig(tmp_path / "x.bw", records) if form == "bw" else bedgraph(tmp_path / "x.bg", records)
    with pytest.raises(InputError, match=said):
        SignalTrack(path, GENOME, transform).read("chr1", 0, 20)


def test_another_assembly_is_refused(tmp_path: Path) -> None:
    path = bigwig(tmp_path / "x.bw", RECORDS[:1], {"chr1": 300})
    with pytest.raises(InputError, match=r"chr1 has 300 bases, but 200 in the genome.*different assemblies"):
        SignalTrack(path, GENOME)
    with pytest.raises(InputError, match=r"chr1 reaches to 250 bases, but 200"):
        SignalTrack(bedgraph(tmp_path / "x.bg", [("chr1", 0, 250, 1.0)]), GENOME)
    with pytest.raises(InputError, match=r"no chromosome of the track \(scaffold7\)"):
        SignalTrack(bedgraph(tmp_path / "y.bg", [("scaffold7", 0, 25, 1.0)]), GENOME)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chr1\t0\t5\n", r"line 1: 'chr1 0 5' is not chrom, start, end, value"),
        ("chr1\t0\t5\thigh\n", r"line 1: 'chr1 0 5 high' is not"),
        ("chr1\t5\t5\t1\n", r"line 1: 5-5 is not a span"),
        ("chr1\t5\t9\t1\nchr1\t0\t3\t1\n", r"line 2: chr1:0-3 begins before 9.*sort"),
        ("chr1\t5\t9\t1\nchr1\t8\t12\t1\n", r"line 2: chr1:8-12 begins before 9.*overlaps"),
        ("track x\n", r"holds no interval"),
    ],
)
def test_wrong_bedgraph(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.bg"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        SignalTrack(path, GENOME)


def test_files_of_another_kind(tmp_path: Path) -> None:
    whole = bigwig(tmp_path / "x.bw").read_bytes()
    for name, content, said in (
        ("cut.bw", whole[: len(whole) // 2], "bigWig cannot be read"),
        ("bed.bb", bytes.fromhex("ebf28987") + b"\0" * 40, "is a bigBed file"),
        ("x.npy", b"\0\1\2\3" * 20, "neither bigWig nor bedGraph"),
        ("empty.bw", b"", "the file is empty"),
        (
            "cut.bg.gz",
            gzip.compress("".join(f"chr1\t{i}\t{i + 1}\t1\n" for i in range(150)).encode())[:-20],
            "gzip file is truncated",
        ),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=said):
            SignalTrack(tmp_path / name, GENOME)


def test_a_table_of_tracks(tmp_path: Path) -> None:
    bigwig(tmp_path / "a.bw")
    (tmp_path / "t.tsv").write_text(
        "# mine\r\nsample\ttrack\tpath\ttransform\r\nK562\tATAC\ta.bw\tsinh\r\nK562\tctcf\ta.bw\t\r\n"
    )
    first, second = read_track_table(tmp_path / "t.tsv")
    assert (first.sample, first.track, first.path, first.transform) == (
        "K562",
        "ATAC",
        tmp_path / "a.bw",
        "sinh",
    )
    assert (second.track, second.transform) == ("ctcf", "none")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "file is empty"),
        ("sample\ttrack\n", r"line 1: the header lacks the column 'path'"),
        ("sample,track,path\n", r"lacks the column 'sample'"),
        ("sample\ttrack\tpath\tcolour\n", r"has the columns sample, track, path, colour"),
        ("sample\ttrack\tpath\n", "lists no track"),
        ("sample\ttrack\tpath\na\tx\n", r"line 2: has 2 fields, but the header has 3"),
        ("sample\ttrack\tpath\na\tx.y\ta.bw\n", r"track 'x.y' may hold only"),
        ("sample\ttrack\tpath\n\tx\ta.bw\n", r"sample '' may hold only"),
        ("sample\ttrack\tpath\na\tx\t\n", r"line 2: the path is empty"),
        ("sample\ttrack\tpath\na\tx\tno.bw\n", r"line 2: .*no.bw: no such file \(track x of a\)"),
        ("sample\ttrack\tpath\ttransform\na\tx\ta.bw\tsinn\n", r"transform 'sinn' is unknown; did you mean 'sinh'"),
        ("sample\ttrack\tpath\na\tx\ta.bw\na\tx\ta.bw\n", r"line 3: track 'x' of sample 'a' is already on line 2"),
    ],
)  # fmt: skip
def test_wrong_tables(tmp_path: Path, text: str, said: str) -> None:
    bigwig(tmp_path / "a.bw")
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_track_table(tmp_path / "t.tsv")


def test_bed(tmp_path: Path) -> None:
    (tmp_path / "x.bed").write_text("#h\nchr1\t9\t12\tname\nchr1\t2\t5\n")
    assert read_bed(tmp_path / "x.bed")["chr1"].tolist() == [[2, 5], [9, 12]]
    (tmp_path / "y.bed").write_text("chr1\t9\n")
    with pytest.raises(InputError, match=r"line 1: 'chr1\\t9' is not chrom, start, end"):
        read_bed(tmp_path / "y.bed")
    (tmp_path / "z.bed").write_text("chr1\t9\t3\n")
    with pytest.raises(InputError, match=r"line 1: 9-3 is not a span"):
        read_bed(tmp_path / "z.bed")
