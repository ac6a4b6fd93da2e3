"""Public checkpoints of ESM-2 and Nucleotide Transformer v2, and folders converted from them, to our network.

Names and `config.json` are those of `facebook/esm2_*` (class EsmForMaskedLM or EsmModel of `transformers`) and
`InstaDeepAI/nucleotide-transformer-v2-*`. Strict: each tensor of the network must be there with its shape, and each
tensor of the file must be known; a difference is an error that says what differs. Tensors that these checkpoints carry
but rotary models never use are left out by name: learned positions, position ids, the rotation's frequencies (compared
with ours first), contact head and pooler.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from cisoform.configs import config_from_json
from cisoform.errors import InputError
from cisoform.genome.files import open_text, read_json
from cisoform.models.encoders.rotary import Esm2Config, NtV2Config, RotaryConfig, RotaryEncoder, RotaryNetwork
from cisoform.models.encoders.rotary.encoder import ESM_TOKENS, NT_TOKENS
from cisoform.models.encoders.rotary.network import ROTARY_BASE
from cisoform.tokens.kmer import vocabulary as nt_vocabulary
from cisoform.tokens.protein import ESM_VOCABULARY
from cisoform.weights.public import SCHEME, find_public, public_folder, read_public_tensors, shape_differences
from cisoform.weights.store import MANIFEST_FILE, load_model, save_model

Kind = Literal["esm2", "nt_v2"]
NAMES: dict[str, str] = {"esm2": "ESM-2", "nt_v2": "Nucleotide Transformer v2"}
ABOUT_FILE = "about.json"
_PREFIX = "esm."
_FIXED = {
    "embeddings.word_embeddings": "embedding",
    "embeddings.layer_norm": "norm_before",
    "encoder.emb_layer_norm_after": "norm",
    "lm_head.dense": "head.dense",
    "lm_head.layer_norm": "head.norm",
    "lm_head.decoder": "head.decoder",
    "lm_head": "head.decoder",  # its bias stands beside the decoder
}
_IN_LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.LayerNorm": "attention_norm",
    "LayerNorm": "ffn_norm",
    "intermediate.dense": "ffn_in",
    "output.dense": "ffn_out",
}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
_FREQUENCIES = "rotary_embeddings.inv_freq"
_UNUSED = re.compile(
    r"embeddings\.position_ids|embeddings\.position_embeddings\.weight|.*\.rotary_embeddings\.inv_freq"
    r"|contact_head\..*|pooler\..*"
)
_SHOWN = 3


@dataclass(frozen=True)
class RotaryWeights:
    """A checkpoint in our names.

    Attributes:
        kind: "esm2" or "nt_v2".
        config: Sizes and form.
        state: Weights of a `RotaryNetwork` (with head, if `head`), float32.
        head: Whether the masked-token head is among them.
        about: Source, hash of its file, names of what was left out.
    """

    kind: Kind
    config: RotaryConfig
    state: dict[str, Tensor]
    head: bool
    about: dict[str, Any]

    @property
    def body(self) -> dict[str, Tensor]:
        """The weights without the head."""
        return {name: value for name, value in self.state.items() if not name.startswith("head.")}

    def network(self) -> RotaryNetwork:
        """The network, in evaluation mode."""
        network = RotaryNetwork(self.config, head=self.head)
        network.load_state_dict(self.state)
        return network.eval()

    def encoder(self) -> RotaryEncoder:
        """The frozen encoder, in evaluation mode."""
        config: Esm2Config | NtV2Config
        if self.kind == "esm2":
            config = Esm2Config(network=self.config, learn="frozen")
        else:
            config = NtV2Config(network=self.config, learn="frozen")
        encoder = RotaryEncoder(config)
        encoder.load_pretrained(self.body)
        return encoder.eval()


def read_rotary(source: str | Path, kind: Kind | None = None, sha256: str | None = None) -> RotaryWeights:
    """Read a public checkpoint (folder or hf://owner/name), a folder of `save_rotary` or a run of `isoform pretrain`.

    Args:
        source: Where it is.
        kind: What it must be; None = either.
        sha256: What the weights file of a public checkpoint must hash to; None = anything.

    Raises:
        InputError: If it is not there, damaged, refused, of another kind or form, or a hash is wrong.
    """
    folder = public_folder(source)
    if any((place / MANIFEST_FILE).is_file() for place in (folder, folder / "model")):
        found = _read_converted(folder)
    else:
        found = _read_public(source, kind, sha256)
    if kind is not None and found.kind != kind:
        raise InputError(
            f"{source}: is {NAMES[found.kind]}, but {NAMES[kind]} is asked for; give another folder"
        )
    return found


def _read_public(source: str | Path, kind: Kind | None, sha256: str | None) -> RotaryWeights:
    public = find_public(source)
    found, config, tied = read_config(public.config, kind)
    _check_vocabulary(public.folder / "vocab.txt", found)
    tensors, digest = read_public_tensors(public.weights, sha256)
    state, dropped = rename(tensors, str(public.weights), tied, config.dim // config.heads)
    head = any(name.startswith("head.") for name in state)
    if problems := differences(shapes_of(state), config, head):
        more = f"; {len(problems) - _SHOWN} more differences" if len(problems) > _SHOWN else ""
        raise InputError(
            f"{public.weights}: does not fit {public.config} as {NAMES[found]}: {'; '.join(problems[:_SHOWN])}{more}"
        )
    about = {
        "source": _named(public.source),
        "file": public.weights.name,
        "sha256": digest,
        "left_out": dropped,
    }
    return RotaryWeights(found, config, {name: value.float() for name, value in state.items()}, head, about)


def _named(source: str) -> str:
    """A hub name whole, of a folder the last part: a converted model does not tell where it was made."""
    return source if source.startswith(SCHEME) else Path(source).resolve().name


def read_config(path: Path, kind: Kind | None = None) -> tuple[Kind, RotaryConfig, bool]:
    """Kind, network and whether embedding and decoder are tied, from a public `config.json`.

    Raises:
        InputError: If it is no rotary ESM-2 or NT-v2, or lacks a field.
    """
    fields = read_json(path, "config of the checkpoint")
    return config_of(fields, path, kind)


def config_of(fields: Any, path: Path, kind: Kind | None = None) -> tuple[Kind, RotaryConfig, bool]:
    """As `read_config`, from the fields of the file."""
    if not isinstance(fields, dict) or fields.get("model_type") != "esm":
        said = fields.get("model_type") if isinstance(fields, dict) else None
        raise InputError(
            f"{path}: model_type is {said!r}, not 'esm': neither ESM-2 nor Nucleotide Transformer v2"
        )
    position = fields.get("position_embedding_type", "absolute")
    if position != "rotary":
        raise InputError(
            f"{path}: position_embedding_type is {position!r}: ESM-1 or the first Nucleotide Transformer; give an "
            "ESM-2 or NT-v2 checkpoint, which have 'rotary'"
        )
    found: Kind = kind or ("nt_v2" if fields.get("vocab_size") == NT_TOKENS else "esm2")
    tokens, mask = {"esm2": (ESM_TOKENS, 32), "nt_v2": (NT_TOKENS, 2)}[found]
    expected = {"vocab_size": tokens, "pad_token_id": 1, "mask_token_id": mask}
    for name, value in expected.items():
        if fields.get(name) != value:
            raise InputError(f"{path}: {name} is {fields.get(name)!r}, {NAMES[found]} has {value}")
    try:
        config = RotaryConfig(
            vocabulary=tokens,
            dim=_integer(fields, "hidden_size"),
            heads=_integer(fields, "num_attention_heads"),
            layers=_integer(fields, "num_hidden_layers"),
            ffn=_integer(fields, "intermediate_size"),
            gated=found == "nt_v2",
            ffn_bias=bool(fields.get("add_bias_fnn", True)),
            token_dropout=bool(fields.get("token_dropout", False)),
            norm_before=bool(fields.get("emb_layer_norm_before") or False),
            norm_eps=float(fields.get("layer_norm_eps", 1e-12)),
            mask_token=mask,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    return found, config, bool(fields.get("tie_word_embeddings", True))


def _integer(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int:
        raise ValueError(f"{name} is {value!r}, expected a whole number")
    return value


def rename(
    tensors: Mapping[str, Tensor], where: str, tied: bool, head_dim: int
) -> tuple[dict[str, Tensor], list[str]]:
    """Public names to ours (unknown ones stay as they are), and the names of what rotary models never use.

    Raises:
        InputError: If two names mean one tensor and differ, or the rotation has other frequencies than ours.
    """
    state: dict[str, Tensor] = {}
    dropped = []
    for name, value in tensors.items():
        ours = our_name(name)
        if ours is None:
            if name.endswith(_FREQUENCIES):
                _check_frequencies(value, head_dim, f"{where}: {name}")
            dropped.append(name)
            continue
        if ours in state and not torch.equal(state[ours], value):
            raise InputError(
                f"{where}: {name} differs from another tensor that means {ours}; a damaged file?"
            )
        state[ours] = value
    if tied and "head.dense.weight" in state and "embedding.weight" in state:
        state.setdefault("head.decoder.weight", state["embedding.weight"])
    return state, dropped


def our_name(public: str) -> str | None:
    """Our name of a tensor; the public one if it is unknown, None if rotary models never use it."""
    bare = public.removeprefix(_PREFIX)
    if _UNUSED.fullmatch(bare):
        return None
    part, _, last = bare.rpartition(".")
    layer = _LAYER.fullmatch(part)
    if layer is not None:
        inner = _IN_LAYER.get(layer.group(2))
        return public if inner is None else f"layers.{int(layer.group(1))}.{inner}.{last}"
    fixed = _FIXED.get(part)
    return public if fixed is None else f"{fixed}.{last}"


def _check_frequencies(values: Tensor, head_dim: int, where: str) -> None:
    half = head_dim // 2
    ours = ROTARY_BASE ** (-torch.arange(half, dtype=torch.float32) / half)
    if values.shape != ours.shape or not torch.allclose(values.float(), ours, rtol=1e-2):
        raise InputError(
            f"{where}: rotary frequencies are not those of base {ROTARY_BASE:g} and head size {head_dim}"
        )


def differences(shapes: Mapping[str, Sequence[int]], config: RotaryConfig, head: bool) -> list[str]:
    """What keeps tensors of these names and shapes from being the network's, a line each; empty if nothing does."""
    with torch.device("meta"):
        expected = RotaryNetwork(config, head=head).state_dict()
    return shape_differences(shapes, expected)


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, Sequence[int]]:
    """Shapes of tensors by name."""
    return {name: tuple(value.shape) for name, value in state.items()}


def _check_vocabulary(path: Path, kind: Kind) -> None:
    """Refuse a `vocab.txt` beside the weights that numbers tokens otherwise; a trailing `<bos>` is let pass."""
    if not path.is_file():
        return
    ours = list(ESM_VOCABULARY) if kind == "esm2" else nt_vocabulary()
    with open_text(path, "vocabulary") as handle:
        theirs = [line.strip() for line in handle if line.strip()]
    if theirs[: len(ours)] == ours and theirs[len(ours) :] in ([], ["<bos>"]):
        return
    differing = [n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    place = differing[0] if differing else min(len(ours), len(theirs))
    said = theirs[place] if place < len(theirs) else "nothing"
    wanted = ours[place] if place < len(ours) else "nothing"
    raise InputError(
        f"{path}: line {place + 1}: {said!r}, {NAMES[kind]} has {wanted!r} there; is it its vocabulary?"
    )


def save_rotary(folder: str | Path, weights: RotaryWeights) -> None:
    """Write a folder of safetensors and JSON with the hash of each file, for `read_rotary`."""
    about = {**weights.about, "kind": weights.kind}
    save_model(folder, weights.state, asdict(weights.config), {ABOUT_FILE: about})


def _read_converted(folder: Path) -> RotaryWeights:
    stored = load_model(folder)
    about = dict(stored.files.get(ABOUT_FILE, {}))
    kind = about.pop("kind", None)
    if kind not in NAMES:
        raise InputError(
            f"{folder}: holds {kind!r}, neither ESM-2 nor Nucleotide Transformer v2; give another folder"
        )
    config = config_from_json(RotaryConfig, json.dumps(stored.config), str(folder / "config.json"))
    head = any(name.startswith("head.") for name in stored.state)
    if problems := differences(shapes_of(stored.state), config, head):
        raise InputError(f"{folder}: {problems[0]}; the folder mixes two models")
    return RotaryWeights(kind, config, stored.state, head, about)
