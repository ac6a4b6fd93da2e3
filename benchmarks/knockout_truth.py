"""Knock-outs of every factor of a simulated genome against the planted answer, beside simple baselines and a null.

    python benchmarks/knockout_truth.py RUN DATASET SIMULATION [--split valid] [--modes zero around-motif scale=0.5]
        [--motif-p 1e-4 1e-5] [--controls 5] [--shuffled] [--cache DIR] [--json]

The truth is `truth/knockout.parquet`: the change of log1p CP10k when one factor's activity is set to 0, direct
effects alone. Every factor that binds, gene of the split and group counts; a gene without a hit in reach is predicted
to stay as it is. Balanced accuracy of the sign is over planted effects of at least 0.1 (no change is wrong;
`sign_of_changed` leaves those out); Spearman's rho is over all of them at once, over those above 0.1, and within each
factor, averaged. Baselines: the change of accessibility weighted by distance (a gene falls where it loses
accessibility), the mean shift of the model itself (one number a factor and group), and the same knock-out at matched
control peaks. `--shuffled` is the null: the columns of each motif in a random order, so its hits are those of nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from cisoform.analysis.perturbation import SignalEdit
from cisoform.cli.perturb_choice import read_mode
from cisoform.cli.regulation_reading import Opened, Selection, open_selection
from cisoform.genome.motifs import Motif, read_motifs
from cisoform.jobs.chosen_peaks import choose_by_motifs, peaks_of_genes
from cisoform.jobs.perturbation import perturb

NOISE = 0.1
KEYS = ["tf", "gene_id", "group"]
COLUMNS = {
    "model": "difference",
    "lost accessibility": "accessibility_change",
    "mean shift of the model": "mean_shift",
    "matched control peaks": "control_mean",
}


def shuffled(motif: Motif, seed: int) -> Motif:
    """The same columns in another order."""
    return replace(
        motif, probability=np.random.default_rng([seed, motif.width]).permutation(motif.probability)
    )


def effects(
    opened: Opened, motifs: list[Motif], truth: pl.DataFrame, mode: str, p_value: float, controls: int
) -> pl.DataFrame:
    """Every factor's knock-out beside the planted answer; 0 where no hit is in reach."""
    within = peaks_of_genes(opened.reader, opened.genes)
    factor, least, around = read_mode(mode)
    tables = []
    for tf in sorted(set(truth["tf"].to_list())):
        own = [motif for motif in motifs if tf in motif.tfs]
        peaks = choose_by_motifs(opened.reader, {tf: own}, within, p_value)
        edit = SignalEdit(peaks.peaks, factor, least, peaks.near if around else None)
        if len(peaks.peaks):
            found = perturb(opened.reader, opened.grouping, opened.genes, edit, n_controls=controls, seed=0)
            tables.append(found.table.with_columns(tf=pl.lit(tf)))
    names = opened.reader.genes["gene_id"].gather(opened.genes.tolist()).to_list()
    expected = truth.filter(pl.col("gene_id").is_in(names) & pl.col("group").is_in(opened.grouping.labels))
    joined = expected.join(pl.concat(tables).select(*KEYS, *COLUMNS.values()), on=KEYS, how="left")
    return joined.with_columns(pl.col(list(COLUMNS.values())).fill_null(0.0))


def scores(table: pl.DataFrame, column: str) -> dict[str, float | int]:
    """Sign and rank agreement of a column with the planted change."""
    truth, value = table["delta_log1p_cp10k"].to_numpy(), table[column].to_numpy()
    rho = [
        spearmanr(part["delta_log1p_cp10k"], part[column]).statistic
        for part in table.partition_by("tf")
        if part[column].n_unique() > 1 and part["delta_log1p_cp10k"].n_unique() > 1
    ]
    strong = np.abs(truth) >= NOISE
    up, down = strong & (truth > 0), strong & (truth < 0)
    constant = np.unique(value).size < 2
    return {
        "pairs": table.height,
        "pairs_above_noise": int(strong.sum()),
        "sign_balanced_accuracy": float(((value[up] > 0).mean() + (value[down] < 0).mean()) / 2),
        "changed_above_noise": int((value[strong] != 0).sum()),
        "sign_of_changed": balanced(truth[strong & (value != 0)], value[strong & (value != 0)]),
        "spearman": 0.0 if constant else float(spearmanr(truth, value).statistic),
        "spearman_above_noise": 0.0 if constant else float(spearmanr(truth[strong], value[strong]).statistic),
        "spearman_within_factor": float(np.mean(rho)) if rho else 0.0,
    }


def intervals(table: pl.DataFrame, column: str, draws: int = 300) -> dict[str, list[float]]:
    """95 % bootstrap intervals over genes, of effects above noise."""
    strong = table.filter(pl.col("delta_log1p_cp10k").abs() >= NOISE)
    truth, value = strong["delta_log1p_cp10k"].to_numpy(), strong[column].to_numpy()
    rows = [
        np.flatnonzero((strong["gene_id"] == gene).to_numpy()) for gene in strong["gene_id"].unique().sort()
    ]
    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        drawn = np.concatenate([rows[one] for one in rng.integers(0, len(rows), len(rows))])
        rho = spearmanr(truth[drawn], value[drawn]).statistic if np.unique(value[drawn]).size > 1 else 0.0
        found.append((balanced(truth[drawn], value[drawn]), rho))
    low, high = np.nanpercentile(np.array(found), [2.5, 97.5], axis=0)
    names = ("sign_interval", "spearman_above_noise_interval")
    return {name: [float(low[row]), float(high[row])] for row, name in enumerate(names)}


def balanced(truth: np.ndarray, value: np.ndarray) -> float:
    """Balanced accuracy of the sign; NaN where one sign is missing."""
    up, down = truth > 0, truth < 0
    return (
        float(((value[up] > 0).mean() + (value[down] < 0).mean()) / 2) if up.any() and down.any() else np.nan
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("simulation", type=Path, nargs="?")
    parser.add_argument("--modes", nargs="+", default=["zero"])
    parser.add_argument("--motif-p", nargs="+", type=float, default=[1e-4])
    parser.add_argument("--split", default="valid")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--controls", type=int, default=0)
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    if words.simulation is None:
        print("needs a fitted model, its data set and the simulation they are of; see --help")
        return
    begun = time.process_time()
    chosen = Selection(model=words.model, data=words.data, split=words.split, cache=words.cache, device="cpu")
    opened = open_selection(chosen)
    truth = pl.read_parquet(words.simulation / "truth" / "knockout.parquet")
    motifs = read_motifs(words.simulation / "motifs.meme")
    if words.shuffled:
        motifs = [shuffled(motif, number) for number, motif in enumerate(motifs)]
    rows = []
    for mode in words.modes:
        for p_value in words.motif_p:
            table = effects(opened, motifs, truth, mode, p_value, words.controls)
            for name, column in COLUMNS.items():
                if words.controls or column != "control_mean":
                    rows.append(
                        {
                            **{"mode": mode, "motif_p": p_value, "by": name},
                            **scores(table, column),
                            **intervals(table, column),
                        }
                    )
                    print(rows[-1], file=sys.stderr, flush=True)
    about = {
        "split": words.split,
        "shuffled": words.shuffled,
        "processor_seconds": time.process_time() - begun,
        **opened.provenance,
    }
    if words.json:
        print(json.dumps({**about, "rows": rows}, indent=2))
        return
    for row in rows:
        print("  ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))


if __name__ == "__main__":
    main()
