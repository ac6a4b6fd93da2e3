"""`regulation transition` and `targets` through the command line, another model's predictions, one line for mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from cisoform.cli.regulation_states import DEFAULT_NULL, GAINED_NULL, LEVEL, least_line, least_p
from cisoform.cli.regulation_transition import notes_of
from cisoform.data.genes import GenesDataset
from cisoform.genome.sequence import decode_dna
from cisoform.jobs.transition import Screened
from tests.cli.test_regulation_perturb import meme
from tests.data.gene_sets import build_small, save_creformer

Cli = Callable[..., Any]
CliError = Callable[..., str]


def write_predictions(path: Path, dataset: GenesDataset, states: list[str]) -> None:
    """Cells of another model: what is perturbed lies at the target."""
    import anndata

    genes = dataset.genes["gene_name"].to_list()
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(states), len(genes))) * 0.01
    values[[state != "source" for state in states]] += 1.0
    data = anndata.AnnData(values.astype(np.float32))
    data.var_names, data.obs_names = genes, [f"cell{row}" for row in range(len(states))]
    data.obs["state"] = states
    data.write_h5ad(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """44 cells of four types, a model, and motifs that are words of three peaks (and of none)."""
    folder = tmp_path_factory.mktemp("transition")
    dataset = build_small(folder, n_cells=44)
    save_creformer(folder / "model")
    words = [decode_dna(row[500:510]) for row in dataset.windows(np.array([1, 6, 9]))]
    named = [(f"SYM{number}", word) for number, word in enumerate(words, 3)]
    (folder / "motifs.meme").write_text(meme(*named, ("ABSENT", "ACGTACGTACGTACGTACGT")))
    (folder / "absent.meme").write_text(meme(("ABSENT", "ACGTACGTACGTACGTACGT")))
    rows = dataset.groups.select("name", "cell_type").rows()
    split = [f"{name}\t{'few' if at < 9 else kind}" for at, (name, kind) in enumerate(rows)]
    (folder / "labels.tsv").write_text("\n".join(["cell\tsize", *split]) + "\n")
    (folder / "essential.tsv").write_text("tf\tscore\nSYM3\t-1.5\nOTHER\t0\n")
    (folder / "words.tsv").write_text("tf\tscore\nSYM3\thigh\n")
    (folder / "others.tsv").write_text("tf\tscore\nOTHER\t1\n")
    write_predictions(folder / "other.h5ad", dataset, ["source", "source", "target", "target", "perturbed"])
    write_predictions(folder / "half.h5ad", dataset, ["source", "target"])
    return folder


def words(root: Path, command: str, *more: object) -> list[object]:
    base = ["regulation", command, root / "model", "--data", root / "genes", "--cache", root / "cache"]
    quick = ("--cells", 2, "--top-genes", 4, "--null", 200, "--motifs", root / "motifs.meme")
    return [*base, "--device", "cpu", "--group-by", "cell_type", *quick, *more]


def test_a_screen_with_pairs_reversal_and_another_model(
    root: Path, cli: Cli, cli_error: CliError, tmp_path: Path
) -> None:
    ends = ("--source", "B", "--target", "T", "--up", "SYM0", "--down", "SYM1,SYM2")
    line = words(
        root, "transition", *ends, "--pairs", 2, "--compare", root / "other.h5ad", "--out", tmp_path / "o"
    )
    made = cli(*line, "--json")
    assert made.exit_code == 0, made.stderr
    said = json.loads(made.stdout)
    assert said["n_source"] == 11 and said["n_target"] == 11 and said["seed"] == 0 and said["dataset_hash"]
    assert said["kind"] == "knockin" and said["n_null"] == 200 and 4 <= said["n_genes"] <= 7
    table = pl.read_parquet(tmp_path / "o" / "transition.parquet")
    assert set(table.filter(~pl.col("tf").str.contains(r"\+"))["tf"]) == {"SYM3", "SYM4", "SYM5", "ABSENT"}
    assert said["rows"] == table.to_dicts() and said["tables"]["null_rows"]["n_rows"] == 200
    assert said["n_factors"] == 4 and said["least"] == {"p": 1 / 201, "q": 4 / 201}
    assert table.height == 5 and table["cosine"].is_sorted(descending=True)
    assert {"reversal", "genes_up", "knn_gain", "energy_drop", "accessibility_cosine"} <= set(table.columns)
    alone = pl.read_parquet(tmp_path / "o" / "transition.parquet").filter(pl.col("p").is_not_null()).sort("p")
    naive = [
        min(p * alone.height / place for place, p in enumerate(alone["p"], 1) if place > row)
        for row in range(alone.height)
    ]
    np.testing.assert_allclose(alone["q"], np.minimum(naive, 1), rtol=1e-12)
    null = pl.read_parquet(tmp_path / "o" / "null.parquet")["cosine"]
    assert said["null"]["n"] == 200 and said["null"]["mean"] == pytest.approx(null.mean())
    assert said["null"]["low"] < said["null"]["mean"] < said["null"]["high"]
    assert table["p"].is_between(1 / 201, 1).all() and table["cosine"].is_between(-1, 1).all()
    assert pl.read_parquet(tmp_path / "o" / "null.parquet").height == 200
    other = said["compare"][0]
    assert (
        other["model"] == "other.h5ad"
        and other["cosine"] > 0.99
        and other["projection"] == pytest.approx(1, abs=0.1)
    )
    for name in ("arrows.png", "arrows.svg", "ranks.png", "transition.tsv", "compare.tsv"):
        assert (tmp_path / "o" / name).is_file()
    assert "already exists" in cli_error(*line)


def test_a_knock_out_of_one_factor(root: Path, cli: Cli, tmp_path: Path) -> None:
    ends = ("--source", "B,NK", "--target", "T", "--perturbation", "knockout", "--tfs", "SYM4")
    made = cli(*words(root, "transition", *ends, "--out", tmp_path / "o"))
    assert made.exit_code == 0 and "SYM4" in made.stdout and "200 random peak sets" in made.stdout, (
        made.stderr
    )
    assert "p cannot be below 0.0050, nor q of one factor" in made.stdout and "--null lets" not in made.stdout
    assert "2 source ones perturbed (knockout)" in made.stdout and "seed 0" in made.stdout
    again = cli(*words(root, "transition", *ends, "--out", tmp_path / "p"))
    assert again.exit_code == 0
    one, two = (pl.read_parquet(tmp_path / name / "transition.parquet") for name in "op")
    assert one.equals(two) and one.height == 1


def test_nothing_that_moves_away_is_said_to_move_towards() -> None:
    def notes(cosine: float, p: float, drop: float, q: float = 0.01) -> list[str]:
        values = {"cosine": cosine, "p": p, "q": q, "energy_drop": drop, "accessibility_cosine": 0.1}
        table = pl.DataFrame({"tf": ["A"], **{name: [value] for name, value in values.items()}})
        setting: Any = SimpleNamespace(states=SimpleNamespace(space=1))
        null = pl.concat([table] * 9)
        return notes_of(setting, Screened(table, null, np.zeros((1, 1, 1), dtype=np.float32), ("A",)))[:-1]

    assert notes(0.5, 0.01, 0.2) == []
    (away,) = notes(-0.5, 0.01, -0.2)
    assert away == "no factor moves cells towards the target: the highest cosine is -0.500 (A)"
    (over,) = notes(0.5, 0.01, -0.2)
    assert "overshoots" in over
    (tried,) = notes(0.5, 0.01, 0.2, 0.4)
    assert tried == (
        "A is first with p 0.010, but 1 factors were tried: q 0.40; of one factor alone it cannot be below 0.10, "
        "raise --null"
    )


def test_targets_stand_beside_essentiality_and_harm(root: Path, cli: Cli, tmp_path: Path) -> None:
    more = ("--disease", "B", "--normal", "T", "--essentiality", root / "essential.tsv", "--effect-genes", 9)
    made = cli(*words(root, "targets", *more, "--out", tmp_path / "o", "--json"))
    assert made.exit_code == 0, made.stderr
    said = json.loads(made.stdout)
    table = pl.DataFrame(said["rows"])
    np.testing.assert_allclose(table["score"], table["projection"] - table["harm"], atol=1e-9)
    assert (
        table["score"].is_sorted(descending=True)
        and (table["gained"] > 0).all()
        and (table["harm"] >= 0).all()
    )
    assert said["least"]["q"] == said["n_factors"] / 201 and said["n_factors"] == table.height
    values = dict(zip(table["tf"], table["essentiality"], strict=True))
    back = ("--disease", "T", "--normal", "B", "--effect-genes", 9, "--out", tmp_path / "p", "--json")
    lost = cli(*words(root, "targets", *back))
    other = [row["tf"] for row in json.loads(lost.stdout)["rows"]] if lost.exit_code == 0 else []
    assert not set(other) & set(values) and len(other) + len(values) == 4
    assert all(value == (-1.5 if name == "SYM3" else None) for name, value in values.items())
    assert (tmp_path / "o" / "targets.png").is_file() and (tmp_path / "o" / "null.parquet").is_file()


def of(command: str, *more: object) -> Callable[[Path], list[object]]:
    first, second = ("--source", "--target") if command == "transition" else ("--disease", "--normal")
    ends = (first, "B", second, "T") if not {first, second} & set(map(str, more)) else ()
    return lambda root: words(root, command, "--out", root / "out", *ends, *more)


BAD: dict[str, tuple[Callable[[Path], list[object]], list[str]]] = {
    "the same state twice": (
        of("transition", "--source", "B", "--target", "B"),
        ["'B' is both source and target"],
    ),
    "a state that is not in the split": (
        of("transition", "--source", "B", "--target", "T", "--split", "valid"),
        ["'T' (target) is no label of cell_type; there are B"],
    ),
    "one of the same": (
        of("transition", "--source", "B,T", "--target", "T"),
        ["'T' is both source and target"],
    ),
    "an unknown source": (
        of("transition", "--source", "Mona", "--target", "T"),
        ["'Mona' (source) is no label of cell_type", "did you mean Mono"],
    ),
    "an unknown target": (
        of("transition", "--source", "B", "--target", "x"),
        ["'x' (target)", "there are B"],
    ),
    "no such column": (
        of("transition", "--group-by", "donor"),
        ["--group-by 'donor' is no column", "cell_type"],
    ),
    "few cells": (
        of("transition", "--group-by", "size", "--labels", "labels.tsv", "--source", "few", "--target", "T"),
        ["few (source) has 9 cells", "at least 10"],
    ),
    "few random sets": (of("transition", "--null", "20"), ["--null 20", "at least 200"]),
    "an unknown perturbation": (of("transition", "--perturbation", "open"), ["'open' is neither knockin"]),
    "a factor without a motif": (
        of("transition", "--tfs", "SYN3"),
        ["'SYN3' has no motif", "did you mean SYM3"],
    ),
    "a motif that is nowhere": (
        of("transition", "--tfs", "ABSENT", "--motif-p", "1e-9"),
        ["matches any of the", "raise --motif-p"],
    ),
    "a p-value of 1": (of("transition", "--motif-p", "1"), ["--motif-p 1"]),
    "an unknown gene": (of("transition", "--up", "SYN1"), ["--up 'SYN1' is not in", "did you mean"]),
    "a gene left out": (
        of("transition", "--down", "SYM1", "--genes", "SYM0,SYM3,SYM4"),
        ["--down", "not among --genes"],
    ),
    "no motif file": (of("transition", "--motifs", "no.meme"), ["no.meme", "no such file"]),
    "another model without the perturbed": (
        of("transition", "--compare", "half.h5ad"),
        ["half.h5ad", "'perturbed'"],
    ),
    "another model that is none": (
        of("transition", "--compare", "labels.tsv"),
        ["labels.tsv: cannot be read"],
    ),
    "a missing model": (of("transition", "--compare", "no.h5ad"), ["no.h5ad", "no such file"]),
    "the same disease": (of("targets", "--disease", "T", "--normal", "T"), ["'T' is both"]),
    "an unknown normal": (of("targets", "--disease", "T", "--normal", "Q"), ["'Q' (target)"]),
    "essentiality in words": (of("targets", "--essentiality", "words.tsv"), ["words.tsv: line 2", "'high'"]),
    "essentiality of others": (
        of("targets", "--essentiality", "others.tsv"),
        ["others.tsv: names none of the 4"],
    ),
    "no essentiality": (of("targets", "--essentiality", "no.tsv"), ["no.tsv", "no such file"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_line(
    name: str, root: Path, cli_error: CliError, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, needles = BAD[name]
    monkeypatch.chdir(root)
    said = cli_error(*make(root))
    for needle in needles:
        assert needle in said
    assert not (root / "out").exists()


def test_the_random_sets_suffice_for_one_driver_among_many() -> None:
    assert least_p(44, 200) == {"p": 1 / 201, "q": 44 / 201} and least_p(300, 200)["q"] == 1
    assert least_p(50, DEFAULT_NULL)["q"] <= LEVEL and least_p(20, GAINED_NULL)["q"] <= LEVEL
    assert least_line(least_p(44, 200), 44, 200).endswith(
        "among 44 below 0.219; a higher --null lets it fall"
    )
