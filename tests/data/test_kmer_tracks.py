"""Coordinates of 6-mers: the planted one stands out, both strands are one, held-out regions are not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cisoform.data.kmer_tracks import KmerStartConfig, canonical_kmers, kmer_coordinates
from cisoform.data.region_build import build_regions
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.regions import RegionDataset
from cisoform.genome.sequence import decode_dna, encode_dna, reverse_complement
from tests.data import region_files as files

SITE = "GATTCA"


def code_of(kmer: str) -> int:
    return int(sum(int(base) * 4 ** (5 - place) for place, base in enumerate(encode_dna(kmer))))


def write(folder: Path, test_signal: float = 1.0) -> RegionDataset:
    """Signal 20 over every 128 bp that hold the site, on c1 and c2; `test_signal` everywhere on c3."""
    files.write_genome(folder)
    (folder / "bw").mkdir()
    reverse = decode_dna(reverse_complement(encode_dna(SITE)))
    chroms: dict[str, np.ndarray] = {}
    name = ""
    for line in (folder / "genome.fa").read_text().split("\n"):
        if line.startswith(">"):
            name = line[1:]
        elif name != "bare" and line:
            values = np.full(len(line), 0.5, np.float32)
            for start in range(0, len(line), 25):
                if SITE in line[start : start + 30] or reverse in line[start : start + 30]:
                    values[start : start + 25] = 20
            chroms[name] = values if name != "c3" else np.full(len(line), test_signal, np.float32)
    lines = ["sample\ttrack\tpath"]
    for sample in ("a", "b"):
        for track in ("atac", "h3k4me1"):
            files.write_bigwig(folder / f"bw/{sample}.{track}.bw", chroms)
            lines.append(f"{sample}\t{track}\tbw/{sample}.{track}.bw")
    (folder / "t.tsv").write_text("\n".join(lines) + "\n")
    config = RegionBuildConfig(window=512, test_chromosomes=("c3",))
    build_regions(folder / "genome.fa", folder / "t.tsv", folder / "regions", config)
    return RegionDataset.open(folder / "regions")


def test_canonical_kmers_by_hand() -> None:
    found = canonical_kmers()
    assert found[code_of("AAAAAA")] == found[code_of("TTTTTT")] == code_of("AAAAAA")
    assert found[code_of(SITE)] == code_of(SITE) == found[code_of("TGAATC")]
    assert found[code_of("GAATTC")] == code_of("GAATTC")  # its own reverse complement
    assert len(np.unique(found)) == 2080


def test_the_planted_kmer_stands_out_and_strands_agree(tmp_path: Path) -> None:
    found = kmer_coordinates(write(tmp_path), KmerStartConfig(), 0, 16)
    assert found.shape == (4096, 1)  # four equal signals are one direction
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-9)
    assert int(np.abs(found[:, 0]).argmax()) in (code_of(SITE), code_of("TGAATC"))
    assert found[code_of(SITE), 0] == found[code_of("TGAATC"), 0]


def test_held_out_regions_are_not_read(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    one, two = (
        kmer_coordinates(write(folder, value), KmerStartConfig(), 3, 8)
        for folder, value in zip(folders, (1.0, 30.0), strict=True)
    )
    np.testing.assert_array_equal(one, two)


def test_limits(tmp_path: Path) -> None:
    dataset = write(tmp_path)
    assert kmer_coordinates(dataset, KmerStartConfig(columns=1, bins=16), 0, 8).shape == (4096, 1)
    with pytest.raises(ValueError, match="ridge=0.0"):
        KmerStartConfig(ridge=0.0)
