"""Train the combined model of element-gene links that comes with the package, and say what it is worth.

    python benchmarks/link_model.py                 # measure, and check that the shipped file comes out the same
    python benchmarks/link_model.py --write         # replace src/cisoform/benchmark/link_model.json

On `training_K562.GRCh38.tsv.gz` of the pack `human_regulation` (under a minute on one core): left-out chromosomes with
the settings given and with settings chosen anew without each chromosome; left-out screens, each treated as a table of
its own (its genes with positives leave the training part), which is the nearest thing to another laboratory or cell
type that one table holds; boosted trees on 8 columns; permuted answers; and what each group of features is worth.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.special import expit

from cisoform.benchmark.link_features import Reference
from cisoform.benchmark.link_metrics import link_scores
from cisoform.benchmark.link_model import FAMILIES, FORMS, LinkModelConfig, Training, features_of, fit_form
from cisoform.benchmark.link_store import FILE, save_link_model
from cisoform.benchmark.link_training import nested_logit, train_links
from cisoform.benchmark.links import baselines, evaluate_links
from cisoform.data.tested_pairs import TestedPairs, read_tested_pairs
from cisoform.genome.pair_table import PairTable

TABLE = "human_regulation/crispri/training_K562.GRCh38.tsv.gz"
SHIPPED = Path(__file__).resolve().parent.parent / "src" / "cisoform" / "benchmark" / FILE
EIGHT = ("DHS.RPM", "H3K27ac.RPM.expandedRegion", "H3K27ac.RPM", "CTCF.RPM", "H3K27me3.RPM", "H3K4me1.RPM")


def find_table() -> Path | None:
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    path = Path(os.environ.get("CISOFORM_PACKS", beside)) / TABLE
    return path if path.is_file() else None


def auprc(pairs: TestedPairs, score: np.ndarray) -> float:
    return link_scores(pairs.truth(), score, pairs.gene_code)["auprc"]


def boosted(pairs: TestedPairs) -> float:
    """Boosted trees on 8 columns, leaving one chromosome out."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    values = np.stack([*(pairs.signals[name] for name in EIGHT), pairs.distance, pairs.ubiquitous], axis=1)
    found = np.empty(len(pairs))
    for name in np.unique(pairs.chrom):
        out = pairs.chrom == name
        trees = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, random_state=0)
        found[out] = trees.fit(values[~out], pairs.truth()[~out]).predict_proba(values[out])[:, 1]
    return auprc(pairs, found)


def left_out_screens(path: Path, pairs: TestedPairs) -> dict[str, dict[str, float]]:
    """AUPRC on each screen by a model of the others; its genes with positives are in neither."""
    screen = np.array(PairTable.read(path, "tested pairs").text("Dataset"))
    found = {}
    for name in np.unique(screen):
        here = screen == name
        tested = pairs.take(here)
        rest = pairs.take(~here & ~np.isin(pairs.gene, pairs.gene[here & pairs.truth()]))
        model, _ = train_links(rest, LinkModelConfig())
        scores = {key: auprc(tested, value) for key, value in baselines(tested).items()}
        positives = int(tested.truth().sum())
        chance = model.predict(tested).chance
        found[str(name)] = {
            "pairs": len(tested),
            "positives": positives,
            **scores,
            "combined": auprc(tested, chance),
        }
    return found


def families(pairs: TestedPairs) -> dict[str, float]:
    """AUPRC on left-out chromosomes by the surroundings used and the signals there are."""
    reference, found = Reference.of(pairs), {}
    for form in FORMS:
        training = Training.of(pairs, reference, form)
        for family in FAMILIES:
            config = LinkModelConfig(family=family)
            _, logit = fit_form(training, features_of(config, form, ()), config.penalty)
            found[f"{form}, {family}"] = auprc(pairs, logit)
    return found


def permuted(pairs: TestedPairs, draws: int = 5) -> list[float]:
    """AUPRC on left-out chromosomes of models that were trained on permuted answers."""
    training = Training.of(pairs, Reference.of(pairs), "marks")
    config, found = LinkModelConfig(), []
    for seed in range(draws):
        truth = np.random.default_rng(seed).permutation(training.truth)
        dealt = Training(training.raw, truth, training.chrom, training.cell_type)
        _, logit = fit_form(dealt, features_of(config, "marks", ()), config.penalty)
        found.append(link_scores(truth, logit, pairs.gene_code)["auprc"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    words = parser.parse_args()
    path = find_table()
    if path is None:
        print(f"no {TABLE} in $CISOFORM_PACKS or beside the checkout: nothing measured")
        return
    begun = time.perf_counter()
    pairs = read_tested_pairs(path)
    model, chance = train_links(pairs, LinkModelConfig())
    with tempfile.TemporaryDirectory() as folder:
        save_link_model(model, folder)
        text = (Path(folder) / FILE).read_text()
    if words.write:
        SHIPPED.write_text(text)
    nested, chosen = nested_logit(Training.of(pairs, Reference.of(pairs), "marks"), "marks", ())
    scored = evaluate_links({"combined": chance, "nested": expit(nested)}, pairs)
    rows = {**scored["baselines"], **scored["predictors"]}
    result = {
        "table_sha256": pairs.sha256,
        "seconds": 0.0,
        "left_out_chromosomes": {
            name: {
                "auprc": row["auprc"],
                "interval": row["intervals"]["auprc"],
                "within_150kb": row["within_150kb"]["auprc"],
                "auroc": row["auroc"],
                "precision_at_70_recall": row["precision_at_70_recall"],
                "mrr": row["mrr"],
            }
            for name, row in rows.items()
        },
        "minus_baselines": scored["predictors"]["combined"]["minus_baselines"],
        "boosted_trees_on_8_columns": boosted(pairs),
        "in_sample": model.about["in_sample_auprc"],
        "nested_chose": chosen,
        "left_out_screens": left_out_screens(path, pairs),
        "families": families(pairs),
        "permuted": permuted(pairs),
        "calibration": model.about["left_out_chromosomes"]["marks"]["calibration"],
        "shipped_is_the_same": SHIPPED.is_file() and SHIPPED.read_text() == text,
    }
    result["seconds"] = round(time.perf_counter() - begun, 1)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
