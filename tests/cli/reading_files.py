"""Files for readings that are each wrong in one way, beside a small data set and models that are right."""

from __future__ import annotations

import gzip
from pathlib import Path

import anndata
import numpy as np
import torch

from cisoform.data.genes import GenesDataset
from cisoform.genome.sequence import decode_dna
from cisoform.weights.store import save_model
from tests.cli.test_regulation_links_model import imagined
from tests.cli.test_regulation_perturb import meme, write_locus
from tests.data.gene_sets import build_small, save_creformer
from tests.data.pair_files import write_pairs

VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n"


def write_all(folder: Path) -> None:
    """44 cells of four types, two models without training, and the files."""
    dataset = build_small(folder, n_cells=44)
    save_creformer(folder / "model")
    save_creformer(folder / "short", positions="rank", max_peaks=4)
    _write_models(folder)
    _write_motifs(folder, dataset)
    _write_loci(folder)
    _write_tables(folder, dataset)
    _write_truths(folder)


def _cut(path: Path, content: bytes) -> None:
    """A gzip file without its last bytes."""
    path.write_bytes(gzip.compress(content)[:-12])


def _write_models(folder: Path) -> None:
    save_model(folder / "other_kind", {"w": torch.zeros(2)}, {}, {"about.json": {"kind": "isoform"}})
    save_creformer(folder / "broken_model")
    weights = folder / "broken_model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    (folder / "full").mkdir()
    (folder / "full" / "notes.txt").write_text("of value")
    (folder / "other_data").mkdir()
    (folder / "other_data" / "manifest.json").write_text(
        '{"format": "cisoform-regions", "format_version": 1}'
    )


def _write_motifs(folder: Path, dataset: GenesDataset) -> None:
    words = [decode_dna(row[500:510]) for row in dataset.windows(np.array([1, 6, 9]))]
    text = meme(*((f"SYM{number}", word) for number, word in enumerate(words, 3)))
    (folder / "motifs.meme").write_text(text)
    (folder / "short.meme").write_text("\n".join(text.splitlines()[:-2]))
    (folder / "words.meme").write_text(text.replace("0 0 0 1", "0 0 0 x", 1).replace("1 0 0 0", "x 0 0 0", 1))
    (folder / "empty.meme").write_text("")
    (folder / "below.meme").write_text(text.replace("0 0 0 1", "0 0 -1 2", 1))
    (folder / "rna.meme").write_text(text.replace("ACGT", "ACGU", 1))
    (folder / "double.meme").write_text(text + text[text.index("MOTIF") :])
    (folder / "image.meme").write_bytes(b"\x89PNG\0")
    _cut(folder / "cut.meme.gz", text.encode())


def _write_loci(folder: Path) -> None:
    write_locus(folder / "locus.txt", 1000, 3000, 9000)
    write_locus(folder / "five.txt", *range(1000, 11_000, 2000))
    write_locus(folder / "far.txt", 400_000)
    write_locus(folder / "four.txt", *range(1000, 9000, 2000))
    write_locus(folder / "afar.txt", 90_000)
    write_locus(folder / "many.txt", *range(1000, 301_000, 2000))
    lines = (folder / "locus.txt").read_text().splitlines()
    spoiled = {
        "lines.txt": lines[:-1],
        "name.txt": ["chr1_900_1100", *lines[1:]],
        "bases.txt": [lines[0], lines[1][:-1], *lines[2:]],
        "letters.txt": [lines[0], "Z" + lines[1][1:], *lines[2:]],
        "signal.txt": [*lines[:2], "high" + lines[2][1:], *lines[3:]],
        "negative.txt": [*lines[:2], "-1" + lines[2][1:], *lines[3:]],
        "short.txt": [*lines[:2], lines[2][2:], *lines[3:]],
        "repeated.txt": [*lines[:3], *lines[:3]],
        "turned.txt": [*lines[3:6], *lines[:3]],
        "backward.txt": [">chr1_1100_900", *lines[1:]],
        "two_chromosomes.txt": [*lines[:3], ">chr2_2900_3100", *lines[4:]],
    }
    for name, rows in spoiled.items():
        (folder / name).write_text("\n".join(rows) + "\n")
    _cut(folder / "cut.txt.gz", "\n".join(lines).encode())


def _write_tables(folder: Path, dataset: GenesDataset) -> None:
    pairs = imagined(dataset)
    write_pairs(folder / "pairs.tsv", pairs)
    write_pairs(folder / "twice.tsv", [*pairs, pairs[0]])
    write_pairs(folder / "answerless.tsv", pairs, drop=["Regulated"])
    moved = [
        {**row, **{name: str(int(row[name]) + 400_000) for name in ("chromStart", "chromEnd", "startTSS")}}
        for row in pairs
    ]
    write_pairs(folder / "hg19.tsv", moved)
    _cut(folder / "cut.tsv.gz", (folder / "pairs.tsv").read_bytes())
    chrom, start, end = dataset.peaks.row(1)
    rows = dataset.groups.select("name", "cell_type").rows()
    labels = [f"{name}\t{'few' if at < 9 else kind}\tall" for at, (name, kind) in enumerate(rows)]
    texts = {
        "hit.bed": f"{chrom}\t{start + 5}\t{end - 5}\n",
        "beside.bed": f"{chrom}\t1\t2\n",
        "damaged.bed": f"{chrom}\t{start}\tend\n",
        "backward.bed": f"{chrom}\t{end}\t{start}\n",
        "elsewhere.bed": "chrZ\t1\t2\n",
        "labels.tsv": "\n".join(["cell\tsize\tsame", *labels]) + "\n",
        "ragged.tsv": "cell\tsize\n" + labels[0] + "\n",
        "strangers.tsv": "cell\tsize\nnobody\tsmall\n",
        "again.tsv": "\n".join(["cell\tsize\tsame", *labels, labels[0]]) + "\n",
        "nothing.tsv": "",
        "blank.tsv": "\n\n",
        "track.bw": "no track at all",
        "track.txt": "chr1\t1\t2\n",
        "word.vcf": VCF + f"{chrom}\t1e3\t.\tA\tC\n",
        "headless.vcf": f"{chrom}\t900\t.\tA\tC\n",
        "columns.vcf": VCF + f"{chrom}\t900\n",
        "symbolic.vcf": VCF + f"{chrom}\t3000\t.\tA\t<DEL>\n",
        "header.vcf": VCF,
        "outside.vcf": VCF + f"{chrom}\t2\t.\tA\tC\n",
        "other.fa": ">chr1\n" + "ACGTT" * 12_000 + "\n",
        "cells.h5ad": "no HDF5",
        "file": "taken",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    _cut(folder / "cut.vcf.gz", (folder / "outside.vcf").read_bytes())


def _write_truths(folder: Path) -> None:
    """What readings are judged by, and predictions of other models."""
    texts = {
        "names.txt": "# nothing\n\n",
        "columns.tsv": "source\tregulated\nSYM3\tSYM1\n",
        "factors.tsv": "tf\tgene\nSYM33\tSYM1\n",
        "signs.tsv": "tf\tgene\tsign\nSYM3\tSYM1\tup\n",
        "genes.tsv": "tf\tgene\nSYM3\tOTHER1\n",
        "edgeless.tsv": "tf\tgene\n",
        "broken.json": "{",
        "known.tsv": "label\ttf\nMona\tSYM3\n",
        "essential.tsv": "tf\tscore\nSYM3\thigh\n",
        "endless.tsv": "tf\tscore\nSYM3\tnan\n",
        "essential_twice.tsv": "tf\tscore\nSYM3\t1\nSYM3\t2\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    cells = anndata.AnnData(np.ones((3, 2), dtype=np.float32))
    cells.obs_names, cells.var_names = ["x", "y", "z"], ["P", "Q"]
    cells.write(folder / "strangers.h5ad")
