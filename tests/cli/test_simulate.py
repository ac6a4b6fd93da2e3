from __future__ import annotations

import json

import pytest


def test_simulate_writes_a_folder_and_tells_what_can_be_reached(cli, tmp_path):
    result = cli(
        "simulate",
        tmp_path / "sim",
        "--genes",
        12,
        "--tissues",
        2,
        "--off",
        "codon",
        "--noise",
        0.5,
        "--what",
        "isoform",
        "--json",
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    truth = json.loads((tmp_path / "sim" / "truth.json").read_text())
    assert told["n_genes"] == 12 and told["tissues"] == ["brain", "heart"]
    assert told["ceiling_r2"] == truth["ceiling_r2"]["attainable"]
    assert truth["rules"]["codon"]["acts"] is False and truth["rules"]["uorf"]["acts"] is True
    assert truth["config"]["shares"]["noise"] == 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "huge"], "'huge' is unknown"),
        (["--off", "enhancer"], "'enhancer' is no rule"),
        (["--tissues", "50"], "n_tissues=50"),
        (["--noise", "nan"], "'--noise'"),
    ],
)
def test_a_wrong_flag_is_one_line_and_writes_nothing(cli_error, tmp_path, words, message):
    assert message in cli_error("simulate", tmp_path / "sim", *words)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_and_overwrite_replaces_it(cli, cli_error, tmp_path):
    out, few = tmp_path / "sim", ["--genes", 10, "--what", "isoform"]
    out.mkdir()
    (out / "old.txt").write_text("old")
    assert "already exists" in cli_error("simulate", out, *few)
    assert cli("simulate", out, *few, "--overwrite").exit_code == 0
    assert not (out / "old.txt").exists() and (out / "README.txt").exists()
