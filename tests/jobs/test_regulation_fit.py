"""The second stage from a data set: fitting, resuming, saved form, predictions and the report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cisoform.benchmark import regulatory
from cisoform.benchmark.regulatory import Baselines, accessibility, depth_change
from cisoform.errors import InputError
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.regulation_fit import choose_recipe, fit, monitor_of, prepare
from cisoform.jobs.regulation_predict import (
    EvaluationConfig,
    evaluate,
    predict,
    promoter_alone,
    save_table,
)
from cisoform.models.creformer import rank_positions
from tests.data.gene_sets import build_small, save_creformer

torch.set_num_threads(1)
STEPS = ("train.max_steps=4", "train.epochs=null", "loader.batch_size=24", "train.checkpoint_every=2")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set, a first stage, a run of four steps and the cache."""
    root = tmp_path_factory.mktemp("stage2")
    dataset = build_small(root)
    save_creformer(root / "first")
    run = prepare(dataset, root / "first", choose_recipe("tiny", STEPS), "tiny")
    fit(run, root / "run", cache=root / "cache", device="cpu")
    return root, dataset


def test_frozen_weights_stay_and_the_others_move(made):
    root, _ = made
    before = CREformerModel.load(root / "first").model
    after = CREformerModel.load(root / "run")
    for name, value in before.elementary.state_dict().items():
        torch.testing.assert_close(after.model.elementary.state_dict()[name], value, atol=0, rtol=0)
    assert not torch.equal(after.model.pool.logits.weight, before.pool.logits.weight)
    assert after.about["link"] == "identity" and after.about["features"]["track"] == "atac"
    assert after.about["elementary"]["sha256"] and "log1p" in after.about["expression"]


@pytest.mark.parametrize("more", [[], ["features.tuned_layers=2", "features.lora_rank=4"]])
def test_a_resumed_run_equals_the_uninterrupted_one(made, tmp_path, more):
    root, dataset = made
    recipe = choose_recipe("tiny", [*STEPS, *more])

    def prepared():
        return prepare(dataset, root / "first", recipe, "tiny")

    first = prepared()
    short = replace(first.recipe, train=replace(first.recipe.train, max_minutes=1e-9))
    cut = fit(replace(first, recipe=short), tmp_path / "cut", cache=root / "cache", device="cpu")
    assert cut.reason == "minutes" and cut.step < 4
    fit(prepared(), tmp_path / "cut", cache=root / "cache", resume=True, device="cpu")
    fit(prepared(), tmp_path / "whole", cache=root / "cache", device="cpu")
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("cut", "whole")]
    assert weights[0] == weights[1]


def test_predictions_are_those_of_every_peak_encoded_anew(made):
    root, dataset = made
    model = CREformerModel.load(root / "run")
    genes, groups = dataset.gene_rows("test")[:3], dataset.group_rows("all")[[0, 4, 7]]
    table = predict(model, dataset, groups, genes, cache=root / "cache")
    assert table.columns == ["gene_id", "gene_name", "group", "cell_type", "predicted", "observed"]
    network, index = model.model, dataset.index
    for row in table.sample(4, seed=1).iter_rows(named=True):
        gene = dataset.genes["gene_id"].to_list().index(row["gene_id"])
        group = dataset.groups["name"].to_list().index(row["group"])
        ids = dataset.states(np.array([group]), np.array([gene])).data
        dna = torch.from_numpy(dataset.windows(dataset.state_peaks(ids)))
        from cisoform.tokens.peaks import dna_tokens

        tokens = torch.from_numpy(dna_tokens(dna.numpy()).astype(np.int32))
        with torch.no_grad():
            peaks = network.encode_peaks(tokens, {"atac": torch.from_numpy(dataset.state_tokens(ids))})
            mask = torch.ones(1, len(ids), dtype=torch.bool)
            distance = torch.from_numpy(index.distance(gene).astype(np.float32))[None]
            value = network(peaks[None], mask, distance, torch.tensor([int(index.tss_peak[gene])]))
        assert row["predicted"] == pytest.approx(float(value), abs=1e-4)
        assert row["observed"] == dataset.targets(np.array([group]), np.array([gene]))[0]


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".parquet"])
def test_tables_are_written_whole(made, tmp_path, suffix):
    import polars as pl

    table = pl.DataFrame({"gene_id": ["a"], "predicted": [1.5]})
    path = tmp_path / f"t{suffix}"
    save_table(table, path)
    read = (
        pl.read_parquet(path)
        if suffix == ".parquet"
        else pl.read_csv(path, separator="\t" if suffix == ".tsv" else ",")
    )
    assert read.equals(table) and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_report_has_every_part_and_predictor(made):
    root, dataset = made
    model = CREformerModel.load(root / "run")
    found = evaluate(model, dataset, "test", cache=root / "cache")
    assert len(found["parts"]) == 5 and found["warnings"] == []
    part = found["parts"]["unseen chromosomes, all cell types"]
    assert part["n_groups"] == len(dataset.group_rows("train")) + len(dataset.group_rows("test"))
    predictors = {"model", "promoter_alone", "model_half", "model_double"}
    assert set(part["scores"]) == predictors | {"gene_mean", "window_sum", "ridge", "ridge_delta"}
    assert part["scores"]["gene_mean"]["gene_pearson"] == 0
    assert set(part["depth"]) == {"half", "double"} and part["depth"]["half"]["pearson"] < 1
    low, high = part["scores"]["model"]["gene_pearson_interval"]
    assert low <= part["scores"]["model"]["gene_pearson"] <= high
    short = EvaluationConfig(depth=False, baselines=False, max_groups=2)
    one = evaluate(model, dataset, "train", short, cache=root / "cache")["parts"]["train"]
    assert set(one["scores"]) == {"model", "promoter_alone"} and one["n_groups"] == 2
    assert any("not fitted on this" in text for text in _warned(model, dataset, root))


def _warned(model, dataset, root):
    other = CREformerModel(model.model, model.edges, {**model.about, "dataset_hash": "x"})
    short = EvaluationConfig(depth=False, baselines=False, max_groups=1)
    return evaluate(other, dataset, "valid", short, cache=root / "cache")["warnings"]


def test_quantile_levels_of_both_stages_fit_each_other(made, tmp_path):
    """Level k is the same share of signal in either, though cut elsewhere; of the released edges neither is."""
    root, _ = made
    dataset = build_small(tmp_path, edges="quantile")
    first = CREformerModel.load(root / "first")
    with pytest.raises(InputError, match="other edges than the model's 'atac'.*--edges quantile"):
        prepare(dataset, root / "first", choose_recipe("tiny", STEPS), "tiny")
    own = tuple(float(value) for value in np.geomspace(0.01, 50, 34))
    CREformerModel(first.model, {**first.edges, "atac": own}, first.about).save(tmp_path / "first")
    run = prepare(dataset, tmp_path / "first", choose_recipe("tiny", STEPS), "tiny")
    fit(run, tmp_path / "run", cache=tmp_path / "cache", device="cpu")
    fitted = CREformerModel.load(tmp_path / "run")
    assert fitted.edges == {**first.edges, "atac": dataset.edges} and dataset.edges != own
    genes, groups = dataset.gene_rows("test")[:2], dataset.group_rows("all")[:2]
    assert predict(fitted, dataset, groups, genes, cache=tmp_path / "cache").height == 4


def test_what_the_first_stage_saw_of_the_test_part_is_said(made, tmp_path):
    root, dataset = made
    first, fitted = (CREformerModel.load(root / name) for name in ("first", "run"))
    seen = {"train_chromosomes": ["chr1", "chr3"], "train_samples": ["NK", "T"]}
    CREformerModel(first.model, first.edges, {**first.about, **seen}).save(tmp_path / "first")
    kept = prepare(dataset, tmp_path / "first", choose_recipe("tiny", STEPS), "tiny").about["elementary"]
    assert {key: kept[key] for key in seen} == seen
    CREformerModel(first.model, first.edges, {**first.about, "elementary": kept}).save(tmp_path / "again")
    again = prepare(dataset, tmp_path / "again", choose_recipe("tiny", STEPS), "tiny").about["elementary"]
    assert again["train_chromosomes"] == ["chr1", "chr3"], "a first stage taken from a fitted model keeps it"
    short = EvaluationConfig(depth=False, baselines=False, max_groups=1)
    other = CREformerModel(fitted.model, fitted.edges, {**fitted.about, "elementary": kept})
    warned = evaluate(other, dataset, "test", short, cache=root / "cache")["warnings"]
    assert len(warned) == 2 and "chromosomes that are scored as unseen (chr3)" in warned[0]
    assert "cell types that are scored as unseen (NK)" in warned[1] and "--test-samples" in warned[1]
    assert evaluate(other, dataset, "valid", short, cache=root / "cache")["warnings"] == []


def test_baselines_recover_a_rule_of_accessibility(made):
    _, dataset = made
    genes, groups = dataset.gene_rows("train"), dataset.group_rows("train")
    found = accessibility(dataset, groups, genes)
    group, gene = 1, 2
    state = dataset.states(groups[[group]], genes[[gene]]).data
    signal = dataset.state_signal(state).astype(float)
    distance = np.abs(dataset.index.distance(int(genes[gene])))
    assert found.window[group, gene] == pytest.approx(np.log1p(signal.sum()), rel=1e-5)
    by_hand = [np.sum(np.log1p(signal) * np.exp(-distance / decay)) for decay in (1e3, 5e3, 2e4, 6e4)]
    np.testing.assert_allclose(found.features[group, gene, 1:], by_hand, rtol=1e-5)
    baselines = Baselines.fit(dataset)
    truth = dataset.expression_matrix(groups, genes)
    predicted = baselines.predict(groups, genes)
    np.testing.assert_allclose(predicted["gene_mean"][0], truth.mean(axis=0), rtol=1e-5)
    unseen = baselines.predict(groups, dataset.gene_rows("test"))["gene_mean"]
    assert np.ptp(unseen) == 0 and unseen[0, 0] == pytest.approx(truth.mean(), rel=1e-5)


def test_baselines_of_a_group_do_not_depend_on_its_company(made, monkeypatch):
    """One unseen group alone: what differs from the training groups tells, not from the mean of what is scored."""
    _, dataset = made
    genes, groups = dataset.gene_rows("train"), dataset.group_rows("test")
    baselines = Baselines.fit(dataset)
    together, alone = (baselines.predict(rows, genes) for rows in (groups, groups[:1]))
    for name, values in together.items():
        np.testing.assert_allclose(alone[name][0], values[0], rtol=1e-9)
    assert np.abs(alone["ridge_delta"] - alone["gene_mean"]).max() > 1e-4
    monkeypatch.setattr(regulatory, "FIT_GROUPS", 3)
    few = Baselines.fit(dataset)
    assert len(few.groups) == 3
    np.testing.assert_allclose(few.gene_means[genes], baselines.gene_means[genes], rtol=1e-9)


def test_depth_change_of_equal_predictions_is_nothing():
    values = np.random.default_rng(0).random((5, 4))
    found = depth_change(values, values)
    assert found["mean_absolute_change"] == 0 and found["pearson"] == pytest.approx(1)


def test_the_promoter_alone_is_the_tss_peak(made):
    _, dataset = made
    from cisoform.data.gene_loader import GeneSource

    batch = GeneSource(dataset, dataset.gene_rows("train"), dataset.group_rows("train")).batch(0, 0)
    alone = promoter_alone(batch)
    rows = torch.arange(len(batch))
    assert alone.state.shape == (len(batch), 1) and bool(alone.mask.all())
    assert torch.equal(alone.state[:, 0], batch.state[rows, batch.tss_peak])
    assert torch.equal(alone.distance[:, 0], batch.distance[rows, batch.tss_peak])
    assert int(alone.rank.abs().sum()) == 0 == int(alone.tss_peak.sum())


def test_loader_ranks_are_those_of_the_released_positions(made):
    _, dataset = made
    for gene in range(0, dataset.genes.height, 7):
        count, strand = int(dataset.index.count[gene]), dataset.genes["strand"][gene]
        ids = rank_positions(count, int(dataset.index.tss_peak[gene]), strand, count)
        assert ids.tolist() == dataset.index.rank(gene).tolist()


@pytest.mark.parametrize(
    "settings",
    [
        ["features.tuned_layers=1", "loss.kind=poisson"],
        ["features.tuned_layers=1", "features.lora_rank=3", "train.ema_decay=0.5"],
        ["features.form=pooled", "loss.kind=huber", "features.precision=bf16"],
        ["model.positions=rank", "model.head=flat", "model.max_peaks=20", "loader.drop_atac=0.0"],
    ],
)
def test_every_form_learns_and_reads_itself_again(made, tmp_path, settings):
    root, dataset = made
    run = prepare(dataset, root / "first", choose_recipe("tiny", [*STEPS, *settings]), "tiny")
    fit(run, tmp_path / "run", cache=root / "cache", device="cpu")
    model = CREformerModel.load(tmp_path / "run")
    table = predict(
        model, dataset, dataset.group_rows("test")[:2], dataset.gene_rows("test")[:2], cache=root / "cache"
    )
    assert np.isfinite(table["predicted"].to_numpy()).all()
    first = CREformerModel.load(root / "first").model
    before, after = first.elementary.state_dict(), model.model.elementary.state_dict()
    assert before.keys() == after.keys(), "the saved model is an ordinary one"
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    last = {name for name in before if name.startswith("window_encoder.layers.1.")}
    if "features.lora_rank=3" in settings:
        assert moved == {f"window_encoder.layers.1.{side}_projection.weight" for side in ("in", "out")}
        for name in moved:
            assert torch.linalg.matrix_rank(after[name] - before[name], atol=1e-5) == 3
        assert run.n_parameters < sum(p.numel() for p in model.model.parameters())
    elif "features.tuned_layers=1" in settings:
        assert moved == last | {"window_encoder.norm.weight", "window_encoder.norm.bias"}
    else:
        assert not moved
    if "loss.kind=poisson" in settings:
        assert model.about["link"] == "softplus" and float(table["predicted"].min()) >= 0


def test_weights_are_chosen_across_groups_where_there_are_enough(made):
    root, dataset = made
    run = prepare(dataset, root / "first", choose_recipe("tiny", STEPS), "tiny")
    assert monitor_of(run) == "gene_pearson" and len(run.valid_source.groups) >= 3
    assert set(run.valid_source.genes) == set(dataset.gene_rows("valid"))
    assert not set(run.valid_source.groups) & set(dataset.group_rows("test"))
    few = prepare(dataset, root / "first", choose_recipe("tiny", [*STEPS, "loader.valid_samples=5"]), "tiny")
    assert monitor_of(few) == "loss"


def test_what_does_not_fit_is_refused(made, tmp_path):
    root, dataset = made
    with pytest.raises(InputError, match="no track 'dnase'"):
        prepare(dataset, root / "first", choose_recipe("tiny", ["features.track=dnase"]))
    with pytest.raises(InputError, match="at most 2.*--max-peaks 2"):
        prepare(dataset, root / "first", choose_recipe("tiny", ["model.max_peaks=2"]))
    with pytest.raises(InputError, match="tuned_layers=3"):
        prepare(dataset, root / "first", choose_recipe("tiny", ["features.tuned_layers=3"]))
    with pytest.raises(InputError, match="features.lora_rank=17: a layer of 16 x"):
        prepare(
            dataset,
            root / "first",
            choose_recipe("tiny", ["features.tuned_layers=1", "features.lora_rank=17"]),
        )
    other = CREformerModel.load(root / "first")
    edges = {name: tuple(2 * edge for edge in values) for name, values in other.edges.items()}
    CREformerModel(other.model, edges, other.about).save(tmp_path / "edges")
    with pytest.raises(InputError, match="other edges.*--edges RUN"):
        prepare(dataset, tmp_path / "edges", choose_recipe("tiny"))
