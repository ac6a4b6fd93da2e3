"""Files for genome browsers, worked by hand: tracks of scores, BED and BEDPE of links."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pybigtools

from cisoform.jobs.link_files import write_links
from cisoform.jobs.score_tracks import MOST_TRACKS, write_browser_tracks

# chrom, start, end, gene_id, gene_name, group, score
SCORES = [
    ("chr2", 100, 200, "G1", "MYC", "B", 0.5),
    ("chr2", 150, 260, "G1", "MYC", "B", -2.0),
    ("chr2", 160, 190, "G1", "MYC", "B", 1.0),
    ("chr10", 5, 9, "G2", None, "B", 0.25),
    ("chr2", 150, 260, "G2", None, "B", 1.5),
    ("chr2", 100, 200, "G1", "MYC", "CD4 T/NK", 3.0),
]


def table(rows: list[tuple[str, int, int, str, str | None, str, float]]) -> pl.DataFrame:
    names = ("chrom", "start", "end", "gene_id", "gene_name", "group", "score_exact")
    return pl.DataFrame(rows, schema=names, orient="row")


def lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_tracks_of_scores(tmp_path: Path) -> None:
    made = write_browser_tracks(tmp_path, table(SCORES), "score_exact")
    names = ("scores.B", "scores.CD4_T_NK")
    assert made == [
        "scores.bed",
        *(f"{name}.bedgraph" for name in names),
        *(f"{name}.bw" for name in names),
    ]
    # MYC in B: -2, 0.5, 1 are the ranks 0, 500, 1000; G2: 0.25 and 1.5 are 0 and 1000; one peak alone is 0.
    assert lines(tmp_path / "scores.bed") == [
        ["chr10", "5", "9", "G2|B", "0", "."],
        ["chr2", "100", "200", "MYC|B", "500", "."],
        ["chr2", "100", "200", "MYC|CD4_T/NK", "0", "."],
        ["chr2", "150", "260", "MYC|B", "0", "."],
        ["chr2", "150", "260", "G2|B", "1000", "."],
        ["chr2", "160", "190", "MYC|B", "1000", "."],
    ]
    # -2 is stronger than 1.5; the second peak begins where the first ends, and the third lies within both.
    expected = [["chr10", "5", "9", "0.25"], ["chr2", "100", "200", "0.5"], ["chr2", "200", "260", "-2.0"]]
    assert lines(tmp_path / "scores.B.bedgraph") == expected
    track = pybigtools.open(str(tmp_path / "scores.B.bw"))
    assert dict(track.chroms()) == {"chr2": 260, "chr10": 9}
    assert [list(row) for row in track.records("chr2", 0, 260)] == [[100, 200, 0.5], [200, 260, -2.0]]
    assert [list(row) for row in track.records("chr10", 0, 9)] == [[5, 9, 0.25]]


def test_many_labels_share_a_track_and_peaks_without_a_place_have_none(tmp_path: Path) -> None:
    rows = [("chr1", 10, 20, "G1", "MYC", f"cell {n}", float(n)) for n in range(MOST_TRACKS + 1)]
    made = write_browser_tracks(tmp_path, table(rows), "score_exact", "screen")
    assert made == ["screen.bed", "screen.bedgraph", "screen.bw"]
    assert lines(tmp_path / "screen.bedgraph") == [["chr1", "10", "20", f"{MOST_TRACKS}.0"]]
    nowhere = table(SCORES).with_columns(start=None)
    assert write_browser_tracks(tmp_path / "none", nowhere, "score_exact") == []


def test_links_as_bed_and_bedpe(tmp_path: Path) -> None:
    links = pl.DataFrame(
        {
            "chrom": ["chr2", "chr2", "chr1"],
            "start": [900, 100, 40],
            "end": [950, 200, 60],
            "gene": ["MYC", "MYC", "TP53"],
            "gene_id": ["G1", "G1", None],
            "tss": [500, 500, None],
            "cell_type": ["K 562", "K 562", "K 562"],
            "distance": [425, 350, 7],
            "score": [0.25, 1 / 3, 0.9],
        }
    )
    assert write_links(tmp_path, links) == ["predictions.tsv", "links.bedpe", "links.bed"]
    # The first base of the gene is one base long; a gene without a TSS cannot be joined.
    assert lines(tmp_path / "links.bedpe") == [
        ["chr2", "100", "200", "chr2", "500", "501", "MYC|K_562", "500", ".", "."],
        ["chr2", "900", "950", "chr2", "500", "501", "MYC|K_562", "0", ".", "."],
    ]
    bed = lines(tmp_path / "links.bed")
    assert bed[0] == ["chr1", "40", "60", "TP53|K_562", "1000", "."] and len(bed) == 3
    head, *rows = lines(tmp_path / "predictions.tsv")
    assert head[:4] == ["chr", "start", "end", "name"] and rows[0][head.index("TargetGeneTSS")] == "NA"
    assert rows[1][head.index("Score")] == "0.3333333"
