"""What a frozen Elementary makes of the starts of transcripts, alone and with each sample's tracks, computed once.

Entries are kept in the cache of features by the bases and signal levels of a window, so starts that look alike, other
data sets and other runs of the same weights share them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisoform.data.promoter_views import PromoterViews
from cisoform.errors import InputError
from cisoform.features.cache import FeatureCache, Keys, make_keys
from cisoform.genome.files import user_cache_dir
from cisoform.models.creformer.elementary import Elementary

Update = Callable[[int, int], None]
Starts = npt.NDArray[np.integer[Any]]

_BATCH_TOKENS = 65_536
_CHUNK_STATES = 2048
_ATTEMPTS = 3


def state_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def promoter_table(
    elementary: Elementary,
    views: PromoterViews,
    starts: Starts,
    root: str | Path | None = None,
    update: Update | None = None,
) -> tuple[Float[Tensor, "rows bins dim"], Int[Tensor, " states"]]:
    """Bins of every view of the given starts: from the cache where it has them, else encoded and added to it.

    Args:
        elementary: Must not change as long as the table is used.
        views: How starts are shown.
        starts: Rows of starts, each once.
        root: Folder of caches; None = the user's.
        update: Is told how many of how many states are done.

    Returns:
        Values, and the row of every state of `views` in them; -1 where it is not among the starts.

    Raises:
        InputError: If the cache cannot be used.
    """
    training = elementary.training
    elementary.eval()
    try:
        cache = _open(elementary, views, root)
        keys = np.concatenate([_keys(views, part) for part in _parts(starts, views.n_views)])
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        total = len(distinct)
        for _ in range(_ATTEMPTS):
            missing = cache.missing(distinct)
            for begin in range(0, len(missing), _CHUNK_STATES):
                todo = missing[begin : begin + _CHUNK_STATES]
                number = first[np.searchsorted(distinct, todo)]
                cache.add(todo, _encode(elementary, views, starts, number))
                if update is not None:
                    update(total - len(missing) + begin + len(todo), total)
            values, damaged = cache.read(distinct)
            if not len(damaged):
                break
        else:
            raise InputError(
                f"{cache.folder}: entries are damaged as soon as they are written; check the disk"
            )
    finally:
        elementary.train(training)
    row = np.full(len(views.dna) * views.n_views, -1, dtype=np.int64)
    row[views.states(np.repeat(starts, views.n_views), np.tile(np.arange(views.n_views), len(starts)))] = (
        inverse.reshape(-1)
    )
    return values, torch.from_numpy(row)


def _open(elementary: Elementary, views: PromoterViews, root: str | Path | None) -> FeatureCache:
    sizes = asdict(elementary.config)
    about = {
        "kind": "promoters",
        "weights": state_hash(elementary.state_dict()),
        "model": {key: sizes[key] for key in ("heads", "bin_size", "norm_first")},
        "tracks": list(views.tracks),
    }
    shape = (views.window // elementary.config.bin_size, elementary.dim)
    return FeatureCache(user_cache_dir("features") if root is None else root, about, shape, "fp32")


def _parts(starts: Starts, n_views: int) -> list[Starts]:
    size = max(1, _CHUNK_STATES // n_views)
    return [starts[begin : begin + size] for begin in range(0, len(starts), size)] or [starts]


def _keys(views: PromoterViews, starts: Starts) -> Keys:
    """Keys of all views of some starts, a start's views one after the other."""
    prefixes = [row.tobytes() for row in views.sequence(starts)]
    levels = views.levels(starts).swapaxes(0, 1).reshape(len(starts) * views.n_views, -1)
    return make_keys(prefixes, np.repeat(np.arange(len(starts)), views.n_views), levels)


@torch.no_grad()
def _encode(
    elementary: Elementary, views: PromoterViews, starts: Starts, numbers: npt.NDArray[np.int64]
) -> Float[Tensor, "states bins dim"]:
    """Bins of some states, given by their number: start times views plus view, in the order of `starts`."""
    device = elementary.dna.weight.device
    rows = max(1, _BATCH_TOKENS // views.window)
    found = []
    for begin in range(0, len(numbers), rows):
        part = numbers[begin : begin + rows]
        distinct, which = np.unique(part // views.n_views, return_inverse=True)
        dna = torch.from_numpy(views.sequence(starts[distinct])[which]).to(device)
        levels = views.levels(starts[distinct])[part % views.n_views, which]
        signal = torch.from_numpy(levels).to(device)
        tracks = {name: signal[:, place] for place, name in enumerate(views.tracks)}
        found.append(elementary(dna, tracks).float().cpu())
    return torch.cat(found)
