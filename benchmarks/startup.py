"""Seconds of `import cisoform` and of `cisoform --help`, each in a fresh interpreter; the limits are 0.3 and 0.5."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 9
CASES = {
    "python -c pass": (["-c", "pass"], None),
    "import cisoform": (["-c", "import cisoform"], 0.3),
    "cisoform --help": (["-m", "cisoform.cli.main", "--help"], 0.5),
    "cisoform pack list --help": (["-m", "cisoform.cli.main", "pack", "list", "--help"], 0.5),
    "cisoform isoform build --help": (["-m", "cisoform.cli.main", "isoform", "build", "--help"], 0.5),
}


def seconds(words: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def main() -> None:
    print(f"{'case':32}{'median s':>10}{'min s':>8}{'limit':>8}")
    for name, (words, limit) in CASES.items():
        times = [seconds(words) for _ in range(REPEATS)]
        shown = "-" if limit is None else f"{limit:.1f}"
        print(f"{name:32}{statistics.median(times):10.3f}{min(times):8.3f}{shown:>8}")


if __name__ == "__main__":
    main()
