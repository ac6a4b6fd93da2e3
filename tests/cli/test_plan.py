"""`cisoform plan`: figures as text and JSON, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cisoform.cli.plan import count_text, flops_text, long_time
from cisoform.jobs.plan import recipe_names
from cisoform.models.creformer import CREformer
from cisoform.models.isoformer import IsoFormer
from cisoform.recipes import isoform_recipe
from cisoform.recipes_regulation import creformer_config

Cli = Callable[..., Any]


def planned(cli: Cli, *words: object) -> dict[str, Any]:
    result = cli("plan", *words, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_released_model(cli: Cli) -> None:
    found = planned(cli, "creformer-paper", "--device", "a100")
    assert found["parameters"]["total"] == pytest.approx(3.046e9, rel=5e-4)
    assert found["flops"]["peak_all_tokens"] == pytest.approx(2.12e12, rel=0.01)
    assert found["flops"]["gene_all_tokens"] == pytest.approx(93e12, rel=0.01)
    assert found["memory"]["fp32"]["inference"]["weights"] == 4 * found["parameters"]["total"]
    assert found["memory"]["bf16"]["inference"]["weights"] == 2 * found["parameters"]["total"]
    assert found["memory"]["fits"] == {"inference": True, "pretraining": False, "fit": False}
    assert found["disk"]["feature_cache_per_state"]["pooled"]["fp16"] == 4096
    times = {row["what"]: row for row in found["time"]}
    # Reference, section 4: 3.45e20 FLOP for 55.7 Gbp, 32 A100-days at 40 %.
    first = times["pre-training"]
    assert first["amount"] == 34 * 50_000 * 32_768 and first["flops"] == pytest.approx(3.45e20, rel=0.01)
    assert first["seconds"] / 86_400 == pytest.approx(32, rel=0.02)
    assert times["fitting, features cached"]["seconds"] / 86_400 == pytest.approx(14, rel=0.02)


def test_every_recipe_has_a_plan_and_its_own_parameters(cli: Cli) -> None:
    assert "creformer-paper" in recipe_names() and "isoformer-paper" in recipe_names()
    for name in ("tiny", "xs"):
        with torch.device("meta"):
            model = CREformer(creformer_config(name))
        expected = sum(value.numel() for value in model.parameters())
        assert planned(cli, f"creformer-{name}")["parameters"]["total"] == expected
    for name in ("tiny", "small"):
        config = isoform_recipe(name).model
        found = planned(cli, f"isoformer-{name}", "--outputs", config.tissues)
        expected = sum(value.numel() for value in IsoFormer(config).parameters())
        assert found["parameters"]["total"] == expected and found["flops"]["sample"] > 0
        training = found["memory"]["fp32"]["training"]
        assert training["optimiser"] == 8 * expected and training["activations"] > 0


def test_text_names_what_it_assumes(cli: Cli) -> None:
    text = cli("plan", "creformer-base", "--device", "h100", "--bases", "5e9", "--samples", "1e6").stdout
    for words in (
        "21.7 M parameters",
        "bin encoder",
        "forward, a gene of 44 peaks",
        "one NVIDIA H100",
        "at 40%",
    ):
        assert words in text, words
    assert "pre-training                        5 B bp" in text and "assumptions\n" in text
    text = cli("plan", "isoformer-tiny").stdout
    assert "rna encoder" in text and "a sample" in text and "30 outputs" in text
    said = "training rows that kernel regression keeps are not counted"
    assert said not in text and said in cli("plan", "isoformer-yeast-best").stdout
    assert "does not fit into 80 GB in bf16: pretraining, fit" in cli("plan", "creformer-paper").stdout


def test_amounts_and_throughput_scale_what_they_should(cli: Cli) -> None:
    def seconds(*words: object) -> list[float]:
        return [row["seconds"] for row in planned(cli, "creformer-small", *words)["time"]]

    usual = seconds("--device", "1e12", "--bases", "1e9", "--samples", "1e6")
    fast = seconds("--device", "2e12", "--bases", "1e9", "--samples", "1e6")
    assert fast == pytest.approx([value / 2 for value in usual])
    more = seconds("--device", "1e12", "--bases", "3e9", "--samples", "7e6")
    assert more == pytest.approx([3 * usual[0], 7 * usual[1], 7 * usual[2], *usual[3:]])
    half = planned(cli, "creformer-small", "--device", "a100", "--utilisation", "0.2")["speed"]
    assert half["sustained"] == pytest.approx(0.2 * 3.12e14)
    disk = planned(
        cli, "creformer-small", "--biosamples", "2", "--tracks", "3", "--windows", "5", "--window", "256"
    )
    assert disk["disk"]["regions"] == {"tokens": 7680, "bin means": 240, "total": 7920}
    few, many = (planned(cli, "creformer-small", "--peaks", n)["flops"]["gene"] for n in (10, 100))
    assert many == pytest.approx(10 * few, rel=0.01)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["creformer-papr"], "recipe 'creformer-papr' is unknown; did you mean 'creformer-paper'?"),
        (["zzz"], "recipe 'zzz' is unknown; there are creformer-tiny"),
        (["creformer-xs", "--device", "h10"], "--device 'h10' is unknown; did you mean 'h100'?"),
        (["creformer-xs", "--device", "quantum"], "--device 'quantum' is unknown; give one of cpu, a10"),
        (["creformer-xs", "--device", "0"], "--device 0: a throughput must be a number of FLOP/s above 0"),
        (["creformer-xs", "--device", "nan"], "--device nan: a throughput must be"),
        (["creformer-xs", "--utilisation", "1.5"], "--utilisation 1.5: must be above 0 and at most 1"),
        (["creformer-xs", "--peaks", "0"], "--peaks 0: must be at least 1"),
        (["creformer-xs", "--peaks", "151"], "--peaks 151: recipe 'creformer-xs' reads at most 150"),
        (["creformer-xs", "--bases", "-5e9"], "--bases -5e+09: must be at least 1"),
        (["creformer-xs", "--samples", "inf"], "--samples inf: must be at least 1"),
        (["creformer-xs", "--samples", "many"], "got 'many'"),
        (["creformer-xs", "--tracks", "-1"], "--tracks -1: must be at least 1"),
        (["creformer-xs", "--windows", "0"], "--windows 0: must be at least 1"),
        (["creformer-xs", "--window", "1000"], "--window 1000: must be a multiple of 128"),
        (["creformer-xs", "--outputs", "30"], "--outputs has no effect on creformer-xs; leave it out"),
        (["isoformer-tiny", "--bases", "1e9"], "--bases has no effect on isoformer-tiny; leave it out"),
        (["isoformer-tiny", "--outputs", "0"], "--outputs 0: must be at least 1"),
    ],
)
def test_mistakes_are_one_line(cli_error: Callable[..., str], words: list[str], line: str) -> None:
    assert line in cli_error("plan", *words)


def test_numbers_for_people() -> None:
    assert [count_text(n) for n in (7, 999, 1000, 23_403_713, 3.0452e9)] == [
        "7",
        "999",
        "1 k",
        "23.4 M",
        "3.05 B",
    ]
    assert [flops_text(n) for n in (12, 1.43e9, 3.46e20, 5e25)] == [
        "12 FLOP",
        "1.43 GFLOP",
        "346 EFLOP",
        "5e+04 ZFLOP",
    ]
    assert [long_time(n) for n in (0.0216, 30, 7200, 40 * 86_400, 3e9)] == [
        "21.6 ms",
        "30 s",
        "2.0 h",
        "40 days",
        "95.1 years",
    ]
