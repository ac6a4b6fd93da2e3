"""The combined model: features by hand, transfer, training, files, and the model that comes with the package."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cisoform.benchmark.link_features import LEVELS, Reference, normalised, ranks, raw_features
from cisoform.benchmark.link_metrics import link_scores
from cisoform.benchmark.link_model import (
    FORMS,
    LinkModel,
    LinkModelConfig,
    Training,
    features_of,
    standardise,
)
from cisoform.benchmark.link_store import FILE, load_link_model, save_link_model
from cisoform.benchmark.link_training import chromosome_folds, nested_logit, predict_fairly, train_links
from cisoform.data.tested_pairs import TestedPairs, read_tested_pairs
from cisoform.errors import InputError
from tests.data.pair_files import some_rows, write_pairs

TRAINING = "human_regulation/crispri/training_K562.GRCh38.tsv.gz"
DHS = "DHS.RPM"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> TestedPairs:
    path = tmp_path_factory.mktemp("pairs") / "t.tsv"
    return read_tested_pairs(write_pairs(path, some_rows(600, seed=5, n_chroms=5)))


@pytest.fixture(scope="module")
def trained(pairs: TestedPairs) -> tuple[LinkModel, np.ndarray]:
    return train_links(pairs, LinkModelConfig())


def test_ranks_put_ties_in_the_middle() -> None:
    found = ranks(np.array([0.0, 1.0, 9.0, np.nan]), np.array([0.0, 0.0, 1.0, 2.0]))
    np.testing.assert_allclose(found[:3], [0.25, 0.625, 1.0])
    assert np.isnan(found[3])


def test_many_elements_are_ranked_among_themselves_and_few_among_those_of_training() -> None:
    quantiles = LEVELS * 10  # the training elements: 0 to 10, even
    many = np.linspace(100, 200, 100_000)
    high = np.array([100.0, 150.0, 200.0])
    place, level = normalised(high, many, quantiles, ranks(high, quantiles))
    np.testing.assert_allclose(place, [0, 0.5, 1], atol=0.01)
    np.testing.assert_allclose(level, [0, 5, 10], atol=0.1)
    # Two elements of 9 and 10: 2 parts ranks 1/4 and 3/4 of their own, 100 parts about 0.9 and 1 of training.
    two = np.array([9.0, 10.0])
    place, _ = normalised(two, two, quantiles, ranks(two, quantiles))
    np.testing.assert_allclose(place, [(2 * 0.25 + 90) / 102, (2 * 0.75 + 100) / 102], atol=0.01)
    none = np.array([np.nan])
    assert normalised(none, none, quantiles, none)[0][0] == 0.5


def test_few_elements_are_placed_by_their_percentile_in_the_genome(tmp_path: Path) -> None:
    rows = [{**row, "DHS.percentile": str(float(row[DHS]) / 100)} for row in some_rows(200, seed=4)]
    table = read_tested_pairs(write_pairs(tmp_path / "t.tsv", rows))
    reference, few = Reference.of(table), np.arange(6)
    deep = replace(table, signals={**table.signals, DHS: table.signals[DHS] * 7})
    raw = raw_features(table.take(few), reference, (DHS,))[f"signal:{DHS}"]
    np.testing.assert_allclose(raw_features(deep.take(few), reference, (DHS,))[f"signal:{DHS}"], raw)
    bare = replace(deep, signals={DHS: deep.signals[DHS]})
    assert (raw_features(bare.take(few), reference, (DHS,))[f"signal:{DHS}"] > raw).all()


def _few(tmp_path: Path) -> TestedPairs:
    """Two elements, three genes with starts at 100,000, 130,000 and 3,000,000."""
    base = {**some_rows(1)[0], "chrom": "chr1", "chrTSS": "chr1", "CellType": "K562", "Regulated": "FALSE"}
    rows = []
    for mid, dhs in ((120_000, "1"), (125_000, "4")):
        for gene, tss in (("A", 100_000), ("B", 130_000), ("C", 3_000_000)):
            place = {"chromStart": str(mid - 100), "chromEnd": str(mid + 100), "startTSS": str(tss)}
            gene_ = {"measuredGeneSymbol": gene, "distanceToTSS": str(abs(mid - tss)), DHS: dhs}
            rows.append({**base, **place, **gene_})
    return read_tested_pairs(write_pairs(tmp_path / "few.tsv", rows))


def test_surroundings_of_a_hand_worked_chromosome(tmp_path: Path) -> None:
    few = _few(tmp_path)
    raw = raw_features(few, Reference.of(few), FORMS["accessibility"])
    # Element 1 (120 kb) to A, B, C. Between it and C lie the start of B and element 2; none to A or B, but element 2
    # (125 kb) lies between it and B (130 kb).
    np.testing.assert_allclose(np.expm1(raw["starts_between"][:3]), [0, 0, 1])
    np.testing.assert_allclose(np.expm1(raw["elements_between"][:3]), [0, 1, 1])
    np.testing.assert_allclose(np.expm1(raw["genes_1mb"][:3]), [2, 2, 1])
    np.testing.assert_allclose(np.expm1(raw["elements_1mb_of_tss"][:3]), [2, 2, 0])
    np.testing.assert_allclose(np.exp(raw["elements_500kb"]), 2)
    # Share of contact: A at 20 kb and B at 10 kb are within 1 Mb, C is not.
    a, b = 20_000**-0.87, 10_000**-0.87
    np.testing.assert_allclose(np.exp(raw["contact_share"][:2]), [a / (a + b), b / (a + b)])
    assert raw["log_distance"][0] == pytest.approx(np.log(20_000))


def test_depth_of_a_cell_type_drops_out(pairs: TestedPairs, trained: tuple[LinkModel, np.ndarray]) -> None:
    many = pairs.take(np.flatnonzero(pairs.cell_type == "K562"))
    deeper = replace(many, signals={name: values * 3 for name, values in many.signals.items()})
    before, after = trained[0].predict(many).chance, trained[0].predict(deeper).chance
    own = np.corrcoef(before, after)[0, 1]
    raw = replace(many, signals={name: values[::-1].copy() for name, values in many.signals.items()})
    assert own > 0.99 > np.corrcoef(before, trained[0].predict(raw).chance)[0, 1]


def test_answers_are_not_looked_at(pairs: TestedPairs, trained: tuple[LinkModel, np.ndarray]) -> None:
    dealt = replace(pairs, regulated=~pairs.truth())
    np.testing.assert_array_equal(trained[0].predict(pairs).chance, trained[0].predict(dealt).chance)
    np.testing.assert_array_equal(
        trained[0].predict(pairs).chance, trained[0].predict(replace(pairs, regulated=None)).chance
    )


def test_unknown_features_count_as_average() -> None:
    raw = {"log_distance": np.array([1.0, np.nan, 5.0])}
    found = standardise(raw, np.array(["a"] * 3), ["log_distance"], np.array([3.0]), np.array([2.0]))
    np.testing.assert_allclose(found[:, 0], [-1, 0, 1])


def test_it_learns_and_held_out_chances_are_worse_than_those_of_training(
    pairs: TestedPairs, trained: tuple[LinkModel, np.ndarray]
) -> None:
    model, chance = trained
    held_out = link_scores(pairs.truth(), chance, pairs.gene_code)["auprc"]
    distance = link_scores(pairs.truth(), -pairs.distance.astype(float), pairs.gene_code)["auprc"]
    assert distance + 0.05 < held_out < model.about["in_sample_auprc"]
    assert list(model.forms) == ["h3k27ac", "accessibility", "distance"]


def test_permuted_answers_teach_nothing(pairs: TestedPairs) -> None:
    found = []
    for seed in range(4):
        dealt = replace(pairs, regulated=np.random.default_rng(seed).permutation(pairs.truth()))
        chance = train_links(dealt, LinkModelConfig())[1]
        found.append(link_scores(dealt.truth(), chance, pairs.gene_code)["auroc"])
    assert abs(np.mean(found) - 0.5) < 0.06


def test_the_table_it_was_trained_on_is_predicted_without_the_chromosome(
    pairs: TestedPairs, trained: tuple[LinkModel, np.ndarray]
) -> None:
    model, held_out = trained
    fair = predict_fairly(model, pairs)
    np.testing.assert_allclose(fair.chance, held_out)
    assert any("trained on this table" in note for note in fair.notes)
    other = replace(pairs, sha256="another")
    np.testing.assert_array_equal(predict_fairly(model, other).chance, model.predict(pairs).chance)


def test_a_cell_type_takes_the_form_it_has_signals_for(
    pairs: TestedPairs, trained: tuple[LinkModel, np.ndarray]
) -> None:
    values = dict(pairs.signals)
    values[DHS] = np.where(pairs.cell_type == "HCT116", np.nan, values[DHS])
    found = trained[0].predict(replace(pairs, signals=values))
    assert found.forms == {"HCT116": "distance", "K562": "h3k27ac"}
    assert any("HCT116: form 'distance'" in note for note in found.notes)
    assert np.isfinite(found.chance).all()


def test_saved_and_loaded_it_says_the_same(
    pairs: TestedPairs, trained: tuple[LinkModel, np.ndarray], tmp_path: Path
) -> None:
    save_link_model(trained[0], tmp_path)
    loaded = load_link_model(tmp_path)
    np.testing.assert_allclose(loaded.predict(pairs).chance, trained[0].predict(pairs).chance, atol=1e-4)
    save_link_model(loaded, tmp_path)
    assert load_link_model(tmp_path / FILE).about == loaded.about


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda value: value.pop("forms"), "is damaged"),
        (lambda value: value.update(version=9), "is of version 9"),
        (lambda value: value.update(format="other"), "is no combined link model"),
        (lambda value: value["forms"]["distance"]["coefficients"].pop(), "finite numbers are needed"),
    ],
)
def test_a_damaged_file_is_refused(
    spoil: object, said: str, trained: tuple[LinkModel, np.ndarray], tmp_path: Path
) -> None:
    save_link_model(trained[0], tmp_path)
    value = json.loads((tmp_path / FILE).read_text())
    spoil(value)  # type: ignore[operator]
    (tmp_path / FILE).write_text(json.dumps(value))
    with pytest.raises(InputError, match=said):
        load_link_model(tmp_path)


def test_further_columns_are_used_and_a_giveaway_is_refused(pairs: TestedPairs) -> None:
    rng = np.random.default_rng(0)
    truth = pairs.truth()
    good = replace(pairs, columns={"score": truth + rng.normal(size=len(truth))})
    model, chance = train_links(good, LinkModelConfig(), ["score"])
    plain = train_links(pairs, LinkModelConfig())[1]
    with_, without = (link_scores(truth, value, pairs.gene_code)["auprc"] for value in (chance, plain))
    assert with_ > without + 0.02
    with pytest.raises(InputError, match="no column 'score', which this model was trained with"):
        model.predict(pairs)
    cheat = replace(pairs, columns={"x": truth * 1.0})
    with pytest.raises(InputError, match="column 'x' alone tells the answers apart"):
        train_links(cheat, LinkModelConfig(), ["x"])
    flat = replace(pairs, columns={"x": np.ones(len(truth))})
    with pytest.raises(InputError, match="holds one value only"):
        train_links(flat, LinkModelConfig(), ["x"])


def test_chromosomes_are_needed(pairs: TestedPairs) -> None:
    with pytest.raises(InputError, match="pairs on 2 chromosomes"):
        train_links(pairs.take(np.isin(pairs.chrom, ["chr1", "chr2"])), LinkModelConfig())
    with pytest.raises(InputError, match="all positive pairs are on chr1"):
        train_links(pairs.take(~pairs.truth() | (pairs.chrom == "chr1")), LinkModelConfig())


def test_folds_keep_chromosomes_whole_and_spread_positives() -> None:
    chrom = np.repeat(["a", "b", "c", "d"], [10, 10, 10, 10])
    truth = np.zeros(40, dtype=bool)
    truth[:6] = truth[10:13] = truth[20:22] = truth[30:31] = True
    fold = chromosome_folds(chrom, truth, 2)
    assert all(len(set(fold[chrom == name])) == 1 for name in "abcd")
    assert sorted(np.bincount(fold, weights=truth).tolist()) == [6, 6]


def test_nested_settings_never_see_the_chromosome(pairs: TestedPairs) -> None:
    training = Training.of(pairs, Reference.of(pairs), "accessibility")
    candidates = (LinkModelConfig(family="pair", penalty=1.0), LinkModelConfig(family="pair", penalty=100.0))
    logit, chosen = nested_logit(training, "accessibility", (), candidates)
    assert sum(row["chromosomes"] for row in chosen) == 5
    out = pairs.chrom == "chr1"
    flipped = replace(training, truth=np.where(out, ~training.truth, training.truth))
    other, _ = nested_logit(flipped, "accessibility", (), candidates)
    np.testing.assert_allclose(other[out], logit[out])
    assert not np.allclose(other[~out], logit[~out])


def test_forms_without_a_signal_do_not_ask_for_it() -> None:
    config = LinkModelConfig()
    assert "ctcf_between" in features_of(config, "marks", ())
    assert "ctcf_between" not in features_of(config, "h3k27ac", ())
    assert not {"log_activity", "activity_10kb"} & set(features_of(config, "distance", ()))
    with pytest.raises(ValueError, match="family 'all'"):
        LinkModelConfig(family="all")


@pytest.mark.pack
def test_the_shipped_model_is_what_training_gives(packs_dir: Path) -> None:
    path = packs_dir / TRAINING
    if not path.is_file():
        pytest.skip(f"no {TRAINING}")
    table = read_tested_pairs(path)
    shipped, (made, chance) = load_link_model(), train_links(table, LinkModelConfig())
    assert shipped.about["table_sha256"] == table.sha256 and list(shipped.forms) == list(FORMS)
    for name, form in shipped.forms.items():
        assert form.features == made.forms[name].features
        np.testing.assert_allclose(form.fit.coefficients, made.forms[name].fit.coefficients, atol=1e-4)
    scores = link_scores(table.truth(), chance, table.gene_code)
    assert scores["auprc"] >= 0.66 and scores["auprc"] == pytest.approx(
        shipped.about["left_out_chromosomes"]["marks"]["auprc"], abs=1e-4
    )
    assert 0.9 < shipped.about["left_out_chromosomes"]["marks"]["calibration"]["slope"] < 1.1
