"""A small valid project in plain Python: genome, annotation and expression of a few genes, as text to spoil.

Sixteen genes on two chromosomes and both strands, GENCODE style: spliced and unspliced, one to three isoforms
(other starts, other ends), every fifth gene non-coding. Chromosomes, tables and ids are as small as the commands
allow, so that a command runs in a fraction of a second.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import IsoformDataset

N_GENES = 16
CHROMOSOMES = ("chr1", "chr2")
TISSUES = ("Brain", "Liver", "Whole Blood")
STOPS = ("TAA", "TAG", "TGA")
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass
class Transcript:
    """Coordinates are 0-based half-open on the plus strand; exons and CDS pieces go up the chromosome."""

    id: str
    gene_id: str
    chrom: str
    strand: str
    exons: list[tuple[int, int]]
    cds: list[tuple[int, int]]
    stop_codon: list[tuple[int, int]]

    def lines(self) -> Iterator[str]:
        """The transcript's rows of a GTF file."""
        yield self._line("transcript", self.exons[0][0], self.exons[-1][1])
        for start, end in self.exons:
            yield self._line("exon", start, end)
        done = 0
        for start, end in self.cds if self.strand == "+" else reversed(self.cds):
            yield self._line("CDS", start, end, str(-done % 3))
            done += end - start
        for start, end in self.stop_codon:
            yield self._line("stop_codon", start, end, "0")

    def _line(self, kind: str, start: int, end: int, phase: str = ".") -> str:
        biotype = "protein_coding" if self.cds else "lncRNA"
        about = f'gene_id "{self.gene_id}"; transcript_id "{self.id}"; gene_type "{biotype}"; '
        about += f'gene_name "G{self.gene_id[-3]}"; transcript_type "{biotype}";'
        columns = (self.chrom, "TEST", kind, str(start + 1), str(end), ".", self.strand, phase, about)
        return "\t".join(columns)


@dataclass
class MiniProject:
    """Files of the project under `root`, and what is in them."""

    root: Path
    chromosomes: dict[str, str] = field(default_factory=dict)
    transcripts: list[Transcript] = field(default_factory=list)

    genome = property(lambda self: self.root / "genome.fa")
    annotation = property(lambda self: self.root / "annotation.gtf")
    expression = property(lambda self: self.root / "expression.tsv")
    splits = property(lambda self: self.root / "splits.tsv")

    @property
    def gene_ids(self) -> list[str]:
        return list(dict.fromkeys(transcript.gene_id for transcript in self.transcripts))

    def build_words(self, out: Path | str, **changes: Path | str | None) -> list[str]:
        """Words of `cisoform isoform build` on this project; a change of None leaves an option out."""
        options: dict[str, Path | str | None] = {
            "genome": self.genome,
            "annotation": self.annotation,
            "expression": self.expression,
            "splits": self.splits,
            "window": "128",
            "out": out,
        }
        options |= {name.replace("_", "-"): value for name, value in changes.items()}
        words = ["isoform", "build"]
        for name, value in options.items():
            if value is not None:
                words += [f"--{name}", str(value)]
        return words


def write_mini_project(root: Path, seed: int = 7) -> MiniProject:
    """Write the project's files and return what is in them."""
    root.mkdir(parents=True, exist_ok=True)
    project = MiniProject(root)
    rng = random.Random(seed)
    pieces: dict[str, list[str]] = {name: [bases(rng, 400)] for name in CHROMOSOMES}
    for number in range(N_GENES):
        chrom = CHROMOSOMES[number % len(CHROMOSOMES)]
        at = sum(len(piece) for piece in pieces[chrom])
        locus, transcripts = make_gene(rng, number, chrom, at)
        pieces[chrom] += [locus, bases(rng, rng.randrange(200, 300))]
        project.transcripts += transcripts
    project.chromosomes = {name: "".join(parts) for name, parts in pieces.items()}
    project.genome.write_text(fasta_text(project.chromosomes))
    project.annotation.write_text(gtf_text(project.transcripts))
    header, rows = expression_rows(rng, project.transcripts, TISSUES)
    write_table(project.expression, header, rows)
    write_table(project.splits, ["gene_id", "split"], split_rows(project.gene_ids))
    return project


def make_gene(rng: random.Random, number: int, chrom: str, at: int) -> tuple[str, list[Transcript]]:
    """Bases of a locus that starts at `at` on the plus strand, and its transcripts."""
    coding, strand = number % 5 != 4, "+-"[number // 2 % 2]
    utr5, utr3 = bases(rng, 60), bases(rng, 90)
    body = (
        "ATG" + "".join(sense_codon(rng) for _ in range(30 + number)) + rng.choice(STOPS)
        if coding
        else bases(rng, 150)
    )
    rna = utr5 + body + utr3
    cuts = sorted(rng.sample(range(70, len(rna) - 100), number % 3))
    exons, locus, done = [], "", 0
    for cut in [*cuts, len(rna)]:
        exons.append((len(locus), len(locus) + cut - done))
        locus += rna[done:cut]
        if cut < len(rna):
            locus += "GT" + bases(rng, rng.randrange(60, 90)) + "AG"
        done = cut
    stop_at = len(utr5) + len(body) - 3
    cds = to_genome(exons, (len(utr5), stop_at)) if coding else []
    stop_codon = to_genome(exons, (stop_at, stop_at + 3)) if coding else []
    # Isoforms: the whole, a later start, an earlier end.
    spans = [(0, len(locus)), (25, len(locus)), (0, len(locus) - 40)][: 1 + number % 3]
    gene_id = f"ENSG{number:011d}.{number % 4 + 1}"
    transcripts = []
    for isoform, (first, last) in enumerate(spans):
        own = [(max(start, first), min(end, last)) for start, end in exons]
        placed = [
            sorted(place(piece, len(locus), strand, at) for piece in pieces)
            for pieces in (own, cds, stop_codon)
        ]
        transcripts.append(Transcript(f"ENST{number:08d}{isoform:03d}.1", gene_id, chrom, strand, *placed))
    return (locus if strand == "+" else locus[::-1].translate(COMPLEMENT)), transcripts


def to_genome(exons: Sequence[tuple[int, int]], span: tuple[int, int]) -> list[tuple[int, int]]:
    """Pieces of the locus that a span of the spliced RNA covers."""
    pieces, done = [], 0
    for start, end in exons:
        first, last = max(span[0], done), min(span[1], done + end - start)
        if first < last:
            pieces.append((start + first - done, start + last - done))
        done += end - start
    return pieces


def place(piece: tuple[int, int], length: int, strand: str, at: int) -> tuple[int, int]:
    """From the locus in its own direction to the plus strand of the chromosome."""
    start, end = piece if strand == "+" else (length - piece[1], length - piece[0])
    return at + start, at + end


def bases(rng: random.Random, length: int) -> str:
    return "".join(rng.choices("ACGT", k=length))


def sense_codon(rng: random.Random) -> str:
    while (codon := bases(rng, 3)) in STOPS:
        pass
    return codon


def fasta_text(chromosomes: dict[str, str]) -> str:
    lines = []
    for name, sequence in chromosomes.items():
        lines.append(f">{name}")
        lines += [sequence[start : start + 60] for start in range(0, len(sequence), 60)]
    return "\n".join(lines) + "\n"


def gtf_text(transcripts: Sequence[Transcript]) -> str:
    return "".join(f"{line}\n" for transcript in transcripts for line in transcript.lines())


def expression_rows(
    rng: random.Random, transcripts: Sequence[Transcript], columns: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    rows = [
        [transcript.id, transcript.gene_id, *(f"{rng.lognormvariate(1, 1):.4f}" for _ in columns)]
        for transcript in transcripts
    ]
    return ["transcript_id", "gene_id", *columns], rows


def split_rows(gene_ids: Sequence[str]) -> list[list[str]]:
    """Ten genes to learn from, three to choose by, three to score."""
    names = ["train"] * 10 + ["valid"] * 3 + ["test"] * 3
    return [[gene, name] for gene, name in zip(gene_ids, names, strict=True)]


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = "".join("\t".join(row) + "\n" for row in [header, *rows])
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def mini_dataset(root: Path) -> IsoformDataset:
    """The project as a data set with windows of 128 bp, for models on one thread."""
    torch.set_num_threads(1)
    mini = write_mini_project(root)
    build_isoform_dataset(
        mini.genome, mini.annotation, mini.expression, splits=mini.splits, window=128, out=root / "data"
    )
    return IsoformDataset.open(root / "data")
