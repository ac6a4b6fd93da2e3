from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cisoform.cli.common import (
    bytes_text,
    duration_text,
    estimate_line,
    print_json,
    print_table,
    progress,
    resolve_device,
    split_list,
)
from cisoform.errors import InputError


@dataclass
class Row:
    name: str
    score: float


def test_json_is_strict_and_knows_our_types(capsys: pytest.CaptureFixture[str]) -> None:
    value = {
        "rows": (Row("a", float("nan")), Row("b", 0.5)),
        "array": np.array([1.5, np.inf]),
        "int": np.int64(7),
        "path": Path("x/y"),
        "set": {"b", "a"},
        1: None,
    }
    print_json(value)
    assert json.loads(capsys.readouterr().out) == {
        "rows": [{"name": "a", "score": None}, {"name": "b", "score": 0.5}],
        "array": [1.5, None],
        "int": 7,
        "path": "x/y",
        "set": ["a", "b"],
        "1": None,
    }
    with pytest.raises(TypeError, match="object has no JSON form"):
        print_json(object())


def test_table_aligns_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "r2"), [("WT", 0.25), ("diamide", float("nan")), ("x", 12)])
    assert capsys.readouterr().out.splitlines() == [
        "name        r2",
        "WT       0.250",
        "diamide      -",
        "x           12",
    ]


def test_lists_of_names() -> None:
    assert split_list(None) is None
    assert split_list("A, B c") == ["A", "B c"]
    with pytest.raises(InputError, match="'A,,B' has an empty item"):
        split_list("A,,B")
    with pytest.raises(InputError, match="names 'A' twice"):
        split_list("A,B,A")


def test_sizes_and_times_in_words() -> None:
    assert [bytes_text(n) for n in (0, 999, 1500, 27_000_000, 2.5e9, 3e12)] == [
        "0 B", "999 B", "1.5 kB", "27 MB", "2.5 GB", "3.0 TB",
    ]  # fmt: skip
    assert [duration_text(s) for s in (0.2, 59, 300, 9000)] == ["1 s", "59 s", "5 min", "2.5 h"]
    assert estimate_line(seconds=300, memory_bytes=1.5e9) == "estimate: about 5 min, 1.5 GB of memory"


def test_the_device_is_named_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert resolve_device("cpu").type == "cpu"
    captured = capsys.readouterr()
    assert captured.err.startswith("device: cpu (") and captured.out == ""
    resolve_device("auto", quiet=True)
    assert capsys.readouterr().err == ""


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("work") as update:
        update(1, 2, "half")
    assert capsys.readouterr() == ("", "")
