from __future__ import annotations

import json

import pytest


def test_both_parts_are_written_with_rules_off_and_the_isoform_files_do_not_change(cli, tmp_path):
    few = ["--genes", 12, "--tissues", 2, "--seed", 2]
    assert cli("simulate", tmp_path / "one", *few, "--what", "isoform", "--off", "codon").exit_code == 0
    off = "codon,activation,repression"
    result = cli("simulate", tmp_path / "both", *few, "--cells", 60, "--off", off, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["n_genes"] == 12 and told["regulation"]["summary"]["n_cells"] == 60
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "both" / path.name).read_bytes(), path.name
    planted = json.loads((tmp_path / "both" / "regulation" / "truth.json").read_text())
    assert planted["attainable"] == told["regulation"]["attainable"]
    assert planted["rules"]["activation"] == {"acts": False} and planted["enhancer_gene"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--what", "cells"], "--what 'cells' is unknown"),
        (["--what", "regulation", "--off", "codon"], "'codon' is no rule; choose from activation"),
        (["--what", "isoform", "--off", "driver"], "'driver' is no rule; choose from promoter"),
        (["--what", "regulation", "--genes", "50"], "--genes has no effect with --what regulation"),
        (["--what", "regulation", "--noise", "0.1"], "--noise has no effect with --what regulation"),
        (["--what", "isoform", "--cells", "50"], "--cells has no effect with --what isoform"),
        (["--what", "regulation", "--cells", "7"], "n_cells=7 is out of range"),
        (["--what", "regulation", "--preset", "huge"], "'huge' is unknown"),
        (["--what", "regulation", "--off", "core,core"], "names 'core' twice"),
    ],
)
def test_wrong_words_are_one_line_and_write_nothing(cli_error, tmp_path, words, message):
    assert message in cli_error("simulate", tmp_path / "sim", *words)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_any_work(cli_error, tmp_path, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "mudata" else found(name, *rest)
    )
    message = cli_error("simulate", tmp_path / "sim")
    assert "needs mudata" in message and "--what isoform" in message
    assert list(tmp_path.iterdir()) == []
