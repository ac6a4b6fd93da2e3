"""Features of the states of a data set of genes: what a frozen Elementary makes of each, computed once and kept.

The attention pool is trained in stage 2 while Elementary is frozen, so what is kept are the 8 bins before it (form
"bins"). With form "pooled" the pool is frozen as it is at the start and one vector is kept: an eighth of the disk.
`benchmarks/stage2_epoch.py` measures both: training on bins costs little more per step than on pooled vectors,
because a batch pools each of its distinct states once, and the pool need not stay as it was drawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisoform.data.gene_states import N_TOKENS
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.features.cache import FeatureCache, Keys, Precision, make_keys
from cisoform.genome.files import user_cache_dir
from cisoform.models.creformer import CREformer
from cisoform.models.creformer.frozen import check_tuned, frozen_part, tuned_names
from cisoform.tokens.peaks import dna_tokens

_HASH_CHUNK = 4096
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """What is kept of each state, and how it is computed.

    Attributes:
        track: The track of Elementary that the data's accessibility is read as.
        form: "bins" (8 vectors a peak; the pool learns) or "pooled" (one; the pool stays as it is).
        precision: fp32, fp16 or bf16 on disk and in memory.
        tuned_layers: Last layers of Elementary's window encoder that learn as well; the rest is computed once.
        lora_rank: Of these layers only corrections of this rank to the attention projections learn; 0 = the whole
            layers. The corrections are added to the weights when the model is saved.
        lora_alpha: Corrections are multiplied by lora_alpha / lora_rank.
        depths: Further factors of the signal that training shows, each batch at one of them or as it is: a model
            that has seen cells at half and twice their depth depends less on it. Each costs another encoding.
        bf16: Encode under bfloat16 autocast.
        batch_tokens: Tokens encoded at a time.
        shard_entries: States a shard; a killed process loses at most one shard of work.
        memory_gb: A larger table is memory-mapped instead of read.
    """

    track: str = "atac"
    form: Literal["bins", "pooled"] = "bins"
    precision: Precision = "fp32"
    tuned_layers: int = 0
    lora_rank: int = 0
    lora_alpha: float = 16.0
    depths: tuple[float, ...] = ()
    bf16: bool = False
    batch_tokens: int = 65_536
    shard_entries: int = 2048
    memory_gb: float = 4.0

    def __post_init__(self) -> None:
        if self.batch_tokens < N_TOKENS or self.shard_entries < 1 or self.memory_gb < 0:
            raise ValueError(
                f"batch_tokens={self.batch_tokens} must be at least {N_TOKENS}, shard_entries="
                f"{self.shard_entries} at least 1, memory_gb={self.memory_gb} at least 0"
            )
        if self.tuned_layers < 0:
            raise ValueError(f"tuned_layers={self.tuned_layers} must be at least 0")
        if self.lora_rank < 0 or not self.lora_alpha > 0:
            raise ValueError(
                f"lora_rank={self.lora_rank} must be at least 0, lora_alpha={self.lora_alpha} above 0"
            )
        if self.lora_rank and not self.tuned_layers:
            raise ValueError(
                f"lora_rank={self.lora_rank} adapts tuned layers: set tuned_layers to at least 1 as well"
            )
        if any(not depth > 0 for depth in self.depths):
            raise ValueError(f"depths={self.depths} must all be above 0")
        if self.form == "pooled" and self.tuned_layers:
            raise ValueError("form=pooled freezes what lies before the pool; tuned_layers needs form=bins")


@dataclass(frozen=True)
class FeatureTable:
    """Features of the states in use, each distinct one once.

    Attributes:
        values: (rows, bins, dim), or (rows, dim) where pooled, in the precision of the cache.
        row: Row of every state of the data set; -1 where it is not in use.
    """

    values: Float[Tensor, "rows ..."]
    row: Int[Tensor, " states"]

    def gather(self, states: Int[Tensor, " wanted"]) -> Float[Tensor, "wanted ..."]:
        """Features of some states, float32, on the device of the ids.

        Raises:
            KeyError: If a state is not in the table.
        """
        rows = self.row[states.to(self.row.device, torch.int64)]
        if bool((rows < 0).any()):
            raise KeyError("a state is not in the table of features")
        return self.values.index_select(0, rows.to(self.values.device, torch.int64)).to(
            states.device, torch.float32
        )

    def to(self, device: torch.device) -> FeatureTable:
        """The table on another device; large tables may stay where they are (`gather` moves what it finds)."""
        return FeatureTable(self.values.to(device), self.row.to(device))

    @property
    def n_bytes(self) -> int:
        """Bytes of the values."""
        return self.values.numel() * self.values.element_size()


@runtime_checkable
class Update(Protocol):
    """Receives how many of how many states are encoded."""

    def __call__(self, done: int, total: int) -> None:
        """Take notice."""
        ...


@dataclass(frozen=True)
class EncodingPlan:
    """What is about to be encoded.

    Attributes:
        n_states: States in use.
        n_distinct: Distinct ones among them (sequence and signal).
        n_missing: Those that the cache lacks.
        n_bytes: What they will take on disk.
        folder: Where they go.
    """

    n_states: int
    n_distinct: int
    n_missing: int
    n_bytes: int
    folder: Path


def default_root() -> Path:
    """The user's cache of features."""
    return user_cache_dir("features")


def weights_hash(model: CREformer, config: FeatureConfig) -> str:
    """SHA-256 of the weights that a feature depends on; other tracks and tuned layers are left out."""
    elementary = model.elementary
    check_tuned(elementary, config.tuned_layers)
    state = dict(elementary.state_dict())
    out = tuned_names(elementary, config.tuned_layers)
    out |= {name for name in state if name.startswith("tracks.") and name != f"tracks.{config.track}.weight"}
    kept = {f"elementary.{name}": value for name, value in state.items() if name not in out}
    if config.form == "pooled":
        kept |= {f"pool.{name}": value for name, value in model.pool.state_dict().items()}
    digest = hashlib.sha256()
    for name in sorted(kept):
        value = kept[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def open_cache(model: CREformer, config: FeatureConfig, root: str | Path | None = None) -> FeatureCache:
    """The cache of what this model makes of states.

    Args:
        model: Its Elementary, and its pool where the form is "pooled".
        config: See `FeatureConfig`.
        root: Folder of caches; None = the user's.

    Raises:
        InputError: If the model has no such track or layers, or the folder cannot be used.
    """
    elementary = model.elementary
    if config.track not in elementary.config.tracks:
        raise InputError(
            f"the Elementary knows no track {config.track!r} (it has {', '.join(elementary.config.tracks) or 'none'}); "
            "pre-train it on accessibility, or name the track to read it as: --set features.track=NAME"
        )
    layers = len(elementary.window_encoder.layers)
    if config.tuned_layers > layers:
        raise InputError(
            f"features.tuned_layers={config.tuned_layers}: the Elementary's window encoder has {layers} layers"
        )
    sizes = asdict(elementary.config)
    about = {
        "weights": weights_hash(model, config),
        # What shapes the numbers beside the weights.
        "model": {key: sizes[key] for key in ("dim", "heads", "bin_size", "norm_first")},
        **{key: getattr(config, key) for key in ("track", "form", "tuned_layers", "bf16")},
    }
    dim, bins = elementary.dim, N_TOKENS // elementary.config.bin_size
    shape = (dim,) if config.form == "pooled" else (bins, dim)
    return FeatureCache(default_root() if root is None else root, about, shape, config.precision)


def state_keys(dataset: GenesDataset, states: npt.NDArray[np.integer[Any]], factor: float = 1.0) -> Keys:
    """Key of each state: hash of the bases of its window and of its signal tokens."""
    peaks = dataset.state_peaks(states)
    found = []
    for first in range(0, len(states), _HASH_CHUNK):
        part = slice(first, first + _HASH_CHUNK)
        distinct, which = np.unique(peaks[part], return_inverse=True)
        windows = dataset.windows(distinct)
        prefixes = [row.tobytes() for row in windows]
        found.append(make_keys(prefixes, which, dataset.state_tokens(states[part], factor)))
    return np.concatenate(found) if found else np.empty(0, dtype="S16")


@torch.no_grad()
def encode_states(
    model: CREformer,
    dataset: GenesDataset,
    states: npt.NDArray[np.integer[Any]],
    config: FeatureConfig,
    factor: float = 1.0,
) -> Float[Tensor, "states ..."]:
    """Features of some states, computed now.

    Args:
        model: In evaluation mode.
        dataset: Whose states they are.
        states: Their ids.
        config: See `FeatureConfig`.
        factor: Multiplies the signal before its levels are cut.
    """
    rows = max(1, config.batch_tokens // N_TOKENS)
    found = []
    for first in range(0, len(states), rows):
        part = states[first : first + rows]
        windows = dataset.windows(dataset.state_peaks(part))
        found.append(encode_windows(model, windows, dataset.state_tokens(part, factor), config))
    return torch.cat(found)


@torch.no_grad()
def encode_windows(
    model: CREformer,
    windows: npt.NDArray[np.uint8],
    tokens: npt.NDArray[np.uint8],
    config: FeatureConfig,
) -> Float[Tensor, "windows ..."]:
    """Features of any windows, computed now; on the CPU.

    Args:
        model: In evaluation mode.
        windows: Base codes (n, 1029).
        tokens: Signal tokens (n, 1024).
        config: See `FeatureConfig`.
    """
    device = next(model.parameters()).device
    rows = max(1, config.batch_tokens // N_TOKENS)
    found = []
    for first in range(0, len(windows), rows):
        part = slice(first, first + rows)
        dna = torch.from_numpy(dna_tokens(windows[part]).astype(np.int32))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.bf16):
            tracks = {config.track: torch.from_numpy(tokens[part]).to(device)}
            hidden = frozen_part(model.elementary, dna.to(device), tracks, config.tuned_layers)
            found.append((model.pool(hidden) if config.form == "pooled" else hidden).float().cpu())
    return torch.cat(found)


def build_table(
    model: CREformer,
    dataset: GenesDataset,
    states: npt.NDArray[np.integer[Any]],
    config: FeatureConfig,
    root: str | Path | None = None,
    *,
    factor: float = 1.0,
    planned: Callable[[EncodingPlan], None] | None = None,
    update: Update | None = None,
) -> FeatureTable:
    """The features of the given states: from the cache where it has them, else encoded and added to it.

    Args:
        model: Its Elementary must not change afterwards (but for the tuned layers).
        dataset: Whose states they are.
        states: Ids in use (`GenesDataset.states_in_use`), each once.
        config: See `FeatureConfig`.
        root: Folder of caches; None = the user's.
        factor: Multiplies the signal before its levels are cut: the same cells at another depth.
        planned: Is told what will be encoded, before it is.
        update: Is told how far it is.

    Raises:
        InputError: If the model has no such track, or the cache cannot be written.
    """
    was_training = model.training
    model.eval()
    try:
        cache = open_cache(model, config, root)
        keys = state_keys(dataset, states, factor)
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        missing = cache.missing(distinct)
        if planned is not None:
            planned(
                EncodingPlan(
                    len(states), len(distinct), len(missing), len(missing) * cache.entry_bytes, cache.folder
                )
            )
        total, done = len(missing), 0
        for _ in range(_ATTEMPTS):
            for part in _parts(missing, config.shard_entries):
                cache.refresh()  # another process may have been faster
                todo = cache.missing(part)
                if len(todo):
                    ids = states[first[np.searchsorted(distinct, todo)]]
                    cache.add(todo, encode_states(model, dataset, ids, config, factor))
                done += len(part)
                if update is not None:
                    update(min(done, total), total)
            values, missing = cache.read(distinct, memory_bytes=int(config.memory_gb * 2**30))
            if not len(missing):
                break
        else:
            raise InputError(
                f"{cache.folder}: entries are damaged as soon as they are written; check the disk"
            )
    finally:
        model.train(was_training)
    row = np.full(dataset.n_states, -1, dtype=np.int32)
    row[states] = inverse.reshape(-1)
    return FeatureTable(values, torch.from_numpy(row))


def _parts(keys: Keys, size: int) -> list[Keys]:
    return [keys[first : first + size] for first in range(0, len(keys), size)]


def config_json(config: FeatureConfig) -> dict[str, Any]:
    """The config as plain JSON values, to stand beside a model."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain
