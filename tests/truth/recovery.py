"""Simulate, build, train and predict as a user would; and what the predictions say about each planted rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars

from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.simulate.config import MODALITY_OF_RULE, RULES, preset
from cisoform.data.simulate.simulation import simulate
from cisoform.data.simulate.write import write_simulation
from cisoform.jobs.isoform_model import IsoformModel, predict
from cisoform.jobs.isoform_train import choose_recipe, prepare, train

MODALITIES = ("dna", "rna", "protein")


@dataclass(frozen=True)
class Truth:
    """Test rows of a simulated data set: log1p values, `(rows, tissues)`, and the modalities' true effects."""

    dataset: IsoformDataset
    rows: np.ndarray
    observed: np.ndarray
    noise_free: np.ndarray
    effects: dict[str, np.ndarray]

    def r2(self, predicted: np.ndarray) -> float:
        """Mean over tissues of the R2 against the noisy table."""
        residual = ((self.observed - predicted) ** 2).sum(axis=0)
        total = ((self.observed - self.observed.mean(axis=0)) ** 2).sum(axis=0)
        return float((1 - residual / total).mean())

    def response(self, predicted: np.ndarray) -> dict[str, float]:
        """How much of each modality's true effect the predictions follow: 1 = all of it, 0 = not at all.

        Least squares of the predictions on the effects of all modalities together, over all tissues.
        """
        columns = np.stack([self._centred(self.effects[name]) for name in MODALITIES], axis=1)
        slopes = np.linalg.lstsq(columns, self._centred(predicted), rcond=None)[0]
        return dict(zip(MODALITIES, slopes.tolist(), strict=True))

    @staticmethod
    def _centred(values: np.ndarray) -> np.ndarray:
        return (values - values.mean(axis=0)).reshape(-1)


def make_truth(folder: Path, seed: int, silent: str | None = None) -> Truth:
    """The tiny simulation as a data set; the rules of the modality `silent` do not act.

    The effects are those of the simulation with all rules: the sequences are the same, so the effects of a silent
    modality are what it would have done.
    """
    acting = frozenset(rule for rule in RULES if MODALITY_OF_RULE[rule] != silent)
    config = replace(preset("tiny", seed), n_variants=0)
    simulation = simulate(replace(config, rules=acting))
    would = simulate(config).expression.contributions
    sim = write_simulation(simulation, folder / "sim")
    build_isoform_dataset(
        sim / "genome.fa",
        sim / "annotation.gtf",
        sim / "expression.tsv",
        splits=sim / "splits.tsv",
        out=folder / "data",
    )
    dataset = IsoformDataset.open(folder / "data")
    table = polars.read_parquet(sim / "truth.parquet")
    row_of = {name: row for row, name in enumerate(table["transcript_id"])}
    rows = dataset.rows("test")
    place = np.array([row_of[dataset.samples.transcript_ids[row]] for row in rows])
    effects = {
        name: sum(would[rule] for rule in RULES if MODALITY_OF_RULE[rule] == name)[place]
        for name in MODALITIES
    }
    return Truth(
        dataset,
        rows,
        np.log1p(dataset.expression[rows]),
        table.select([f"noise_free:{tissue}" for tissue in config.tissues]).to_numpy()[place],
        effects,
    )


def train_and_predict(
    truth: Truth, out: Path, without: str | None = None, upstream_only: bool = False
) -> np.ndarray:
    """Predictions of the recipe `tiny` for the test rows.

    The model never sees the modality `without`; with `upstream_only` its DNA ends before the first transcribed base.
    """
    recipe = choose_recipe("tiny")
    if without is not None:
        shown = tuple(name for name in MODALITIES if name != without)
        recipe = replace(
            recipe,
            model=replace(recipe.model, **{without: None}),
            loader=replace(recipe.loader, modalities=shown),
        )
    if upstream_only:
        recipe = replace(recipe, loader=replace(recipe.loader, dna_window=256, dna_upstream=256))
    train(prepare(truth.dataset, recipe, "tiny"), out, device="cpu")
    return predict([IsoformModel.load(out)], truth.dataset.samples, truth.rows)[0]
