"""The public IsoFormer checkpoint to our model: sizes from `config.json` and the tensors, every shape from the tensors.

Two things that decide what the model computes stand in no published code and are settled as follows; `about` says so.
The pool window 0..1 is read as shares: all bins. Between two linear layers of the head stands a GELU. What a checkpoint
holds that is of no part is an error that names its prefixes, unless the caller leaves them out by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cisoform.errors import InputError
from cisoform.genome.files import read_json
from cisoform.models.aggregation import CrossAttentionConfig
from cisoform.models.encoders.enformer import EnformerConfig, EnformerNetworkConfig
from cisoform.models.encoders.rotary import Esm2Config, NtV2Config, RotaryConfig
from cisoform.models.encoders.rotary.encoder import ESM_MASK_TOKEN, ESM_TOKENS, NT_MASK_TOKEN, NT_TOKENS
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig
from cisoform.weights import enformer, rotary, trunks
from cisoform.weights.isoformer_parts import PARTNERS, Parts, find_parts, prefixes
from cisoform.weights.public import SCHEME, find_public, read_public_tensors, shape_differences

SECTIONS = {"dna": "enformer_", "rna": "nt_", "protein": "esm_"}
"""What the fields of each encoder begin with in `config.json`."""
_HEADS_FIELD = "num_heads_omics_cross_attention"
_SHOWN = 3


@dataclass(frozen=True)
class IsoformerWeights:
    """A checkpoint in our names.

    Attributes:
        config: The model.
        state: Its weights, float32.
        fields: Of `config.json`.
        about: Source and hash of the file, what each prefix was taken for, what was left out, what was assumed.
    """

    config: IsoFormerConfig
    state: dict[str, Tensor]
    fields: dict[str, Any]
    about: dict[str, Any]


def is_isoformer(fields: Any) -> bool:
    """Whether the fields of a `config.json` are those of an IsoFormer."""
    return isinstance(fields, dict) and _HEADS_FIELD in fields


def read_isoformer(
    source: str | Path, sha256: str | None = None, drop: Sequence[str] = ()
) -> IsoformerWeights:
    """Read the public checkpoint (folder or hf://owner/name).

    Args:
        source: Where it is.
        sha256: What its weights file must hash to; None = anything.
        drop: Prefixes of tensors to leave out.

    Raises:
        InputError: If it is not there, damaged, refused, of another form, or a hash is wrong.
    """
    public = find_public(source)
    fields = read_json(public.config, "config of the checkpoint")
    if not is_isoformer(fields):
        raise InputError(f"{public.config}: has no {_HEADS_FIELD}: not the config.json of an IsoFormer")
    tensors, digest = read_public_tensors(public.weights, sha256)
    unused = [prefix for prefix in drop if not any(name.startswith(prefix) for name in tensors)]
    if unused:
        raise InputError(f"{public.weights}: no tensor begins with {unused[0]!r}, which is to be left out")
    kept = {name: value for name, value in tensors.items() if not name.startswith(tuple(drop))}
    parts = find_parts(trunks.shapes_of(kept))
    if problems := problems_of(parts):
        raise InputError(f"{public.weights}: {'; '.join(problems[:_SHOWN])}; is it the public IsoFormer?")
    state, left_out = _renamed(parts, kept, str(public.weights))
    config, assumed = model_config(fields, parts, trunks.shapes_of(state), public.config)
    state["aggregator.stand_in"] = torch.zeros(state["aggregator.layers.dna.rna.query.weight"].shape[0])
    if wrong := model_differences(trunks.shapes_of(state), config):
        more = f"; {len(wrong) - _SHOWN} more differences" if len(wrong) > _SHOWN else ""
        raise InputError(f"{public.weights}: does not fit {public.config}: {'; '.join(wrong[:_SHOWN])}{more}")
    name = public.source if public.source.startswith(SCHEME) else Path(public.source).resolve().name
    about = {
        "source": name,
        "file": public.weights.name,
        "sha256": digest,
        "prefixes": {**parts.encoders, **{f"dna reads {p}": parts.cross[p] for p in PARTNERS}},
        "head": parts.head,
        "left_out": left_out,
        "dropped": [name for name in tensors if name not in kept],
        "assumed": assumed,
    }
    return IsoformerWeights(config, {n: value.float() for n, value in state.items()}, fields, about)


def problems_of(parts: Parts) -> list[str]:
    """What keeps a checkpoint from being understood, a line each."""
    unknown = [f"{count} tensors under {prefix}" for prefix, count in prefixes(parts.unknown).items()]
    said = [f"of no known part: {', '.join(unknown)} (--drop PREFIX leaves them out)"] if unknown else []
    return [*parts.problems, *said]


def model_differences(shapes: Mapping[str, Sequence[int]], config: IsoFormerConfig) -> list[str]:
    """What keeps tensors of these names and shapes from being the model's, a line each."""
    with torch.device("meta"):
        expected = IsoFormer(config).state_dict()
    return shape_differences(shapes, expected)


def _renamed(parts: Parts, tensors: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], list[str]]:
    """Weights in our names, and the names of tensors that the model does not use."""
    state: dict[str, Tensor] = {}
    left_out: list[str] = []
    for modality in ("dna", *PARTNERS):
        bare = parts.of_encoder(modality, tensors)
        given = {short: tensors[name] for short, name in bare.items()}
        if modality == "dna":
            found, unused = trunks.rename(given, "enformer", where)
        else:
            found, unused = rotary.rename(given, where, False, _head_dim(given))
        heads = {name for name in found if name.startswith(("head.", "heads."))}
        state |= {f"encoders.{modality}.network.{n}": v for n, v in found.items() if n not in heads}
        left_out += [bare[short] for short in unused]
        left_out += [f"{parts.encoders[modality]}{name} (in our names)" for name in sorted(heads)]
    for partner, prefix in parts.cross.items():
        own = f"{prefix}."
        ours = f"aggregator.layers.dna.{partner}."
        state |= {f"{ours}{n[len(own) :]}": v for n, v in tensors.items() if n.startswith(own)}
    for number, prefix in enumerate(parts.head):
        ours = "head" if number == len(parts.head) - 1 else f"before_head.{number}"
        weight = tensors[f"{prefix}.weight"]
        state[f"{ours}.weight"] = weight
        state[f"{ours}.bias"] = tensors.get(f"{prefix}.bias", weight.new_zeros(weight.shape[0]))
    return state, left_out


def _head_dim(tensors: Mapping[str, Tensor]) -> int:
    """Twice as many as rotary frequencies are kept; 2 where none are, as then nothing is compared."""
    kept = [value for name, value in tensors.items() if name.endswith("rotary_embeddings.inv_freq")]
    return 2 * len(kept[0]) if kept else 2


def model_config(
    fields: Mapping[str, Any], parts: Parts, shapes: Mapping[str, Sequence[int]], where: Path
) -> tuple[IsoFormerConfig, list[str]]:
    """The model that `config.json` and the tensors (in our names) describe, and what was assumed.

    Raises:
        InputError: If a field is missing or wrong.
    """
    own = {name: _section(fields, prefix) for name, prefix in SECTIONS.items()}
    shapes_of_dna = _of(shapes, "encoders.dna.network.")
    dna = trunks.network_config("enformer", own["dna"], shapes_of_dna, where)
    assert isinstance(dna, EnformerNetworkConfig)
    dna, assumed = _pooled(dna, fields, where)
    rna = _tokens_config(own["rna"], shapes, "rna", where)
    protein = _tokens_config(own["protein"], shapes, "protein", where)
    layers = tuple(int(shapes[f"before_head.{n}.weight"][0]) for n in range(len(parts.head) - 1))
    if layers:
        assumed.append(f"GELU between the {len(parts.head)} linear layers of the head")
    try:
        heads = enformer.whole(fields, _HEADS_FIELD, 0)
        if heads < 1 or dna.out_dim % heads:
            raise ValueError(f"{_HEADS_FIELD} is {heads}, which does not divide the width {dna.out_dim}")
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    config = IsoFormerConfig(
        tissues=int(shapes["head.weight"][0]),
        dna=EnformerConfig(network=dna, learn="full", batch_norm="frozen"),
        rna=NtV2Config(network=rna, learn="full"),
        protein=Esm2Config(network=protein, learn="full"),
        aggregator=CrossAttentionConfig(heads=heads, aggregate="dna"),
        head_layers=layers,
    )
    return config, assumed


def _pooled(
    network: EnformerNetworkConfig, fields: Mapping[str, Any], where: Path
) -> tuple[EnformerNetworkConfig, list[str]]:
    """The network with the bins that are pooled: a window of them in the middle is the same as a narrower crop."""
    window = (fields.get("pool_window_start", 0), fields.get("pool_window_end", 1))
    if window == (0, 1):
        return network, ["pool window 0..1 means all bins"]
    start, end = window
    if (
        network.bins is not None
        and type(start) is int
        and type(end) is int
        and 0 <= start < end <= network.bins
    ):
        if start == network.bins - end:
            return replace(network, bins=end - start), [f"pool window {start}..{end} counts bins"]
    raise InputError(
        f"{where}: pool_window_start {start!r} and pool_window_end {end!r} are neither 0 and 1 nor a window round the "
        f"middle of {network.bins} bins; no other meaning is known"
    )


def _tokens_config(
    section: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], modality: str, where: Path
) -> RotaryConfig:
    kind: rotary.Kind = "nt_v2" if modality == "rna" else "esm2"
    tokens, mask = (NT_TOKENS, NT_MASK_TOKEN) if modality == "rna" else (ESM_TOKENS, ESM_MASK_TOKEN)
    stated = {
        "model_type": "esm",
        "vocab_size": tokens,
        "pad_token_id": 1,
        "mask_token_id": mask,
        "position_embedding_type": "rotary",
        "token_dropout": modality == "protein",
        "add_bias_fnn": f"encoders.{modality}.network.layers.0.ffn_in.bias" in shapes,
        **section,
    }
    # The released vocabulary of proteins counts a token that is not embedded.
    stated["vocab_size"] = tokens
    return rotary.config_of(stated, where, kind)[1]


def _section(fields: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in fields.items() if name.startswith(prefix)}


def _of(shapes: Mapping[str, Sequence[int]], prefix: str) -> dict[str, Sequence[int]]:
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
