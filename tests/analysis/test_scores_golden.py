"""Attention scores of the released form against frozen outputs of the authors' code and of its real attention."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from cisoform.analysis.reader import LocusReader
from cisoform.analysis.scores import exact, released, score
from cisoform.data.locus_text import read_locus_text
from cisoform.features.states import FeatureConfig
from cisoform.models.creformer import CREformer
from cisoform.tokens.peaks import RELEASED_EDGES
from cisoform.weights.creformer import convert_released, read_released, read_vocabulary

pytestmark = pytest.mark.golden
torch.set_num_threads(1)


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Tensor]:
    with safe_open(str(golden_dir / "creformer_small.safetensors"), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if "attention" in name}


@pytest.fixture(scope="module")
def model(golden_dir: Path) -> CREformer:
    vocabulary = read_vocabulary(golden_dir / "creformer_vocab.txt")
    return convert_released(read_released(golden_dir / "creformer_small.safetensors"), vocabulary, 4).eval()


def reader(model: CREformer, golden_dir: Path, strand: str = "+") -> LocusReader:
    locus = read_locus_text(golden_dir / "gata1_wild_type.txt.gz")
    return LocusReader(model, "identity", locus, 20, strand, FeatureConfig(), RELEASED_EDGES)


@pytest.mark.parametrize("strand, prefix", [("+", "out"), ("-", "out_other_strand")])
def test_the_published_score_on_both_strands(
    model: CREformer, golden: dict[str, Tensor], golden_dir: Path, strand: str, prefix: str
) -> None:
    found = released(model, reader(model, golden_dir, strand).inputs())
    close(found[0, :44], golden[f"{prefix}.attention_score_published"])
    assert not found[0, 44:].any()


def test_the_attention_of_the_first_layer_by_all_queries(
    model: CREformer, golden: dict[str, Tensor], golden_dir: Path
) -> None:
    inputs = reader(model, golden_dir).inputs()
    close(exact(model, inputs, "all")[0, 0, :44], golden["out.attention_score_first_layer"])
    by_layer = score("exact", model, "identity", inputs, layer=0, queries="all")
    close(by_layer[0, :44], golden["out.attention_score_first_layer"])


def test_the_attention_of_the_forward_pass_in_every_layer(
    model: CREformer, golden: dict[str, Tensor], golden_dir: Path
) -> None:
    inputs = reader(model, golden_dir).inputs()
    close(exact(model, inputs)[:, 0, :44], golden["out.attention_score_exact"])
    mean = score("exact", model, "identity", inputs)
    close(mean[0, :44], golden["out.attention_score_exact"].mean(dim=0))
