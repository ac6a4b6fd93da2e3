"""Tables of tested pairs in the columns of the CRISPR benchmark, small and made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

NAMES = (
    "chrom",
    "chromStart",
    "chromEnd",
    "chrTSS",
    "startTSS",
    "measuredGeneSymbol",
    "measuredGeneEnsemblId",
    "CellType",
    "Regulated",
    "distanceToTSS",
    "measuredGeneUbiquitousExpressed",
    "DHS.RPM",
    "H3K27ac.RPM.expandedRegion",
)
EFFECT = "EffectSize"


def some_rows(n: int = 60, seed: int = 0, n_chroms: int = 3) -> list[dict[str, str]]:
    """Pairs of two cell types whose chance of being regulated falls with distance and rises with the signals."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        chrom = f"chr{number % n_chroms + 1}"
        tss = 1_000_000 + 50_000 * (number % 7)
        distance = int(np.exp(rng.uniform(7.5, 13)))
        start = tss + distance - 250
        dhs, ac = np.exp(rng.normal(0, 1, 2)).round(4).tolist()
        logit = -1.2 * (np.log(distance) - 9.5) + np.log(dhs) + np.log(ac)
        regulated = bool(rng.random() < 1 / (1 + np.exp(-logit)))
        values = [chrom, start, start + 500, chrom, tss, f"G{chrom}_{number % 7}", f"ENSG{number % 7:011d}"]
        values += ["K562" if number % 2 else "HCT116", str(regulated).upper(), distance, "FALSE", dhs, ac]
        row = dict(zip(NAMES, map(str, values), strict=True))
        rows.append({**row, EFFECT: str(-0.3 if regulated else 0.01)})
    return rows


def write_pairs(
    path: Path, rows: Sequence[Mapping[str, str]] | None = None, drop: Sequence[str] = ()
) -> Path:
    """A table of rows; columns are those of the first row but the dropped ones."""
    rows = some_rows() if rows is None else rows
    names = [name for name in rows[0] if name not in drop]
    lines = ["\t".join(names), *("\t".join(row[name] for name in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path
