"""A training step on isoforms that share starts: batched, each distinct sequence once, against one at a time.

Generated transcripts at human lengths (12 kb of DNA, RNA of mean 2 kb, protein of mean 400 residues), four
isoforms per start, three distinct proteins among them. Both sides run the same modules on the same transcripts
in this one process, alternating; the gradient of every transcript is computed and one optimiser step is taken.

- ours: `plan_batches` (length buckets that keep a start together), each distinct row encoded once.
- one at a time: every transcript by itself, padded to the longest of the data set (`--pad data`), as a tokenizer
  of fixed length does; `--pad batch` pads to the longest of 64 random transcripts only.

Seconds are CPU seconds of the process (all threads), so that other work on the machine does not count; the wall
clock is printed beside them.

Run: python benchmarks/isoform_step.py [--model small|conv|tiny|base] [--genes 32] [--repeats 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from cisoform.batches import IsoformBatch, Modality, Tokens
from cisoform.data.sampling import BatchLimits, SampleLengths, plan_batches
from cisoform.models.encoders import ConvConfig
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig
from cisoform.recipes import DNA_IDS, PROTEIN_IDS, RNA_CHANNELS, RNA_IDS, isoform_recipe

ISOFORMS, PROTEINS = 4, 3
DNA_BP, RNA_CAP, PROTEIN_CAP = 12_288, 12_000, 1_200
RNA_MEAN, PROTEIN_MEAN = 2_000, 400
SPREAD = 0.8
"""Standard deviation of log length: quartiles at 0.58 and 1.7 of the median, as in human transcripts."""
TISSUES = 30
BATCH = 64


@dataclass(frozen=True)
class Data:
    """Sequences and which of them each transcript uses."""

    dna: list[np.ndarray]
    rna: list[np.ndarray]
    protein: list[np.ndarray]
    rows: dict[str, np.ndarray]
    targets: torch.Tensor


def generate(genes: int, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    n = genes * ISOFORMS

    def lengths(count: int, mean: int, cap: int) -> list[int]:
        drawn = rng.lognormal(np.log(mean) - SPREAD**2 / 2, SPREAD, count)
        return np.clip(drawn, 30, cap).astype(int).tolist()

    gene = np.repeat(np.arange(genes), ISOFORMS)
    rows = {"dna": gene, "rna": np.arange(n)}
    rows["protein"] = gene * PROTEINS + np.minimum(np.tile(np.arange(ISOFORMS), genes), PROTEINS - 1)
    return Data(
        dna=[rng.integers(0, 4, DNA_BP) for _ in range(genes)],
        rna=[rng.integers(0, 4, length) for length in lengths(n, RNA_MEAN, RNA_CAP)],
        protein=[
            rng.integers(0, 20, length) for length in lengths(genes * PROTEINS, PROTEIN_MEAN, PROTEIN_CAP)
        ],
        rows=rows,
        targets=torch.from_numpy(rng.normal(size=(n, TISSUES)).astype(np.float32)),
    )


def collate(data: Data, samples: np.ndarray, widths: dict[str, int] | None = None) -> IsoformBatch:
    """The samples with each distinct sequence once, padded to the longest, or to the given widths."""
    parts = {}
    for name in ("dna", "rna", "protein"):
        distinct, row = np.unique(data.rows[name][samples], return_inverse=True)
        sequences = [getattr(data, name)[i] for i in distinct]
        width = widths[name] if widths else max(map(len, sequences))
        ids = torch.zeros(len(sequences), width, dtype=torch.int64)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence)] = torch.from_numpy(sequence)
        mask = torch.arange(width)[None] < torch.tensor([len(sequence) for sequence in sequences])[:, None]
        channels = torch.ones_like(ids) if name == "rna" else None
        present = torch.ones(len(samples), dtype=torch.bool)
        parts[name] = Modality(Tokens(ids, mask, channels), torch.from_numpy(row), present)
    index = torch.from_numpy(samples)
    return IsoformBatch(index=index, targets=data.targets[index], **parts)


def our_batches(data: Data) -> list[list[IsoformBatch]]:
    lengths = {
        name: np.array([len(getattr(data, name)[i]) for i in rows]) for name, rows in data.rows.items()
    }
    plan = plan_batches(
        SampleLengths(**lengths, start=data.rows["dna"]), BatchLimits(batch_size=BATCH), seed=0
    )
    return [[collate(data, samples)] for samples in plan]


def single_batches(data: Data, pad: str) -> list[list[IsoformBatch]]:
    steps = []
    order = np.random.default_rng(1).permutation(len(data.targets))
    for samples in np.split(order, range(BATCH, len(order), BATCH)):
        among = samples if pad == "batch" else order
        widths = {
            name: max(len(getattr(data, name)[i]) for i in rows[among]) for name, rows in data.rows.items()
        }
        steps.append([collate(data, samples[i : i + 1], widths) for i in range(len(samples))])
    return steps


def train(
    model: IsoFormer, optimiser: torch.optim.Optimizer, steps: list[list[IsoformBatch]]
) -> tuple[float, float]:
    """CPU and wall seconds of one pass: for each step the gradients of its parts are summed."""
    cpu, wall = time.process_time(), time.perf_counter()
    for parts in steps:
        optimiser.zero_grad()
        for batch in parts:
            (model(batch) - batch.targets).square().sum().backward()
        optimiser.step()
    return time.process_time() - cpu, time.perf_counter() - wall


def build(recipe: str) -> IsoFormer:
    torch.manual_seed(0)
    return IsoFormer(replace(MODELS[recipe](), tissues=TISSUES))


def conv() -> IsoFormerConfig:
    """Convolutions and one transformer block for each modality, small enough for a CPU."""
    return IsoFormerConfig(
        tissues=TISSUES,
        dna=ConvConfig(ids=DNA_IDS, bins=(8, 8)),
        rna=ConvConfig(ids=RNA_IDS, channels=RNA_CHANNELS, bins=(4, 4)),
        protein=ConvConfig(ids=PROTEIN_IDS, bins=(2, 2)),
    )


MODELS: dict[str, Callable[[], IsoFormerConfig]] = {
    "conv": conv,
    **{name: lambda name=name: isoform_recipe(name).model for name in ("tiny", "small", "base")},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="small")
    parser.add_argument("--genes", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pad", choices=["data", "batch"], default="data")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = generate(options.genes)
    sides = {"ours": our_batches(data), "one_at_a_time": single_batches(data, options.pad)}
    models = {name: build(options.model) for name in sides}
    optimisers = {name: torch.optim.AdamW(model.parameters()) for name, model in models.items()}
    for name, steps in sides.items():  # warm up
        train(models[name], optimisers[name], [steps[0][:2]])
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, steps in sides.items():
            runs[name].append(train(models[name], optimisers[name], steps))
    n = len(data.targets)
    cpu, wall = (
        {name: statistics.median(run[i] for run in found) for name, found in runs.items()} for i in (0, 1)
    )
    result = {
        "model": options.model,
        "transcripts": n,
        "pad": options.pad,
        "threads": options.threads,
        "parameters": sum(parameter.numel() for parameter in models["ours"].parameters()),
        "transcripts_per_cpu_s": {name: round(n / value, 2) for name, value in cpu.items()},
        "ratio": round(cpu["one_at_a_time"] / cpu["ours"], 2),
        "wall_ratio": round(wall["one_at_a_time"] / wall["ours"], 2),
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, value in cpu.items():
        print(
            f"{name:14s} {value:7.2f} CPU s a pass ({wall[name]:.2f} s), {n / value:7.1f} transcripts/CPU s"
        )
    print(
        f"ratio {result['ratio']} (wall {result['wall_ratio']}): model {options.model}, {n} transcripts, one at a "
        f"time padded to the longest of the {options.pad}, {options.threads} thread(s)"
    )


if __name__ == "__main__":
    main()
