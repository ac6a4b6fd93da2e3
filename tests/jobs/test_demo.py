"""The demo with the shortest settings: its page ends with what it scored, and a half that fails says so."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import typer

from cisoform.cli.main import app
from cisoform.errors import InputError
from cisoform.jobs import demo_isoform, demo_locus, demo_regulation, demo_states
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.demo import MARK, run_demo
from cisoform.recipes_regulation import elementary_recipe, regulatory_recipe

torch.set_num_threads(1)
QUICK = replace(
    demo_regulation.SMOKE,
    first_settings=("train.epochs=null", "train.max_steps=2", "train.validate_every=1"),
    second_settings=("train.epochs=2", "train.max_steps=2", "train.validate_every=1"),
    tokens=2048,
)

READ = (
    "Scores of peaks",
    "Links of peaks and genes",
    "Knock-outs of factors",
    "Knock-ins of factors",
    "Network of factors and genes",
    "Master factors and the attention feature",
    "Moving cells to another state",
    "Targets that lead back",
    "Variants",
    "One gene from a text file",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    """Both halves, of which that of isoforms fails when its recipe is looked up."""
    out, said = tmp_path_factory.mktemp("demo") / "out", []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CISOFORM_GOLDEN", raising=False)
        patch.setattr(demo_regulation, "SMOKE", QUICK)
        broken = replace(demo_isoform.SMOKE, simulated_recipe="nonesuch")
        patch.setattr(demo_isoform, "SMOKE", broken)
        summary = run_demo(out, None, smoke=True, device="cpu", say=said.append)
    return out, summary, said


def test_a_failed_half_leaves_the_other_and_a_message(made: tuple[Path, dict[str, Any], list[str]]) -> None:
    out, summary, _ = made
    assert list(summary["failed"]) == ["isoform"] and "'nonesuch'" in summary["failed"]["isoform"]
    text = (out / "report.html").read_text()
    assert "Isoforms: this half failed" in text and "recipe 'nonesuch' is unknown" in text
    assert "cisoform demo --half isoform" in text and "Regulation: What was planted" in text


def test_the_page_ends_with_the_scores_of_both_stages(made: tuple[Path, dict[str, Any], list[str]]) -> None:
    out, summary, said = made
    text = (out / "report.html").read_text()
    titles = re.findall(r'<h2 id="s\d+">([^<]+)</h2>', text)
    first = titles.index("Regulation, readings: At a glance")
    assert titles[first - 1] == "Regulation, stage 2: Sequencing depth"
    words = [title.partition(": ")[2].partition(" (")[0] for title in titles[first + 1 :]]
    assert words == list(READ)
    assert summary["regulation"]["not_read"] == {}
    assert {"Regulation, stage 1: Along a locus", "Regulation, stage 2: Some held-out genes"} <= set(titles)
    first = json.loads((out / "regulation/scores_pretrained/evaluation.json").read_text())
    for part in first["parts"].values():
        for key in ("model", "neighbour", "majority"):
            assert f"{part['hidden']['bases']['accuracy'][key]:.3f}" in text
        for found in part["preserved"]["h3k27ac"].values():
            assert f"{found['pearson_where_mean']['training_mean']:.3f}" in text
    second = json.loads((out / "regulation/scores_fitted/evaluation.json").read_text())
    for part in second["parts"].values():
        for found in part["scores"].values():
            assert f"{found['pearson']:.3f}" in text
    assert any("pre-training" in line for line in said) and any("fitting" in line for line in said)
    assert first["dataset_hash"] in text and second["dataset_hash"] in text
    readings = summary["regulation"]["readings"]
    assert len(readings) == 17 and all(
        f"{value:.3f}" in text for value in readings.values() if value == value
    )
    for step, seconds in summary["regulation"]["seconds"].items():
        assert f"<td>{step}</td><td>{seconds:.1f} s</td>" in text
    figures = re.findall(r'<figure role="img" aria-label="([^"]*)">', text)
    assert len(figures) == text.count("<figure") >= 7 and all(len(words) > 25 for words in figures)


def test_the_ceiling_is_above_every_predictor(made: tuple[Path, dict[str, Any], list[str]]) -> None:
    out, summary, _ = made
    scores = summary["regulation"]["gene_pearson"]
    assert scores["ceiling"] > 0.9 and max(scores, key=lambda name: scores[name]) == "ceiling"
    table = pl.read_csv(out / "regulation/scores_fitted/genes.tsv", separator="\t")
    part = table.filter(pl.col("part") == summary["regulation"]["part"])
    assert part["ceiling"].cast(pl.Float64).mean() == pytest.approx(scores["ceiling"], abs=1e-5)


def test_the_commands_of_the_page_can_be_typed(made: tuple[Path, dict[str, Any], list[str]]) -> None:
    out, _, _ = made
    text = (out / "report.html").read_text()
    blocks = re.findall(r"<pre><code>(.*?)</code></pre>", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    assert len(lines) == 23
    for line in lines:
        words = shlex.split(line)
        command: Any = typer.main.get_command(app)
        context = command.make_context(words[0], [], resilient_parsing=True)
        rest = words[1:]
        while hasattr(command, "get_command"):
            name, command, rest = command.resolve_command(context, rest)
            context = command.make_context(name, list(rest), parent=context, resilient_parsing=True)
        parsed = command.make_context(words[-1], list(rest), parent=context.parent)
        assert not parsed.args
    for setting in QUICK.first_settings + QUICK.second_settings:
        assert f"--set {setting}" in text


def test_plans_fit_their_recipes() -> None:
    from cisoform.configs import override

    for plan in (demo_regulation.FULL, demo_regulation.SMOKE):
        override(elementary_recipe(plan.first), plan.first_settings)
        override(regulatory_recipe(plan.second), plan.second_settings)


def test_one_half_alone_and_what_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_regulation, "SMOKE", replace(QUICK, preset="huge"))
    summary = run_demo(tmp_path / "out", None, smoke=True, device="cpu", half="regulation")
    assert "'huge'" in summary["failed"]["regulation"] and "simulated" not in summary
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Regulation: this half failed" in text and "Isoforms" not in text
    with pytest.raises(InputError, match="--half 'tissues'"):
        run_demo(tmp_path / "other", None, half="tissues")
    assert not (tmp_path / "other").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not written by the demo"):
        run_demo(tmp_path / "mine", None)
    assert (tmp_path / "mine" / "thesis.txt").exists() and (tmp_path / "out" / MARK).exists()


def test_an_unexpected_error_still_leaves_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(demo_regulation, "_first_stage", stop)
    with pytest.raises(RuntimeError, match="a bug"):
        run_demo(tmp_path / "out", None, smoke=True, device="cpu", half="regulation")
    assert (tmp_path / "out" / "report.html").exists()


def test_the_command_names_the_half_that_failed(
    cli: Any, cli_error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--half 'tissue'" in cli_error("demo", "--half", "tissue")
    monkeypatch.setattr(demo_regulation, "SMOKE", replace(QUICK, preset="huge"))
    words = ["demo", "--smoke", "--half", "regulation", "--out", tmp_path / "out", "--device", "cpu"]
    text = cli_error(*words)
    assert "the regulation half of the demo failed" in text and "report.html" in text
    result = cli(*words, "--json")
    assert result.exit_code == 2 and "'huge'" in json.loads(result.stdout)["failed"]["regulation"]


def test_a_written_locus_gives_back_what_was_written(made: tuple[Path, dict[str, Any], list[str]]) -> None:
    text = (made[0] / "regulation/readings/locus.txt").read_text().splitlines()
    page = (made[0] / "report.html").read_text()
    assert len(text) % 3 == 0 and len(text[1]) == 1029 and len(text[2].split()) == 1029
    assert f"peaks as text, {len(text) // 3} of them" in page
    assert "was not found, so a gene of the simulation" in page and "CISOFORM_GOLDEN" in page


@pytest.mark.golden
def test_gata1_is_stamped_as_a_demonstration(
    made: tuple[Path, dict[str, Any], list[str]], golden_dir: Path
) -> None:
    path = demo_locus.find_gata1()
    assert path is not None and path.parent == golden_dir
    model = CREformerModel.load(made[0] / "regulation/fitted", "cpu")
    found = demo_locus.read_locus(model, path, 20, "+", "GATA1", 0)
    assert "not biology" in found.warnings[0] and "44 of them" in found.asks
    rows = found.listings[0].rows
    assert demo_locus.GATA1_ENHANCER in [row[0] for row in rows]
    for row in rows:  # closing a peak and reading its ablation are one thing
        assert row[3] == pytest.approx(-float(str(row[5])), abs=1e-5)


def test_place_of_a_factor_with_ties_and_absence() -> None:
    table = pl.DataFrame({"tf": ["A", "B", "C", "D"], "cosine": [0.9, 0.5, 0.5, None]})
    assert demo_states.place_score(table, "A", "cosine") == 1.0
    # B and C share the places 2 and 3: 1 / 2.5
    assert demo_states.place_score(table, "B", "cosine") == pytest.approx(0.4)
    assert demo_states.place_score(table, "D", "cosine") == 0.0
    assert demo_states.place_score(table, "E", "cosine") == 0.0
