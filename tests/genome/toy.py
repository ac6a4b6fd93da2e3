"""Small genomes and annotations written out, and slow plain-Python answers to compare with."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
# The standard code written as a dictionary of its own, so that the tables under test are not their own judge.
CODONS = {
    first + second + third: amino_acid
    for (first, second, third), amino_acid in zip(
        [(a, b, c) for a in "TCAG" for b in "TCAG" for c in "TCAG"],
        "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        strict=True,
    )
}


def write_fasta(path: Path, chroms: dict[str, str], width: int = 10) -> Path:
    lines = []
    for name, letters in chroms.items():
        lines += [f">{name} some words", *(letters[i : i + width] for i in range(0, len(letters), width))]
    path.write_text("\n".join(lines) + "\n")
    return path


def gtf_line(
    chrom: str, feature: str, start: int, end: int, strand: str, attributes: str, frame: str = "."
) -> str:
    """`start` and `end` as files have them: from 1, closed."""
    return "\t".join([chrom, "test", feature, str(start), str(end), ".", strand, frame, attributes])


def reverse_complement(letters: str) -> str:
    return letters[::-1].translate(COMPLEMENT)


def translate(letters: str) -> str:
    return "".join(CODONS[letters[i : i + 3]] for i in range(0, len(letters) - 2, 3))


@dataclass
class Transcript:
    """Exons ascending, 0-based half-open; `cds` in RNA coordinates, stop codon included."""

    name: str
    chrom: str
    strand: str
    exons: list[tuple[int, int]]
    cds: tuple[int, int] | None = None
    tags: list[str] = field(default_factory=list)

    def rna(self, genome: dict[str, str]) -> str:
        letters = "".join(genome[self.chrom][start:end] for start, end in self.exons)
        return letters if self.strand == "+" else reverse_complement(letters)

    def genomic_parts(self, start: int, end: int) -> list[tuple[int, int]]:
        """Where RNA positions [start, end) lie on the genome, ascending, base by base."""
        positions = [p for low, high in self.exons for p in range(low, high)]
        if self.strand == "-":
            positions.reverse()
        chosen = sorted(positions[start:end])
        runs: list[tuple[int, int]] = []
        for p in chosen:
            joined = runs and runs[-1][1] == p and any(low <= p - 1 and p < high for low, high in self.exons)
            if joined:
                runs[-1] = (runs[-1][0], p + 1)
            else:
                runs.append((p, p + 1))
        return runs

    def gtf(self) -> list[str]:
        words = (
            f'gene_id "g{self.name}"; transcript_id "{self.name}"; gene_type "protein_coding"; gene_name "n";'
        )
        words += "".join(f' tag "{tag}";' for tag in self.tags)
        rows = [("transcript", self.exons[0][0], self.exons[-1][1])]
        rows += [("exon", start, end) for start, end in self.exons]
        if self.cds is not None:
            start, end = self.cds
            stop = 0 if "cds_end_NF" in self.tags else 3
            rows += [("CDS", *part) for part in self.genomic_parts(start, end - stop)]
            rows += [("stop_codon", *part) for part in self.genomic_parts(end - stop, end)]
        return [
            gtf_line(self.chrom, f, s + 1, e, self.strand, words, "0" if f == "CDS" else ".")
            for f, s, e in rows
        ]


def random_genome(rng: random.Random, lengths: dict[str, int]) -> dict[str, str]:
    return {name: "".join(rng.choices("ACGT", k=length)) for name, length in lengths.items()}


def random_transcripts(rng: random.Random, genome: dict[str, str], n: int) -> list[Transcript]:
    """Transcripts on both strands with one to five exons; about two thirds have a CDS somewhere."""
    made = []
    for number in range(n):
        chrom = rng.choice(list(genome))
        n_exons = rng.randint(1, 5)
        cuts = sorted(rng.sample(range(len(genome[chrom]) + 1), 2 * n_exons))
        exons = [(cuts[2 * i], cuts[2 * i + 1]) for i in range(n_exons)]
        transcript = Transcript(f"t{number}", chrom, rng.choice("+-"), exons)
        length = sum(end - start for start, end in exons)
        if length > 12 and rng.random() < 0.67:
            start = rng.randrange(length - 9)
            n_codons = rng.randint(2, (length - start) // 3)
            transcript.cds = (start, start + 3 * n_codons)
        made.append(transcript)
    return made


def write_gtf(path: Path, transcripts: list[Transcript]) -> Path:
    path.write_text("\n".join(["#!a comment", *(line for t in transcripts for line in t.gtf())]) + "\n")
    return path
