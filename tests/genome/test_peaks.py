"""Peaks: names, files, order, and the enrichment that tells a wrong assembly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cisoform.errors import InputError
from cisoform.genome.peaks import check_assembly, parse_peak_names, place_peaks, read_peaks, tss_enrichment

CHROMS = {"chr1": 500_000, "chr2": 400_000}


def test_three_forms_of_names_and_chromosomes_with_separators():
    peaks = parse_peak_names(["chr1:5-9", "chr1-15-29", "chrUn_KI270-1_2_35"], "x")
    assert [peaks.name(row) for row in range(3)] == ["chr1:5-9", "chr1:15-29", "chrUn_KI270-1:2-35"]
    with pytest.raises(InputError, match="peak 2 is named 'ENSG01'"):
        parse_peak_names(["chr1:5-9", "ENSG01"], "x")
    with pytest.raises(InputError, match="'chr1:9-9' ends before"):
        parse_peak_names(["chr1:9-9"], "x")
    with pytest.raises(InputError, match="peak 2: chr1:5-9 stands already at peak 1"):
        parse_peak_names(["chr1:5-9", "chr1_5_9"], "x")


def test_a_bed_file_with_comments_and_crlf(tmp_path: Path):
    path = tmp_path / "peaks.narrowPeak"
    path.write_bytes(b"track name=x\r\n# a\r\nchr1\t10\t20\tp1\t5\r\n\r\nchr2\t30\t45\tp2\t6\r\n")
    peaks = read_peaks(path)
    assert [peaks.name(row) for row in range(2)] == ["chr1:10-20", "chr2:30-45"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t5\n", "line 1: 'chr1.t?5' has 2|line 1: .*has 2 tab-separated"),
        ("chr1\t5\tx\n", "line 1: start '5' and end 'x'"),
        ("chr1\t5\t9\nchr1\t9\t9\n", "line 2: peak chr1:9-9 ends before"),
        ("chr1\t5\t9\nchr2\t5\t9\nchr1\t5\t9\n", "line 3: chr1:5-9 stands already at line 1"),
        ("# nothing\n", "holds no peak"),
    ],
)
def test_bad_bed_files_are_told_with_the_line(tmp_path: Path, text: str, message: str):
    path = tmp_path / "peaks.bed"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_peaks(path)


def test_peaks_are_sorted_by_midpoint_and_told():
    peaks = parse_peak_names(["2:500-900", "1:500-700", "1:100-900", "GL1:5-9"], "x")
    placed = place_peaks(peaks, CHROMS, "x")
    # Midpoints on chr1: 600 and 500.
    assert [placed.peaks.name(row) for row in range(3)] == ["chr1:100-900", "chr1:500-700", "chr2:500-900"]
    assert placed.peaks.source.tolist() == [2, 1, 0]
    assert placed.peaks.window_start.tolist() == [500 - 514, 600 - 514, 700 - 514]
    told = " | ".join(placed.notes)
    assert "1 of 4 peaks are left out" in told and "(GL1)" in told
    assert "not in genomic order" in told and "1 of 3 peaks overlap" in told


def test_a_peak_beyond_the_end_and_a_heap_of_overlaps_are_refused():
    with pytest.raises(InputError, match="chr2:399900-400001 lies beyond the end of its chromosome"):
        place_peaks(parse_peak_names(["chr1:5-9", "chr2:399900-400001"], "x"), CHROMS, "x")
    names = [f"chr1:{100 + i}-{900 + i}" for i in range(9)]
    with pytest.raises(InputError, match="8 of 9 peaks overlap"):
        place_peaks(parse_peak_names(names, "x"), CHROMS, "x")


def test_enrichment_is_the_ratio_of_signal_near_and_far_worked_by_hand():
    # One start at 100,000, twenty times: 1 count per base within 500 bp, 0.25 in the whole of 5 to 45 kb away.
    peaks = place_peaks(
        parse_peak_names(["chr1:99500-100501", "chr1:55000-95000", "chr1:105000-145000"], "x"), CHROMS, "x"
    ).peaks
    weight = 1.0 * (peaks.end - peaks.start) * np.where(peaks.end - peaks.start > 2000, 0.25, 1.0)
    tss, chrom = np.full(20, 100_000), np.zeros(20, dtype=np.int64)
    assert tss_enrichment(peaks, weight, chrom, tss) == pytest.approx(4.0)
    assert tss_enrichment(peaks, weight, chrom[:5], tss[:5]) is None
    with pytest.raises(InputError, match="only 0.00 times as accessible"):
        check_assembly(peaks, weight, chrom, tss + 2_000, 2.0, "x")


def test_enrichment_agrees_with_counting_bases():
    rng = np.random.default_rng(3)
    at = np.sort(rng.choice(390, 60, replace=False)) * 1000
    names = [
        f"{'chr1' if i % 2 else 'chr2'}:{s}-{s + int(rng.integers(100, 900))}"
        for i, s in enumerate(at.tolist())
    ]
    peaks = place_peaks(parse_peak_names(names, "x"), CHROMS, "x").peaks
    weight = rng.random(len(peaks))
    chrom, tss = rng.integers(0, 2, 31), rng.integers(50_000, 350_000, 31)
    base = np.zeros((2, 500_000))
    for c, s, e, w in zip(peaks.chrom, peaks.start, peaks.end, weight, strict=True):
        base[c, s:e] += w / (e - s)
    near = np.mean([base[c, t - 500 : t + 501].mean() for c, t in zip(chrom, tss, strict=True)])
    far = [
        np.r_[base[c, t - 45_000 : t - 5_000], base[c, t + 5_000 : t + 45_000]].mean()
        for c, t in zip(chrom, tss, strict=True)
    ]
    assert tss_enrichment(peaks, weight, chrom, tss) == pytest.approx(near / np.mean(far))
