"""A large multiome into samples: seconds, peak memory and size on disk of the build, and the rate of the loader.

Generates out of core, in a temporary folder, a genome with evenly spaced peaks and genes (44 peaks in reach of each),
and a 10x-style `.h5` of sparse counts written in blocks; then, each in a process of its own,

- build: `build-genes` with one sample a cell (target: 4 GB of resident memory at full size);
- loader: batches of the built data set, alone and with the gather of d=128 features from a table of states
  (target: 20,000 samples a second at 44 peaks a gene on two cores).

    python benchmarks/multiome.py                            a tenth of the cells: 3e7 entries
    python benchmarks/multiome.py --cells 100000             full size: 3e8 entries, about 8 GB of disk
    python benchmarks/multiome.py [--peaks N] [--open N] [--expressed N] [--pool cells|knn:K] [--json FILE] [--keep DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

N_CHROMS = 20
SPACING_BP = 1_500
PEAKS_PER_GENE = 44
GENES = 20_000
BLOCK_CELLS = 500
DIM = 128


def write_genome(folder: Path, n_peaks: int, rng: np.random.Generator) -> list[str]:
    """Genome and annotation; returns the names of the peaks, 500 bp each, every 1,500 bp."""
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    per_chrom = -(-n_peaks // N_CHROMS)
    length = -(-(per_chrom + 2) * SPACING_BP // 60) * 60
    with (folder / "genome.fa").open("wb") as out:
        for chrom in range(1, N_CHROMS + 1):
            out.write(f">chr{chrom}\n".encode())
            lines = np.full((length // 60, 61), ord("\n"), dtype=np.uint8)
            lines[:, :60] = letters[rng.integers(0, 4, (length // 60, 60), dtype=np.uint8)]
            out.write(lines.tobytes())
    half = PEAKS_PER_GENE // 2
    with (folder / "genes.gtf").open("w") as out:
        for gene in range(GENES):
            chrom, rank = gene % N_CHROMS, gene // N_CHROMS
            place = half + rank * max(1, per_chrom - 2 * half) // (GENES // N_CHROMS)
            start = (place + 1) * SPACING_BP + SPACING_BP // 2
            about = f'gene_id "ENSG{gene:011d}"; gene_name "G{gene}"; transcript_id "T{gene}"; gene_type "x";'
            for feature in ("transcript", "exon"):
                out.write(f"chr{chrom + 1}\tx\t{feature}\t{start + 1}\t{start + 900}\t.\t+\t.\t{about}\n")
    starts = [(1 + peak % per_chrom) * SPACING_BP for peak in range(n_peaks)]
    return [f"chr{1 + peak // per_chrom}:{start}-{start + 500}" for peak, start in enumerate(starts)]


def draw(
    n_cells: int, n_features: int, n_drawn: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, feature and count of entries of a block: per cell `n_drawn` draws, depth varying twofold either way."""
    wanted = (n_drawn * np.exp(rng.normal(0, 0.35, n_cells))).astype(np.int64).clip(10, n_features)
    row = np.repeat(np.arange(n_cells), wanted)
    keys = np.sort(row * n_features + rng.integers(0, n_features, len(row)))
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    row, feature = np.divmod(keys[first], n_features)
    return row, feature, 1 + rng.geometric(0.6, len(row)) // 2


def write_h5(
    path: Path, names: list[str], n_cells: int, n_open: int, n_expressed: int, rng: np.random.Generator
) -> int:
    """A 10x-style matrix, written block by block; returns the number of entries in peaks."""
    import h5py

    genes = [f"ENSG{gene:011d}" for gene in range(GENES)]
    n_entries = 0
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        options: dict[str, Any] = {
            "maxshape": (None,),
            "chunks": (80_000,),
            "compression": "gzip",
            "compression_opts": 1,
        }
        data = matrix.create_dataset("data", (0,), np.int32, **options)
        indices = matrix.create_dataset("indices", (0,), np.int64, **options)
        pointers = [np.zeros(1, dtype=np.int64)]
        for first in range(0, n_cells, BLOCK_CELLS):
            count = min(BLOCK_CELLS, n_cells - first)
            gene_row, gene, umi = draw(count, GENES, n_expressed, rng)
            peak_row, peak, cuts = draw(count, len(names), n_open, rng)
            row, column = np.concatenate([gene_row, peak_row]), np.concatenate([gene, GENES + peak])
            order = np.argsort(row, kind="stable")
            size = len(data)
            for dataset, values in ((data, np.concatenate([umi, cuts])), (indices, column)):
                dataset.resize((size + len(row),))
                dataset[size:] = values[order]
            pointers.append(pointers[-1][-1] + np.cumsum(np.bincount(row, minlength=count)))
            n_entries += len(peak)
        matrix["indptr"] = np.concatenate(pointers)
        matrix["shape"] = np.array([GENES + len(names), n_cells], dtype=np.int32)
        letters = np.array(list("ACGT"))
        barcodes = [
            "".join(letters[[cell >> (2 * place) & 3 for place in range(16)]]) + "-1"
            for cell in range(n_cells)
        ]
        matrix["barcodes"] = np.array(barcodes, dtype="S18")
        features = matrix.create_group("features")
        features["id"] = np.array(genes + names, dtype="S32")
        features["name"] = np.array([f"G{gene}" for gene in range(GENES)] + names, dtype="S32")
        features["feature_type"] = np.array(["Gene Expression"] * GENES + ["Peaks"] * len(names), dtype="S16")
    return n_entries


def build(folder: Path, pool: str, reach: int) -> dict[str, Any]:
    from cisoform.data.gene_build import build_genes
    from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
    from cisoform.data.gene_pools import Pooling

    inputs = GeneInputs(
        genome=folder / "genome.fa", annotation=folder / "genes.gtf", multiome=folder / "matrix.h5"
    )
    config = GeneBuildConfig(pool=Pooling.parse(pool), reach_bp=reach, min_tss_enrichment=0.0)
    begun = time.perf_counter()
    made = build_genes(inputs, folder / "genes", config, overwrite=True)
    out = sum(file.stat().st_size for file in (folder / "genes").iterdir())
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "dataset_gb": round(out / 1e9, 2),
        "peaks_per_gene": round(made.peaks_per_gene, 1),
        "open_entries": made.n_open,
        "expressed_pairs": made.n_samples,
        "observed_states": made.n_states,
    }


def loader(folder: Path, seconds: float = 10.0) -> dict[str, Any]:
    import torch

    from cisoform.data.gene_loader import GeneLoaderConfig, GeneSource
    from cisoform.data.genes import GenesDataset

    dataset = GenesDataset.open(folder / "genes")
    source = GeneSource(dataset, *dataset.part("train"), GeneLoaderConfig(batch_size=2048), seed=1)
    found: dict[str, Any] = {"torch_threads": torch.get_num_threads()}
    table = torch.zeros((dataset.n_states, DIM), dtype=torch.float16)
    for name in ("batches", "batches_and_gather"):
        begun, samples, peaks, slots, epoch = time.perf_counter(), 0, 0, 0, 0
        while time.perf_counter() - begun < seconds:
            for batch in source.epoch(epoch):
                samples, peaks, slots = (
                    samples + len(batch),
                    peaks + int(batch.mask.sum()),
                    slots + batch.mask.numel(),
                )
                if name != "batches":
                    table.index_select(0, batch.state.flatten())
                if time.perf_counter() - begun >= seconds:
                    break
            epoch += 1
        found[f"{name}_samples_per_s"] = round(samples / (time.perf_counter() - begun))
        found["peaks_per_sample"], found["padding_share"] = (
            round(peaks / samples, 1),
            round(1 - peaks / slots, 3),
        )
    found["peak_rss_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    return found


def in_own_process(step: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    words = [sys.executable, __file__, "--step", step, "--keep", str(folder), "--pool", options.pool]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--peaks", type=int, default=100_000)
    parser.add_argument(
        "--open", type=int, default=2_900, help="draws of open peaks a cell (mean of 3,000 entries)"
    )
    parser.add_argument("--expressed", type=int, default=1_500)
    parser.add_argument("--pool", default="cells")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="folder for the files; they stay there")
    parser.add_argument("--step", choices=["build", "loader"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    reach = SPACING_BP * PEAKS_PER_GENE // 2
    if options.step:
        found = build(options.keep, options.pool, reach) if options.step == "build" else loader(options.keep)
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        names = write_genome(folder, options.peaks, rng)
        begun = time.perf_counter()
        n_entries = write_h5(folder / "matrix.h5", names, options.cells, options.open, options.expressed, rng)
        result: dict[str, Any] = {
            "cells": options.cells,
            "peaks": options.peaks,
            "entries_in_peaks": n_entries,
            "generating": {
                "seconds": round(time.perf_counter() - begun, 1),
                "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
                "h5_gb": round((folder / "matrix.h5").stat().st_size / 1e9, 2),
            },
            "cpus": os.cpu_count(),
        }
        for step in ("build", "loader"):
            result[step] = in_own_process(step, folder, options)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
