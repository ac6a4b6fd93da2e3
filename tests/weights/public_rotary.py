"""Synthetic public checkpoints of ESM-2 and NT-v2: names, extra tensors and `config.json` as in the public repositories.

Names are spelt out here once more, so that the reader's map is checked against something else than itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

DIM, HEADS, LAYERS, FFN = 12, 2, 2, 20


def esm2_config(**changes: Any) -> dict[str, Any]:
    """As facebook/esm2_t6_8M_UR50D, smaller."""
    return {
        "architectures": ["EsmForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout": None,
        "emb_layer_norm_before": False,
        "esmfold_config": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": DIM,
        "initializer_range": 0.02,
        "intermediate_size": FFN,
        "is_folding_model": False,
        "layer_norm_eps": 1e-05,
        "mask_token_id": 32,
        "max_position_embeddings": 1026,
        "model_type": "esm",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 1,
        "position_embedding_type": "rotary",
        "token_dropout": True,
        "torch_dtype": "float32",
        "transformers_version": "4.25.0.dev0",
        "use_cache": True,
        "vocab_list": None,
        "vocab_size": 33,
        **changes,
    }


def nt_config(**changes: Any) -> dict[str, Any]:
    """As InstaDeepAI/nucleotide-transformer-v2-250m-multi-species, smaller."""
    return esm2_config(
        add_bias_fnn=False,
        auto_map={"AutoModelForMaskedLM": "modeling_esm.EsmForMaskedLM"},
        layer_norm_eps=1e-12,
        mask_token_id=2,
        max_position_embeddings=2050,
        tie_word_embeddings=False,
        token_dropout=False,
        vocab_size=4107,
        **changes,
    )


def tensors(config: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under the public names, with those that rotary models never use."""
    gated = config["vocab_size"] == 4107
    dim, ffn, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    draw = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "esm.embeddings.word_embeddings.weight": (vocabulary, dim),
        "esm.embeddings.position_embeddings.weight": (config["max_position_embeddings"], dim),
    }

    def linear(name: str, rows: int, columns: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (rows, columns)
        if bias:
            shapes[f"{name}.bias"] = (rows,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (dim,)

    for number in range(config["num_hidden_layers"]):
        layer = f"esm.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", dim, dim)
        linear(f"{layer}.attention.output.dense", dim, dim)
        linear(f"{layer}.intermediate.dense", 2 * ffn if gated else ffn, dim, bias=not gated)
        linear(f"{layer}.output.dense", dim, ffn, bias=not gated)
        norm(f"{layer}.attention.LayerNorm")
        norm(f"{layer}.LayerNorm")
    norm("esm.encoder.emb_layer_norm_after")
    linear("lm_head.dense", dim, dim)
    norm("lm_head.layer_norm")
    shapes["lm_head.decoder.weight"] = (vocabulary, dim)
    shapes["lm_head.bias"] = (vocabulary,)
    if not gated:
        linear("esm.contact_head.regression", 1, config["num_hidden_layers"] * config["num_attention_heads"])
    found = {name: torch.randn(shape, generator=draw) * 0.3 for name, shape in shapes.items()}
    half = dim // config["num_attention_heads"] // 2
    frequencies = 1.0 / 10_000 ** (torch.arange(0, 2 * half, 2).float() / (2 * half))
    for number in range(config["num_hidden_layers"]):
        name = f"esm.encoder.layer.{number}.attention.self.rotary_embeddings.inv_freq"
        found[name] = frequencies.clone()
    found["esm.embeddings.position_ids"] = torch.arange(config["max_position_embeddings"])[None]
    return found


def write(
    folder: Path, config: dict[str, Any], state: dict[str, Tensor] | None = None, pickled: bool = False
) -> Path:
    """A folder like a public repository."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    state = tensors(config) if state is None else state
    if pickled:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder
