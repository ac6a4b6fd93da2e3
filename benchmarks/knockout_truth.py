"""Knock-outs of every factor of a simulated genome against the planted answer, beside simple baselines.

    python benchmarks/knockout_truth.py RUN DATASET SIMULATION [--modes zero around-motif] [--split test]
        [--cache DIR] [--controls 5] [--json]

The truth is `truth/knockout.parquet`: the change of log1p CP10k when one factor's activity is set to 0, direct effects
alone. Effects above noise are those of at least 0.1. Balanced accuracy of the sign is over these; Spearman's rho is
over all pairs of gene and group with a motif in reach, within each factor and then averaged, and over all of them
at once. Baselines: the change of accessibility weighted by distance (a gene falls where it loses accessibility), the
mean shift of the model itself (one number a factor and group), and the same knock-out by matched control peaks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from cisoform.analysis.perturbation import SignalEdit
from cisoform.cli.regulation_reading import Selection, open_selection
from cisoform.genome.motifs import read_motifs
from cisoform.jobs.chosen_peaks import choose_by_motif, peaks_of_genes
from cisoform.jobs.perturbation import perturb

NOISE = 0.1
MODES = ("zero", "around-motif")


def effects(words: argparse.Namespace) -> pl.DataFrame:
    """Every factor's knock-out, with the planted answer beside it."""
    truth = pl.read_parquet(words.simulation / "truth" / "knockout.parquet")
    motifs = words.simulation / "motifs.meme"
    opened = open_selection(
        Selection(model=words.model, data=words.data, split=words.split, cache=words.cache, device="cpu")
    )
    within = peaks_of_genes(opened.reader, opened.genes)
    known = {motif.tf for motif in read_motifs(motifs)}
    tables = []
    for tf in sorted(set(truth["tf"].to_list()) & known):
        peaks = choose_by_motif(opened.reader, [tf], motifs, within)
        for mode in words.modes:
            edit = SignalEdit(peaks.peaks, bases=peaks.near if mode == "around-motif" else None)
            found = perturb(
                opened.reader, opened.grouping, opened.genes, edit, n_controls=words.controls, seed=0
            )
            tables.append(found.table.with_columns(tf=pl.lit(tf), mode=pl.lit(mode)))
        print(tf, file=sys.stderr)
    return pl.concat(tables).join(truth, on=["tf", "gene_id", "group"], how="inner")


def scores(table: pl.DataFrame, column: str) -> dict[str, float | int]:
    """Sign and rank agreement of a column with the planted change."""
    table = table.drop_nulls(column)
    truth, value = table["delta_log1p_cp10k"].to_numpy(), table[column].to_numpy()
    rho = [
        spearmanr(part["delta_log1p_cp10k"], part[column]).statistic
        for part in table.partition_by("tf")
        if part[column].n_unique() > 1 and part["delta_log1p_cp10k"].n_unique() > 1
    ]
    strong = np.abs(truth) >= NOISE
    up, down = strong & (truth > 0), strong & (truth < 0)
    balanced = ((value[up] > 0).mean() + (value[down] < 0).mean()) / 2
    overall = spearmanr(truth, value).statistic
    return {
        "pairs": table.height,
        "pairs_above_noise": int(strong.sum()),
        "sign_balanced_accuracy": float(balanced),
        "spearman": float(overall),
        "spearman_within_factor": float(np.mean(rho)) if rho else float("nan"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("simulation", type=Path, nargs="?")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["zero"])
    parser.add_argument("--split", default="test")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--controls", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    if words.simulation is None:
        print("needs a fitted model, its data set and the simulation they are of; see --help")
        return
    begun = time.perf_counter()
    table = effects(words)
    columns = {
        "model": "difference",
        "lost accessibility": "accessibility_change",
        "mean shift": "mean_shift",
        "matched control peaks": "control_mean",
    }
    result = {
        mode: {name: scores(table.filter(pl.col("mode") == mode), column) for name, column in columns.items()}
        for mode in words.modes
    }
    if words.json:
        print(json.dumps({"split": words.split, "seconds": time.perf_counter() - begun, **result}, indent=2))
        return
    for mode, rows in result.items():
        for name, row in rows.items():
            shown = "  ".join(f"{key} {value:.3g}" for key, value in row.items())
            print(f"{mode:13s} {name:22s} {shown}")


if __name__ == "__main__":
    main()
