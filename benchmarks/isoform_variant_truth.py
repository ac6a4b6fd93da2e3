"""Variants of a simulated genome against the planted answer: sign of what each does to each transcript in each tissue.

    python benchmarks/isoform_variant_truth.py RUN... --data DATASET --simulation DIR [--out JSON]

The truth is `truth.json` of `cisoform simulate --what isoform`: the change of log1p expression, by transcript and
tissue. Right is a predicted difference of the planted sign; none at all is wrong. Effects count as above noise from
--noise on (0.05, as in `variant_truth.py`); also scored are all effects but 0. Classes are regulatory (promoter), UTR
(uORFs and 3'UTR elements) and codon (synonymous and missense). Beside it: ridge on k-mers, codons and lengths of both
alleles, the model's differences in another order, and for each kind of variant the mean sign of its effects in training
genes, which no user knows. Runs together are one ensemble.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cisoform.benchmark.baselines import BaselineConfig, fit_baselines
from cisoform.benchmark.evaluation import baseline_data, transcript_sequences
from cisoform.benchmark.features import FeatureConfig, sequence_features
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.samples import IsoformSamples
from cisoform.jobs.isoform_expression import Expression, ModelExpression
from cisoform.jobs.isoform_uncertainty import load_models
from cisoform.jobs.isoform_variants import IsoformVariants

CLASSES = {
    "regulatory": ("promoter_snv", "promoter_deletion", "promoter_insertion"),
    "UTR": ("uorf_loss", "uorf_insertion", "utr3_snv", "utr3_deletion", "utr3_insertion"),
    "codon": ("synonymous", "missense"),
}
NOISE = 0.05


@dataclass
class RidgeExpression:
    """Ridge on k-mers, codons and lengths of all inputs, fitted on the data set's training part."""

    dataset: IsoformDataset
    tissues: list[str]
    members: int = 1

    @property
    def reach(self) -> tuple[int, int]:
        config = FeatureConfig()
        return config.dna_up, config.dna_down

    def values(self, samples: IsoformSamples, update: Callable[[int, int], None]) -> np.ndarray:
        """Fits anew for each call; the fit does not depend on the samples."""
        config = BaselineConfig()
        names = [column.name for column in self.dataset.columns]
        index = [names.index(tissue) for tissue in self.tissues]
        labels = np.log1p(np.asarray(self.dataset.expression[:, index], dtype=np.float64))
        level = np.zeros(len(index), dtype=bool)
        none = np.empty(0, dtype=np.int64)
        data = baseline_data(self.dataset.samples, labels, level, self.dataset.split, none, config)
        more = sequence_features(transcript_sequences(samples, np.arange(samples.n)))
        n, extra = len(data.gene), samples.n
        both = replace(
            data,
            features=replace(data.features, values=np.concatenate([data.features.values, more.values])),
            isoform_count=np.concatenate([data.isoform_count, np.zeros(extra, dtype=np.int64)]),
            labels=np.concatenate([data.labels, np.full((extra, len(index)), np.nan)]),
            gene=np.concatenate([data.gene, np.full(extra, data.gene.max() + 1)]),
            train=np.concatenate([data.train, np.zeros(extra, dtype=bool)]),
            valid=np.concatenate([data.valid, np.zeros(extra, dtype=bool)]),
            score=np.arange(n, n + extra),
        )
        (ridge,) = fit_baselines(both, config, ["kmer_ridge"])
        return np.asarray(ridge.predicted, dtype=np.float64)[None]


def planted(simulation: Path) -> pl.DataFrame:
    """Long form of the truth: variant, kind, gene_id, transcript_id, tissue, effect."""
    truth = json.loads((simulation / "truth.json").read_text())
    rows = [
        (variant["id"], variant["kind"], variant["gene_id"], transcript, tissue, effect)
        for variant in truth["variants"]
        for transcript, effects in variant["effects"].items()
        for tissue, effect in zip(truth["tissues"], effects, strict=True)
    ]
    names = ["variant", "kind", "gene_id", "transcript_id", "tissue", "effect"]
    return pl.DataFrame(rows, schema=names, orient="row")


def differences(model: Expression, simulation: Path) -> pl.DataFrame:
    """Long form of what a model says: variant, transcript_id, tissue, difference."""
    files = (simulation / name for name in ("genome.fa", "annotation.gtf", "variants.vcf"))
    work = IsoformVariants.open(model, *files)
    table = pl.concat([part.effects for part in work.parts()])
    columns = [name for name in table.columns if name.startswith("difference.")]
    long = table.unpivot(
        columns, index=["variant", "transcript_id"], variable_name="tissue", value_name="difference"
    )
    return long.with_columns(pl.col("tissue").str.strip_prefix("difference."))


def score(truth: np.ndarray, value: np.ndarray) -> dict[str, float | int]:
    """Share of right signs, and its mean over raising and lowering effects; rank correlation."""
    right = truth * value > 0
    ranks = [pl.Series(values).rank().to_numpy() for values in (truth, value)]
    return {
        "pairs": len(truth),
        "raising": int((truth > 0).sum()),
        "sign": float(right.mean()) if len(truth) else float("nan"),
        "sign_balanced": float(
            np.mean([right[side].mean() for side in (truth > 0, truth < 0) if side.any()])
        ),
        "spearman": float(np.corrcoef(*ranks)[0, 1]) if len(truth) > 2 and value.std() > 0 else float("nan"),
    }


def by_class(table: pl.DataFrame, value: str, noise: float) -> dict[str, Any]:
    """Scores of each class and kind, of effects above noise."""
    strong = table.filter(pl.col("effect").abs() > noise)
    groups = {
        "all": sum(CLASSES.values(), ()),
        **CLASSES,
        **{kind: (kind,) for kind in sum(CLASSES.values(), ())},
    }
    found = {}
    for name, kinds in groups.items():
        part = strong.filter(pl.col("kind").is_in(kinds))
        if part.height:
            found[name] = score(part["effect"].to_numpy(), part[value].to_numpy())
    return found


def measure(runs: list[Path], data: Path, simulation: Path, noise: float = NOISE) -> dict[str, Any]:
    """Scores of the runs as one ensemble, and of what stands beside them."""
    dataset = IsoformDataset.open(data)
    model = ModelExpression(load_models(runs))
    table = planted(simulation)
    split = dict(zip(dataset.samples.gene_ids, dataset.split.tolist(), strict=True))
    table = table.with_columns(split=pl.col("gene_id").replace_strict(split, default=None))
    keys = ["variant", "transcript_id", "tissue"]
    for name, reader in (("model", model), ("ridge", RidgeExpression(dataset, model.tissues))):
        found = differences(reader, simulation).rename({"difference": name})
        table = table.join(found, on=keys, how="left").with_columns(pl.col(name).fill_null(0.0))
    majority = table.filter(split="train").group_by("kind").agg(kind_sign=pl.col("effect").mean().sign())
    table = table.join(majority, on="kind", how="left")
    shuffled = pl.col("model").shuffle(seed=0)
    strong = table.filter(pl.col("effect").abs() > noise).with_columns(permuted=shuffled)
    idle = table.filter(pl.col("effect") == 0, pl.col("model") != 0)["model"].abs()
    unseen = table.filter(pl.col("split") != "train")
    return {
        "runs": [str(run) for run in runs],
        "seeds": [model.about.get("seed") for model in model.models],
        "dataset_hash": model.models[0].about.get("dataset_hash"),
        "noise": noise,
        "where_nothing_is_planted": {f"{q:.0%}": idle.quantile(q) for q in (0.5, 0.95)},
        **{name: by_class(strong, name, noise) for name in ("model", "ridge", "kind_sign", "permuted")},
        "model, genes not trained on": by_class(unseen, "model", noise),
        "ridge, genes not trained on": by_class(unseen, "ridge", noise),
        "model, all effects": by_class(table, "model", 0.0),
        "ridge, all effects": by_class(table, "ridge", 0.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--simulation", type=Path)
    parser.add_argument("--noise", type=float, default=NOISE)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    if not words.runs or words.data is None or words.simulation is None:
        print("needs runs, their data set and the simulation they are of; see --help")
        return
    found = measure(words.runs, words.data, words.simulation, words.noise)
    if words.out is not None:
        words.out.write_text(json.dumps(found, indent=2) + "\n")
    print(f"noise {found['noise']:.3f}; right signs among planted effects above it (balanced), pairs")
    for name, scores in found.items():
        if isinstance(scores, dict) and "all" in scores:
            shown = "  ".join(
                f"{group} {row['sign']:.3f} ({row['sign_balanced']:.3f}) {row['pairs']:,}"
                for group, row in scores.items()
            )
            print(f"{name}: {shown}")


if __name__ == "__main__":
    main()
