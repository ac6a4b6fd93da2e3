"""What a frozen encoder makes of sequences, kept on disk by the hashes of its weights and of each sequence.

Sequences differ in length, entries of a `FeatureCache` do not: an entry is a chunk of 64 positions, its key the hash of
the whole sequence's ids and of the chunk's number. Runs that start from the same weights share a cache, also at the
same time; a killed one loses the part it was writing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from cisoform.batches import Tokens
from cisoform.errors import InputError
from cisoform.features.cache import FeatureCache, Keys, Precision, make_keys
from cisoform.features.promoters import state_hash
from cisoform.genome.files import user_cache_dir
from cisoform.models.encoders.pretrained import PretrainedEncoder, SequenceTable, sequence_key

Ids = npt.NDArray[np.integer[Any]]
Update = Callable[[int, int], None]

CHUNK_POSITIONS = 64
_GROUP_TOKENS = 16_384
_SHARD_BYTES = 64 * 2**20
_MEMORY_BYTES = 2 * 2**30
_ATTEMPTS = 3


def sequence_table(
    encoder: PretrainedEncoder,
    sequences: Iterable[Ids],
    root: str | Path | None = None,
    precision: Precision = "fp32",
    update: Update | None = None,
) -> SequenceTable:
    """Vectors of every position of some sequences: from the cache where it has them, else computed and added to it.

    Args:
        encoder: Must not change as long as the table is used.
        sequences: Token ids of each, without padding; a sequence may come several times.
        root: Folder of caches; None = the user's.
        precision: How vectors are kept.
        update: Is told how many of how many distinct sequences are done.

    Raises:
        InputError: If the cache cannot be used, or a vector does not fit the precision.
    """
    distinct = list({sequence_key(ids): ids for ids in sequences if len(ids)}.values())
    chunks = np.array(
        [-(-encoder.positions(len(ids)) // CHUNK_POSITIONS) for ids in distinct], dtype=np.int64
    )
    first = np.concatenate([[0], np.cumsum(chunks)[:-1]]).astype(np.int64)
    cache = _open(encoder, root, precision)
    keys = _keys(distinct, chunks)
    for _ in range(_ATTEMPTS):
        missing = np.isin(keys, cache.missing(keys))
        todo = [n for n, ids in enumerate(distinct) if missing[first[n] : first[n] + chunks[n]].any()]
        _fill(cache, encoder, distinct, todo, keys, first, update)
        values, damaged = cache.read(keys, memory_bytes=_MEMORY_BYTES)
        if not len(damaged):
            break
    else:
        raise InputError(f"{cache.folder}: entries are damaged as soon as they are written; check the disk")
    places = {sequence_key(ids): int(place) for ids, place in zip(distinct, first, strict=False)}
    return SequenceTable(values, places)


def _open(encoder: PretrainedEncoder, root: str | Path | None, precision: Precision) -> FeatureCache:
    config = encoder.config
    about = {
        "kind": "sequences",
        "weights": state_hash(encoder.network.state_dict()),
        # As it is read back: JSON has no tuples.
        "network": json.loads(json.dumps({"kind": config.kind, **asdict(config.network)})),
    }
    folder = user_cache_dir("features") if root is None else root
    return FeatureCache(folder, about, (CHUNK_POSITIONS, encoder.dim), precision)


def _keys(sequences: Sequence[Ids], chunks: npt.NDArray[np.int64]) -> Keys:
    """Keys of all chunks, a sequence's one after the other."""
    number = np.concatenate([np.arange(count, dtype="<i4") for count in chunks] or [np.empty(0, dtype="<i4")])
    which = np.repeat(np.arange(len(chunks)), chunks)
    return make_keys([sequence_key(ids) for ids in sequences], which, number[:, None])


def _fill(
    cache: FeatureCache,
    encoder: PretrainedEncoder,
    sequences: Sequence[Ids],
    todo: Sequence[int],
    keys: Keys,
    first: npt.NDArray[np.int64],
    update: Update | None,
) -> None:
    """Compute the given sequences and add them, some tens of MB at a time."""
    held: list[tuple[Keys, Tensor]] = []
    held_bytes = done = 0
    for group in _groups(sequences, todo):
        for n, states in zip(group, _encode(encoder, [sequences[n] for n in group]), strict=True):
            held.append((keys[first[n] : first[n] + len(states)], states))
            held_bytes += states.nbytes
        done += len(group)
        if held_bytes >= _SHARD_BYTES or done == len(todo):
            cache.add(np.concatenate([part for part, _ in held]), torch.cat([values for _, values in held]))
            held, held_bytes = [], 0
        if update is not None:
            update(len(sequences) - len(todo) + done, len(sequences))


def _groups(sequences: Sequence[Ids], todo: Sequence[int]) -> Iterator[list[int]]:
    """Sequences of like lengths, as many as fit the token budget with their padding."""
    group: list[int] = []
    for n in sorted(todo, key=lambda n: len(sequences[n])):
        if group and (len(group) + 1) * len(sequences[n]) > _GROUP_TOKENS:
            yield group
            group = []
        group.append(n)
    if group:
        yield group


@torch.no_grad()
def _encode(
    encoder: PretrainedEncoder, sequences: Sequence[Ids]
) -> Iterator[Float[Tensor, "chunks positions dim"]]:
    """Chunks of each sequence, zeros behind its end."""
    device = next(encoder.network.parameters()).device
    lengths = [len(ids) for ids in sequences]
    ids = torch.zeros(len(sequences), max(lengths), dtype=torch.int64)
    for row, one in enumerate(sequences):
        ids[row, : len(one)] = torch.from_numpy(one.astype(np.int64))
    mask = torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]
    training = encoder.training
    hidden = encoder.eval().encode(Tokens(ids.to(device), mask.to(device)))
    encoder.train(training)
    for states, real in zip(hidden.states.float().cpu(), hidden.mask.cpu(), strict=True):
        padded = F.pad(states[real], (0, 0, 0, -int(real.sum()) % CHUNK_POSITIONS))
        yield padded.reshape(-1, CHUNK_POSITIONS, padded.shape[1])
