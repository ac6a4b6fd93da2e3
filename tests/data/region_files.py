"""Small files for data sets of regions: a genome of four chromosomes and tracks that follow its sequence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pybigtools

from cisoform.genome.sequence import decode_dna, encode_dna

CHROMS = {"c1": 5300, "c2": 4100, "c3": 2700, "bare": 1000}
SAMPLES = ("liver", "brain", "skin")
TRACKS = ("atac", "h3k4me3")


def write_genome(folder: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    path = folder / "genome.fa"
    with path.open("w") as handle:
        for name, length in CHROMS.items():
            codes = rng.integers(0, 4, length).astype(np.uint8)
            if name == "c2":
                codes[700:900] = 4
            handle.write(f">{name}\n{decode_dna(codes)}\n")
    return path


def signal(sample: str, track: str, chrom: str) -> np.ndarray:
    """Signal of a chromosome in steps of 25 bp, not negative, zeros among it."""
    seed = sum(map(ord, f"{sample}{track}{chrom}"))
    rng = np.random.default_rng(seed)
    steps = np.round(
        rng.gamma(0.7, 2.0, -(-CHROMS[chrom] // 25)) * (rng.random(-(-CHROMS[chrom] // 25)) > 0.3), 2
    )
    return np.repeat(steps, 25)[: CHROMS[chrom]].astype(np.float32)


def spans(values: np.ndarray, chrom: str, step: int = 25) -> Iterator[tuple[str, int, int, float]]:
    for start in range(0, len(values), step):
        if values[start] != 0:
            yield chrom, start, min(start + step, len(values)), float(values[start])


def write_bigwig(path: Path, chroms: dict[str, np.ndarray], lengths: dict[str, int] | None = None) -> Path:
    records = (record for name in sorted(chroms) for record in spans(chroms[name], name))
    writer = pybigtools.open(str(path), "w")
    writer.write(lengths or {name: CHROMS[name] for name in chroms}, records)
    return path


def write_tracks(folder: Path, samples: tuple[str, ...] = SAMPLES, tracks: tuple[str, ...] = TRACKS) -> Path:
    lines = ["sample\ttrack\tpath"]
    (folder / "bw").mkdir(exist_ok=True)
    for sample in samples:
        for track in tracks:
            name = f"bw/{sample}.{track}.bw"
            write_bigwig(folder / name, {c: signal(sample, track, c) for c in ("c1", "c2", "c3")})
            lines.append(f"{sample}\t{track}\t{name}")
    table = folder / "tracks.tsv"
    table.write_text("\n".join(lines) + "\n")
    return table


__all__ = [
    "CHROMS",
    "SAMPLES",
    "TRACKS",
    "encode_dna",
    "signal",
    "write_bigwig",
    "write_genome",
    "write_tracks",
]
