"""The released form, rung by rung, against frozen outputs of the authors' code (golden vectors)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from cisoform.data.locus_text import read_locus_text
from cisoform.errors import InputError
from cisoform.models.creformer import CREformer, rank_positions
from cisoform.tokens.peaks import dna_tokens, released_rows, signal_tokens
from cisoform.weights.creformer import convert_released, read_released, read_vocabulary

pytestmark = pytest.mark.golden


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Tensor]:
    with safe_open(str(golden_dir / "creformer_small.safetensors"), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if not name.startswith("weights.")}


@pytest.fixture(scope="module")
def tokens(golden_dir: Path) -> tuple[Tensor, Tensor]:
    locus = read_locus_text(golden_dir / "gata1_wild_type.txt.gz")
    return torch.from_numpy(dna_tokens(locus.dna).astype("int32")), torch.from_numpy(
        signal_tokens(locus.signal)
    )


@pytest.fixture(scope="module", params=["safetensors", "pickles"])
def model(request: pytest.FixtureRequest, golden_dir: Path) -> CREformer:
    source = "creformer_small.safetensors" if request.param == "safetensors" else "creformer_small_pkl"
    vocabulary = read_vocabulary(golden_dir / "creformer_vocab.txt")
    return convert_released(read_released(golden_dir / source), vocabulary, 4)


def test_token_ids_equal_the_released_ones_on_every_peak(
    golden: dict[str, Tensor], tokens: tuple[Tensor, Tensor], golden_dir: Path
) -> None:
    rows = torch.from_numpy(released_rows(read_vocabulary(golden_dir / "creformer_vocab.txt")))
    assert torch.equal(rows[tokens[0].long()], golden["in.dna_tokens"].long())
    assert torch.equal(tokens[1].long(), golden["in.signal_tokens"].long())


@torch.no_grad()
def test_elementary_rung_by_rung(
    model: CREformer, golden: dict[str, Tensor], tokens: tuple[Tensor, Tensor]
) -> None:
    dna, signal = tokens
    tracks = {"atac": signal}
    first = model.elementary.encode_bins(model.elementary.embed(dna, tracks))
    close(first.reshape(44, 8, -1), golden["out.bin_cls"])
    every = model.elementary.encode_bins(model.elementary.embed(dna, tracks), first_only=False)
    close(every[:, 0].reshape(44, 8, -1), golden["out.bin_cls"])
    close(model.elementary(dna, tracks), golden["out.elementary_bins"])
    close(model.encode_peaks(dna, tracks), golden["out.peak_embeddings"])


@torch.no_grad()
@pytest.mark.parametrize("strand, prefix", [("+", "out"), ("-", "out_other_strand")])
def test_regulatory_on_both_strands(
    model: CREformer, golden: dict[str, Tensor], strand: str, prefix: str
) -> None:
    peaks = torch.zeros(1, 150, 32)
    peaks[0, :44] = golden["out.peak_embeddings"]
    mask = torch.arange(150)[None] < 44
    position = rank_positions(44, 20, strand, 150)
    assert torch.equal(position, golden[f"{prefix}.tss_position"])
    hidden = model.regulate(peaks, mask, position[None])
    close(hidden[0], golden[f"{prefix}.regulatory_tokens"])
    close(model.read(hidden, mask, torch.tensor([20])), golden[f"{prefix}.expression"])


@torch.no_grad()
def test_the_weights_that_are_read_are_the_attention_of_the_forward_pass(
    model: CREformer, golden: dict[str, Tensor]
) -> None:
    peaks = torch.zeros(1, 150, 32)
    peaks[0, :44] = golden["out.peak_embeddings"]
    mask = torch.arange(150)[None] < 44
    weights: list[Tensor] = []
    hidden = model.regulate(peaks, mask, rank_positions(44, 20, "+", 150)[None], weights=weights)
    close(hidden[0], golden["out.regulatory_tokens"])
    exact = torch.stack([layer[0].mean(0)[:44].sum(0)[:44] for layer in weights])
    close(exact, golden["out.attention_score_exact"])


def test_the_metadata_agrees_with_the_pickled_heads(golden_dir: Path) -> None:
    with safe_open(str(golden_dir / "creformer_small.safetensors"), "pt") as file:
        heads = json.loads(file.metadata()["heads"])
    assert read_released(golden_dir / "creformer_small_pkl").heads == heads
    vocabulary = read_vocabulary(golden_dir / "creformer_vocab.txt")
    with pytest.raises(InputError, match="has 4 heads, but --heads 8"):
        convert_released(read_released(golden_dir / "creformer_small_pkl"), vocabulary, 8)
    with pytest.raises(InputError, match="give --heads"):
        convert_released(read_released(golden_dir / "creformer_small.safetensors"), vocabulary)
