"""Scores of all (gene, peak) pairs for a gene network, chunk by chunk on disk, so that a stopped run goes on.

A chunk is written under its final name when it is whole; a later run with the same model, data, choice of genes, groups
and bags reads it. The folder is taken away when the network has been written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.analysis.grn_scores import PairChunk, PairSums, weight_of
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import PeakInputs
from cisoform.analysis.reader import Reader
from cisoform.analysis.scores import Variant, slots_at_once
from cisoform.errors import InputError
from cisoform.features.promoters import state_hash
from cisoform.genome.files import atomic_write, read_json, write_json
from cisoform.jobs.score import ScoreConfig, score_inputs

Ints = npt.NDArray[np.int64]
Update = Callable[[int, int], None]

MOST_NUMBERS = 500_000
"""Numbers (pairs x labels x bags) of a chunk (4 MB): what a stopped run loses at most."""
KEPT_BYTES = 512 * 2**20
"""Chunks are kept in memory up to this size; beyond it they are read from disk every time."""
_KEY = "key.json"


@dataclass
class StoredChunks:
    """Chunks in a folder; iterating reads them in order."""

    paths: list[Path]
    _kept: list[PairChunk] = field(default_factory=list)

    def __iter__(self) -> Iterator[PairChunk]:
        size = sum(path.stat().st_size for path in self.paths)
        if size > KEPT_BYTES:
            return (read_chunk(path) for path in self.paths)
        if not self._kept:
            self._kept.extend(read_chunk(path) for path in self.paths)
        return iter(self._kept)


def write_chunk(path: Path, chunk: PairChunk) -> None:
    """Write one chunk under its final name."""
    with atomic_write(path, "wb") as handle:
        np.savez(handle, **{item.name: getattr(chunk, item.name) for item in fields(chunk)})


def read_chunk(path: Path) -> PairChunk:
    """Read one.

    Raises:
        InputError: A damaged file.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            return PairChunk(**{item.name: found[item.name] for item in fields(PairChunk)})
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise InputError(
            f"{path}: is damaged ({' '.join(str(error).split())[:80]}); remove {path.parent}"
        ) from None


def plan_chunks(genes: Ints, count: Ints, width: int) -> list[Ints]:
    """Genes in runs whose pairs x `width` numbers stay within the limit; one gene at least."""
    found: list[list[int]] = []
    filled = 0
    for gene, n in zip(genes.tolist(), count.tolist(), strict=True):
        if not found or filled + n * width > MOST_NUMBERS:
            found.append([])
            filled = 0
        found[-1].append(gene)
        filled += n * width
    return [np.array(part, dtype=np.int64) for part in found]


def work_key(
    reader: Reader, grouping: Grouping, genes: Ints, variant: Variant, bags: Ints, seed: int
) -> dict[str, Any]:
    """What chunks depend on, as JSON."""
    names = reader.groups["name"].gather(grouping.groups.tolist()).to_list()
    return {
        "model": state_hash(reader.model.state_dict()),
        "link": reader.link,
        "dataset": reader.dataset.hash,
        "sequence_only": reader.sequence_only,
        "genes": genes.tolist(),
        "groups": [[name, label] for name, label in zip(names, grouping.label.tolist(), strict=True)],
        "variant": variant,
        "bags": int(bags.shape[1]) - 1,
        "seed": seed,
        "chunk": MOST_NUMBERS,
    }


def open_work(folder: Path, key: dict[str, Any]) -> int:
    """Make the folder ready; scores of another run in it are removed.

    Returns:
        Chunks that are there already.

    Raises:
        InputError: If it cannot be used.
    """
    plain = json.loads(json.dumps(key))
    try:
        if folder.exists() and (not (folder / _KEY).is_file() or read_json(folder / _KEY) != plain):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot hold the scores of a run: {error.strerror or error}") from None
    if not (folder / _KEY).is_file():
        write_json(folder / _KEY, plain)
    return len(list(folder.glob("pairs-*.npz")))


def score_pairs(
    reader: Reader,
    grouping: Grouping,
    genes: Ints,
    variant: Variant,
    bags: Ints,
    folder: Path,
    update: Update | None = None,
) -> StoredChunks:
    """Score all pairs that are not there yet.

    Args:
        reader: Model and data.
        grouping: Groups and their labels.
        genes: Target genes, ascending.
        variant: Which reading.
        bags: (groups, bags), as `draw_bags` gives them.
        folder: As `open_work` left it.
        update: Is told how many genes are done.
    """
    index = reader.dataset.index
    count = np.asarray(index.count)[genes].astype(np.int64)
    parts = plan_chunks(genes, count, len(grouping.labels) * bags.shape[1])
    weight = weight_of(grouping.label, len(grouping.labels), bags)
    names = ("ablation",) if variant == "ablation" else ("ablation", variant)
    config = ScoreConfig(variants=names, samples=0)  # type: ignore[arg-type]
    paths, done = [], 0
    for number, part in enumerate(parts):
        paths.append(folder / f"pairs-{number:05d}.npz")
        if not paths[-1].is_file():
            first = np.asarray(index.first)[part].astype(np.int64)
            sums = PairSums(
                part, first, np.asarray(index.count)[part].astype(np.int64), weight.shape[0], bags
            )
            _fill(sums, reader, grouping, part, config)
            write_chunk(paths[-1], sums.chunk(weight))
        done += len(part)
        if update is not None:
            update(done, len(genes))
    return StoredChunks(paths)


def _fill(sums: PairSums, reader: Reader, grouping: Grouping, genes: Ints, config: ScoreConfig) -> None:
    widest = int(np.asarray(reader.dataset.index.count)[genes].max())
    for inputs in reader.batches(grouping.groups, genes, slots_at_once(reader.model, widest)):
        scores = score_inputs(reader, inputs, config)
        value = scores["ablation"]
        if len(config.variants) > 1:
            value = value.sign() * scores[config.variants[1]].abs()
        _add(sums, inputs, value.detach().cpu().numpy(), grouping)


def _add(sums: PairSums, inputs: PeakInputs, value: npt.NDArray[np.float32], grouping: Grouping) -> None:
    mask = inputs.mask.cpu().numpy()
    sample, slot = np.nonzero(mask)
    group = inputs.group.cpu().numpy()[sample]
    sums.add(
        inputs.gene.cpu().numpy()[sample].astype(np.int64),
        slot.astype(np.int64),
        grouping.of(group),
        np.searchsorted(grouping.groups, group),
        value[sample, slot].astype(np.float32),
        inputs.distance_bp.cpu().numpy()[sample, slot].astype(np.float32),
    )
