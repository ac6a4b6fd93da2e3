"""A synthetic public IsoFormer checkpoint: the documented parts, doubled names and fields, small and drawn.

Prefixes are not documented; these are likely ones, and the tests also use others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.peers.drawn import drawn
from tests.weights.public_rotary import esm2_config, nt_config
from tests.weights.public_rotary import tensors as rotary_tensors
from tests.weights.public_trunks import trunk_config, trunk_tensors

WIDTH, DIM, N_TISSUES, HIDDEN = 96, 12, 30, 20
PREFIXES = {"dna": "enformer_model.", "rna": "nt_model.", "protein": "esm_model."}
ESM_FIELDS = (
    *("attention_probs_dropout_prob", "emb_layer_norm_before", "hidden_dropout_prob", "hidden_size"),
    *("initializer_range", "intermediate_size", "layer_norm_eps", "mask_token_id", "max_position_embeddings"),
    *("num_attention_heads", "num_hidden_layers", "pad_token_id", "position_embedding_type", "token_dropout"),
    *("use_cache", "vocab_size"),
)


def isoformer_config(**changes: Any) -> dict[str, Any]:
    """As the released `config.json`, with its sections and the fields after them."""
    trunk = {
        n: v
        for n, v in trunk_config("enformer").items()
        if n not in ("model_type", "architectures", "torch_dtype")
    }
    nt = nt_config()
    return {
        "architectures": ["Isoformer"],
        "auto_map": {"AutoModelForMaskedLM": "modeling_isoformer.Isoformer"},
        **{f"enformer_{name}": value for name, value in trunk.items()},
        "enformer_output_heads": 0,
        **{f"esm_{name}": esm2_config()[name] for name in ESM_FIELDS},
        "nt_add_bias_fnn": nt["add_bias_fnn"],
        **{f"nt_{name}": nt[name] for name in ESM_FIELDS if name != "use_cache"},
        "num_heads_omics_cross_attention": 8,
        "num_protein_tokens_per_seq": 402,
        "num_tokens_per_seq_nuctf": 2048,
        "num_tokens_per_seq_nuctf_rna": 101,
        "pool_window_end": 1,
        "pool_window_start": 0,
        "torch_dtype": "float32",
        "transformers_version": "4.29.2",
        **changes,
    }


def isoformer_tensors(
    prefixes: dict[str, str] | None = None, head: tuple[int, ...] = (HIDDEN,), tissues: int = N_TISSUES
) -> dict[str, Tensor]:
    """Every tensor under its public name, those of Enformer's trunk twice."""
    prefixes = PREFIXES if prefixes is None else prefixes
    found = {f"{prefixes['dna']}{name}": value for name, value in trunk_tensors("enformer").items()}
    for modality, config in (("rna", nt_config()), ("protein", esm2_config())):
        found |= {f"{prefixes[modality]}{name}": value for name, value in rotary_tensors(config).items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for partner in ("rna", "protein"):
        for kind, width in (("query", WIDTH), ("key", DIM), ("value", DIM), ("dense", WIDTH)):
            layer = f"cross_attention_layer_{partner}.{kind}"
            shapes |= {f"{layer}.weight": (WIDTH, width), f"{layer}.bias": (WIDTH,)}
    widths = (WIDTH, *head, tissues)
    for number, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        shapes |= {
            f"expression_head.{2 * number}.weight": (after, before),
            f"expression_head.{2 * number}.bias": (after,),
        }
    return found | drawn(shapes)


def normalisation_csv(names: list[str]) -> str:
    """A row for each tissue; mean 2 + 0.1 n and deviation 1 + 0.1 n of the n-th."""
    rows = [f"{name},{2 + 0.1 * n},{1 + 0.1 * n}" for n, name in enumerate(names)]
    return "\n".join(["tissue,mean,std", *rows]) + "\n"


def write_isoformer(
    folder: Path,
    config: dict[str, Any] | None = None,
    tensors: dict[str, Tensor] | None = None,
    csv: str | None = None,
) -> Path:
    """A folder like the public repository (a pickle), with the normalisation values of the data set."""
    from cisoform.data.normalisation_values import RELEASED_TISSUES

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(isoformer_config() if config is None else config))
    torch.save(isoformer_tensors() if tensors is None else tensors, folder / "pytorch_model.bin")
    (folder / "normalization_values.csv").write_text(
        normalisation_csv(list(RELEASED_TISSUES)) if csv is None else csv
    )
    return folder
