"""The released CREformer files to our model: eleven pickled modules or one safetensors file.

The pickled modules are read on an allow-list (`restricted_pickle`); the number of heads is in their attributes.
Embedding rows of DNA are permuted once from the released 6-mer order to ours, so a converted model needs no
vocabulary file. The unused template layers (`transformer_N.encoder_layer.*`) are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cisoform.errors import InputError
from cisoform.genome.files import open_text, require_file
from cisoform.models.creformer import CREformer, CREformerConfig, ElementaryConfig
from cisoform.tokens.peaks import DNA_VOCABULARY, SIGNAL_VOCABULARY, released_rows
from cisoform.weights.restricted_pickle import PickledObject, read_plain_pickle, read_torch_pickle, tensors_of

MODULES = (
    "dna_embed",
    "atac_embed",
    "pos1_embed",
    "pos2_embed",
    "tss_embed",
    "pad_embed",
    "transformer_1",
    "transformer_2",
    "transformer_3",
    "atten_pool",
    "feedforward",
)
_TABLES = {
    "dna_embed": "elementary.dna.weight",
    "atac_embed": "elementary.tracks.atac.weight",
    "pos1_embed": "elementary.position_in_bin.weight",
    "pos2_embed": "elementary.position_of_bin.weight",
    "tss_embed": "position.weight",
    "pad_embed": "pad.weight",
}
_STACKS = {
    "transformer_1": "elementary.bin_encoder",
    "transformer_2": "elementary.window_encoder",
    "transformer_3": "peak_encoder",
}
_LAYER = {
    "self_attn.in_proj_weight": "in_projection.weight",
    "self_attn.in_proj_bias": "in_projection.bias",
    "self_attn.out_proj.weight": "out_projection.weight",
    "self_attn.out_proj.bias": "out_projection.bias",
    "linear1.weight": "ffn_in.weight",
    "linear1.bias": "ffn_in.bias",
    "linear2.weight": "ffn_out.weight",
    "linear2.bias": "ffn_out.bias",
    "norm1.weight": "attention_norm.weight",
    "norm1.bias": "attention_norm.bias",
    "norm2.weight": "ffn_norm.weight",
    "norm2.bias": "ffn_norm.bias",
}
_HEAD = {"l1": "head.first", "l2": "head.second"}


@dataclass(frozen=True)
class ReleasedWeights:
    """Tensors by `<module>.<name>`, and the heads of the three transformers where the file says them."""

    tensors: Mapping[str, Tensor]
    heads: int | None
    source: Path


def read_released(source: Path) -> ReleasedWeights:
    """Read a folder of the eleven `.pkl` modules, or a safetensors file with `<module>.<name>` keys.

    Raises:
        InputError: If a module is missing, cannot be read safely, or the transformers disagree about heads.
    """
    if source.is_dir():
        return _read_pickles(source)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    require_file(source, "released weights")
    try:
        tensors = load_file(str(source))
    except SafetensorError as error:
        raise InputError(f"{source}: not a safetensors file or damaged: {error}; download it again") from None
    if any(name.startswith("weights.") for name in tensors):
        tensors = {
            name.removeprefix("weights."): t for name, t in tensors.items() if name.startswith("weights.")
        }
    return ReleasedWeights(tensors, None, source)


def _read_pickles(folder: Path) -> ReleasedWeights:
    missing = [f"{name}.pkl" for name in MODULES if not (folder / f"{name}.pkl").is_file()]
    if missing:
        raise InputError(f"{folder}: lacks {', '.join(missing)}; the release has {len(MODULES)} .pkl files")
    tensors: dict[str, Tensor] = {}
    heads: dict[str, int] = {}
    for name in MODULES:
        module = read_torch_pickle(folder / f"{name}.pkl")
        if not isinstance(module, PickledObject):
            raise InputError(
                f"{folder / name}.pkl: holds a {type(module).__name__}, expected a pickled module"
            )
        tensors |= {f"{name}.{key}": value for key, value in tensors_of(module).items()}
        if name in _STACKS:
            heads[name] = _heads_of(module, folder / f"{name}.pkl")
    if len(set(heads.values())) != 1:
        raise InputError(
            f"{folder}: the transformers disagree about their heads: {heads}; files of two releases?"
        )
    return ReleasedWeights(tensors, next(iter(heads.values())), folder)


def _heads_of(module: PickledObject, path: Path) -> int:
    found: set[int] = set()

    def walk(item: PickledObject) -> None:
        value = item.attributes.get("num_heads")
        if isinstance(value, int):
            found.add(value)
        for child in (item.attributes.get("_modules") or {}).values():
            if isinstance(child, PickledObject):
                walk(child)

    walk(module)
    if len(found) != 1:
        raise InputError(f"{path}: states {sorted(found)} as number of heads; one number was expected")
    return found.pop()


def read_vocabulary(path: Path) -> list[str]:
    """The released 6-mer vocabulary in id order: the authors' `kmer_dict.pkl`, or a text file, one token a line."""
    if path.suffix != ".pkl":
        with open_text(path, "6-mer vocabulary") as handle:
            return [line.strip() for line in handle if line.strip()]
    require_file(path, "6-mer vocabulary")
    import zipfile

    table = read_torch_pickle(path) if zipfile.is_zipfile(path) else read_plain_pickle(path)
    if not isinstance(table, Mapping) or not all(isinstance(v, int) for v in table.values()):
        raise InputError(
            f"{path}: is no dictionary of tokens to ids; give the authors' kmer_dict.pkl or a text list"
        )
    return [str(token) for token, _ in sorted(table.items(), key=lambda item: int(item[1]))]


def convert_released(
    weights: ReleasedWeights, vocabulary: Sequence[str], heads: int | None = None
) -> CREformer:
    """Our model with the released weights: sizes from the shapes, the released choices everywhere.

    Args:
        weights: As `read_released` returns them.
        vocabulary: Released tokens in id order.
        heads: Number of attention heads; needed for safetensors, checked against the pickles.

    Raises:
        InputError: If heads are unknown or contradictory, or a tensor is missing, unknown or misshapen.
    """
    if weights.heads is None and heads is None:
        raise InputError(f"{weights.source}: safetensors do not hold the number of heads; give --heads")
    if weights.heads is not None and heads is not None and weights.heads != heads:
        raise InputError(f"{weights.source}: has {weights.heads} heads, but --heads {heads} was given")
    state = _rename(weights)
    rows = released_rows(vocabulary, "vocabulary")
    model = CREformer(_config_of(state, weights.heads or heads or 0, weights.source))
    state["elementary.dna.weight"] = state["elementary.dna.weight"][torch.from_numpy(rows)]
    expected = model.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is not part of the model" for name in state if name not in expected]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(
            f"{weights.source}: {'; '.join(problems[:5])}{more}; is this the released CREformer?"
        )
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model.eval()


def _rename(weights: ReleasedWeights) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, tensor in weights.tensors.items():
        module, _, rest = name.partition(".")
        if module in _TABLES:
            state[_TABLES[module]] = tensor
        elif module in _STACKS:
            renamed = _rename_in_stack(rest)
            if renamed:
                state[f"{_STACKS[module]}.{renamed}"] = tensor
        elif module == "atten_pool":
            state["pool.logits.weight"] = tensor.reshape(tensor.shape[0], -1)
        elif module == "feedforward":
            layer, _, kind = rest.partition(".")
            state[f"{_HEAD.get(layer, layer)}.{kind}"] = tensor
        else:
            raise InputError(
                f"{weights.source}: unknown module {module!r} in key {name!r}; expected {', '.join(MODULES)}"
            )
    missing = [name for name in _TABLES.values() if name not in state]
    missing += [
        f"{s}.layers" for s in _STACKS.values() if not any(n.startswith(f"{s}.layers.0.") for n in state)
    ]
    if missing or "head.first.weight" not in state:
        raise InputError(
            f"{weights.source}: is missing {', '.join([*missing, 'feedforward'][:4])}; is this the release?"
        )
    return state


def _rename_in_stack(name: str) -> str | None:
    if name.startswith("encoder_layer."):
        return None
    if not name.startswith("encoder.layers."):
        return name
    _, _, index, rest = name.split(".", 3)
    return f"layers.{index}.{_LAYER.get(rest, rest)}"


def _config_of(state: Mapping[str, Tensor], heads: int, source: Path) -> CREformerConfig:
    vocabulary, dim = state["elementary.dna.weight"].shape
    levels = state["elementary.tracks.atac.weight"].shape[0]
    if vocabulary != DNA_VOCABULARY or levels != SIGNAL_VOCABULARY:
        raise InputError(
            f"{source}: embeds {vocabulary} DNA and {levels} signal tokens, "
            f"expected {DNA_VOCABULARY} and {SIGNAL_VOCABULARY}"
        )
    if heads < 1 or dim % heads:
        raise InputError(f"{source}: width {dim} is not divisible by {heads} heads; check --heads")

    def layers(prefix: str) -> int:
        found = [
            int(n.removeprefix(f"{prefix}.layers.").split(".")[0])
            for n in state
            if n.startswith(f"{prefix}.layers.")
        ]
        return max(found, default=-1) + 1

    elementary = ElementaryConfig(
        dim=dim,
        heads=heads,
        ffn=state["elementary.bin_encoder.layers.0.ffn_in.weight"].shape[0],
        bin_layers=layers("elementary.bin_encoder"),
        window_layers=layers("elementary.window_encoder"),
        norm_first=False,
    )
    return CREformerConfig(
        elementary=elementary,
        layers=layers("peak_encoder"),
        max_peaks=state["head.first.weight"].shape[1] // dim,
        positions="rank",
        head="flat",
        mask_padding=False,
        rank_rows=state["position.weight"].shape[0],
    )
