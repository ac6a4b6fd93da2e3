"""Variants of a simulated genome against the planted answer: sign and rank of what each does to each gene.

    python benchmarks/variant_truth.py RUN DATASET SIMULATION [--split valid] [--elementary PRETRAINED] [--controls 2]
        [--cache DIR] [--json]

The truth is `truth/variants.parquet`: the change of the log rate of every gene in reach, by group; accessibility
follows the rules there. Balanced accuracy of the sign is over pairs of variant and gene in a group whose planted
change is at least 0.05 (no change is wrong), Spearman's rho over these and over all pairs. Beside it: the permuted
null (planted changes of other rows; one guess for all has a balanced accuracy of 0.5), and what random changes in
the same peak do. `score_variants` reads the accessibility as measured; with --elementary also as predicted anew.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from cisoform.cli.regulation_reading import Selection, open_selection
from cisoform.jobs.predicted_accessibility import accessibility_of
from cisoform.jobs.variants import score_variants

NOISE = 0.05
READINGS = {
    "accessibility fixed": "difference",
    "accessibility predicted": "difference_accessibility_predicted",
}


def planted(path: Path) -> pl.DataFrame:
    """Long form: variant, kind, gene_id, group, effect."""
    table = pl.read_parquet(path)
    effects = [name for name in table.columns if name.startswith("effect.")]
    long = table.unpivot(
        effects, index=["variant", "kind", "gene_id"], variable_name="group", value_name="effect"
    )
    return long.with_columns(pl.col("group").str.strip_prefix("effect."))


def scores(truth: np.ndarray, value: np.ndarray) -> dict[str, float | int]:
    """Agreement of predicted with planted changes."""
    strong = np.abs(truth) >= NOISE
    up, down = strong & (truth > 0), strong & (truth < 0)
    return {
        "pairs": len(truth),
        "pairs_above_noise": int(strong.sum()),
        "raising": int(up.sum()),
        "sign_balanced_accuracy": float(((value[up] > 0).mean() + (value[down] < 0).mean()) / 2),
        "spearman_above_noise": float(spearmanr(truth[strong], value[strong]).statistic),
        "spearman": float(spearmanr(truth, value).statistic),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("simulation", type=Path, nargs="?")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--elementary", type=Path)
    parser.add_argument("--controls", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    if words.simulation is None:
        print("needs a fitted model, its data set and the simulation they are of; see --help")
        return
    begun = time.process_time()
    chosen = Selection(model=words.model, data=words.data, split=words.split, cache=words.cache, device="cpu")
    opened = open_selection(chosen)
    found = score_variants(
        opened.reader,
        opened.grouping,
        opened.genes,
        words.simulation / "variants.vcf",
        genome=words.simulation / "genome.fa",
        expected=None if words.elementary is None else accessibility_of(words.elementary, opened.model),
        n_controls=words.controls,
    )
    truth = planted(words.simulation / "truth" / "variants.parquet")
    table = found.effects.join(truth, on=["variant", "gene_id", "group"], how="inner")
    expected = table["effect"].to_numpy()
    result: dict[str, object] = {}
    for name, column in READINGS.items():
        if column in table.columns:
            value = table[column].to_numpy()
            result[name] = scores(expected, value)
            result[f"{name}, permuted"] = scores(np.random.default_rng(0).permutation(expected), value)
    result["by kind"] = {
        kind: {
            "pairs": part.height,
            "mean_absolute_planted": float(part["effect"].abs().mean()),
            "mean_absolute_predicted": float(part["difference"].abs().mean()),
            **(
                {"mean_absolute_of_random_changes": float(part["control_mean_absolute"].mean())}
                if words.controls
                else {}
            ),
        }
        for (kind,), part in table.group_by("kind", maintain_order=True)
    }
    about = {
        "split": words.split,
        "alleles": found.counts,
        "processor_seconds": time.process_time() - begun,
        **opened.provenance,
    }
    if words.json:
        print(json.dumps({**about, **result}, indent=2))
        return
    for name, row in result.items():
        print(name, row)


if __name__ == "__main__":
    main()
