"""Tokens of peaks, one base at a time in Python against arrays; both in one run, ids asserted equal.

The plain way does what the released code does, written anew: 6-mers are spelled letter by letter and looked up in a
dictionary, and each mean of six signal values climbs a ladder of thresholds until it lies below one (measured beside
the released functions on their own example, it takes as long as they do). Ids are in our order; the released one is
another order of the same dictionary. Peaks are generated (bases, and signal in runs: a part zero, the rest over all
levels), or the authors' own with `--locus-text`. Times are of the processor, so that other work does not count.

    python benchmarks/tokens.py [--peaks 44] [--repeats 5] [--locus-text FILE]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.data.locus_text import read_locus_text
from cisoform.genome.sequence import decode_dna
from cisoform.tokens.peaks import DNA_FIRST_KMER, RELEASED_EDGES, K, dna_tokens, signal_tokens

WIDTH = 1029
LIMIT = 50
IDS = {"".join(kmer): DNA_FIRST_KMER + i for i, kmer in enumerate(itertools.product("ACGT", repeat=K))}
Rows = npt.NDArray[Any]


def plain_dna(bases: str) -> list[int]:
    """Spell every 6-mer, join them with spaces, split again, look each up."""
    text = ""
    for start in range(len(bases) - K + 1):
        for offset in range(K):
            text += bases[start + offset]
        text += " "
    return [IDS[kmer] for kmer in text.split()]


def plain_signal(values: list[float]) -> list[int]:
    """Average six values at a time and climb the ladder."""
    levels = []
    for start in range(len(values) - K + 1):
        mean = sum(values[start : start + K]) / K
        level = 1
        if mean != 0:
            level = 2
            for edge in RELEASED_EDGES:
                if mean < edge:
                    break
                level += 1
        levels.append(level)
    return levels


def generated(peaks: int, seed: int) -> tuple[Rows, Rows]:
    """Base codes, and signal in runs of some ten bases: a tenth zero, the rest from 0.0005 to 500."""
    rng = np.random.default_rng(seed)
    signal = np.empty((peaks, WIDTH))
    for row in signal:
        lengths = rng.geometric(0.05, WIDTH)
        heights = np.where(
            rng.random(WIDTH) < 0.1, 0.0, np.exp(rng.uniform(np.log(5e-4), np.log(500), WIDTH))
        )
        row[:] = np.repeat(heights, lengths)[:WIDTH]
    return rng.integers(0, 4, (peaks, WIDTH), dtype=np.uint8), signal


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median over repeats, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peaks", type=int, default=44)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--locus-text", type=Path, help="three lines a peak, in place of generated peaks")
    arguments = parser.parse_args()
    if arguments.locus_text is None:
        codes, signal = generated(arguments.peaks, arguments.seed)
    else:
        locus = read_locus_text(arguments.locus_text)
        codes, signal = locus.dna, np.asarray(locus.signal)
    texts, lists = [decode_dna(row) for row in codes], [row.tolist() for row in signal]
    assert dna_tokens(codes).tolist() == [plain_dna(text) for text in texts]
    assert signal_tokens(signal).tolist() == [plain_signal(values) for values in lists]
    cases: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "6-mers": (lambda: [plain_dna(text) for text in texts], lambda: dna_tokens(codes)),
        "levels": (lambda: [plain_signal(values) for values in lists], lambda: signal_tokens(signal)),
    }
    print(
        f"{len(codes)} peaks of {codes.shape[1]} bases, {len(codes) * (WIDTH - K + 1):,} tokens each, ids equal"
    )
    sums = [0.0, 0.0]
    for name, ways in cases.items():
        times = [seconds(way, arguments.repeats) / len(codes) for way in ways]
        sums = [a + b for a, b in zip(sums, times, strict=True)]
        report(name, *times)
    report("both", *sums)
    one = [
        lambda: plain_dna(texts[0]) and plain_signal(lists[0]),
        lambda: (dna_tokens(codes[0]), signal_tokens(signal[0])),
    ]
    report("both, one peak a call", *(seconds(way, 20 * arguments.repeats) for way in one))
    print(f"limit of both: x{LIMIT}")


def report(name: str, plain: float, ours: float) -> None:
    print(
        f"{name:24s} a base at a time {plain * 1e3:7.3f} ms a peak, arrays {ours * 1e3:7.4f} ms, x{plain / ours:.0f}"
    )


if __name__ == "__main__":
    main()
