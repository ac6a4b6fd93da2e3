"""Slow, independent reading of a simulated folder: strings and loops, nothing of the package."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
BASES = "TCAG"
RESIDUES = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
CODE = {
    a + b + c: RESIDUES[16 * i + 4 * j + k]
    for i, a in enumerate(BASES)
    for j, b in enumerate(BASES)
    for k, c in enumerate(BASES)
}


def flip(text):
    return text.translate(COMPLEMENT)[::-1]


def read_fasta(path):
    records = {}
    for line in path.read_text().splitlines():
        if line.startswith(">"):
            name = line[1:]
            records[name] = []
        else:
            records[name].append(line)
    return {name: "".join(parts) for name, parts in records.items()}


@dataclass
class Transcript:
    """1-based inclusive coordinates, as in the file, by kind of row."""

    gene_id: str
    chrom: str
    strand: str
    rows: dict = field(default_factory=dict)

    def spans(self, kind):
        """Spans of one kind in transcript order, with their phase column."""
        return sorted(self.rows.get(kind, []), reverse=self.strand == "-")

    def text(self, genome, kind):
        parts = []
        for start, end, _ in self.spans(kind):
            part = genome[self.chrom][start - 1 : end]
            parts.append(part if self.strand == "+" else flip(part))
        return "".join(parts)

    def tss(self):
        """0-based position of the first transcribed base."""
        start, end, _ = self.spans("exon")[0]
        return start - 1 if self.strand == "+" else end - 1

    def upstream(self, genome, length=256):
        chrom, tss = genome[self.chrom], self.tss()
        if self.strand == "+":
            return chrom[max(0, tss - length) : tss].rjust(length, "N")
        return flip(chrom[tss + 1 : tss + 1 + length]).rjust(length, "N")


def read_gtf(path):
    transcripts = {}
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        chrom, _, kind, start, end, _, strand, phase, attributes = line.split("\t")
        if kind == "gene":
            continue
        values = dict(re.findall(r'(\w+) "([^"]*)"', attributes))
        transcript = transcripts.setdefault(
            values["transcript_id"], Transcript(values["gene_id"], chrom, strand)
        )
        transcript.rows.setdefault(kind, []).append((int(start), int(end), phase))
    return transcripts


def read_tsv(path):
    header, *lines = (line.split("\t") for line in path.read_text().splitlines())
    return header, lines


def sites(text, motif, strengths):
    """(start, strength) of each site."""
    found = []
    for start in range(len(text) - len(motif) + 1):
        mismatches = sum(a != b for a, b in zip(text[start:], motif, strict=False))
        if mismatches < len(strengths):
            found.append((start, strengths[mismatches]))
    return found


def distance_weight(distance, rule):
    knots, weights = rule["distance_bp"], rule["distance_weight"]
    for (x0, y0), (x1, y1) in zip(
        zip(knots, weights, strict=True), zip(knots[1:], weights[1:], strict=True), strict=False
    ):
        if x0 <= distance <= x1:
            return y0 + (y1 - y0) * (distance - x0) / (x1 - x0)
    return 0.0


def features(transcript, genome, rules):
    """Features of one transcript by rule, from bases and truth.json only; None where a rule does not apply."""
    upstream, rna = transcript.upstream(genome), transcript.text(genome, "exon")
    rule = rules["promoter"]
    promoter = []
    for name in rule["features"]:
        hits = sites(upstream, rule["motifs"][name], rule["strength_by_mismatches"])
        total = sum(strength * distance_weight(start - len(upstream), rule) for start, strength in hits)
        promoter.append(min(total, rule["max_sites"]))
    values = {"promoter": promoter, "uorf": None, "utr3": None, "codon": None, "protein": None}
    coding = transcript.text(genome, "CDS")
    if not coding:
        return values
    cds = coding + transcript.text(genome, "stop_codon")
    start = rna.index(cds)
    assert rna.count(cds) == 1
    utr5, utr3 = rna[:start], rna[start + len(cds) :]
    uorfs = 0
    for at in range(3, len(utr5) - 3):
        if utr5[at : at + 4] == "ATGG" and utr5[at - 3] in "AG":
            codons = [utr5[i : i + 3] for i in range(at, len(utr5) - 2, 3)]
            uorfs += any(codon in ("TAA", "TAG", "TGA") for codon in codons)
    values["uorf"] = [min(uorfs, rules["uorf"]["max_uorfs"])]
    rule = rules["utr3"]
    values["utr3"] = [
        min(
            sum(s for _, s in sites(utr3, rule["motifs"][name], rule["strength_by_mismatches"])),
            rule["max_sites"],
        )
        for name in rule["features"]
    ]
    codons = [coding[i : i + 3] for i in range(3, len(coding), 3)]
    with_choice = [codon for codon in codons if CODE[codon] not in "MW"]
    favoured = [codon for codon in with_choice if codon[2] in rules["codon"]["favoured_third_bases"]]
    values["codon"] = [len(favoured) / len(with_choice)]
    protein, rule = "".join(CODE[codon] for codon in codons), rules["protein"]
    score = sum(r in rule["raising_residues"] for r in protein) - sum(
        r in rule["lowering_residues"] for r in protein
    )
    early = protein[: rule["presequence_length"]]
    presequence = sum(r in rule["presequence_residues"] for r in early) / len(early)
    values["protein"] = [score / len(protein), presequence]
    return values


def effects(values, rules, n_tissues):
    """Contribution of each rule in each tissue: (feature - centre) x weights x scale."""
    result = {}
    for name, rule in rules.items():
        row = [0.0] * n_tissues
        if values[name] is not None:
            for value, centre, weights in zip(values[name], rule["centre"], rule["weights"], strict=True):
                for tissue in range(n_tissues):
                    row[tissue] += (value - centre) * weights[tissue] * rule["scale_factor"]
        result[name] = row
    return result


def with_variant(genome, transcripts, variant):
    """Genome and transcripts after one VCF record; coordinates behind it move."""
    chrom, position, ref, alt = variant["chrom"], variant["position"], variant["ref"], variant["alt"]
    text = genome[chrom]
    assert text[position - 1 : position - 1 + len(ref)] == ref
    mutated = {**genome, chrom: text[: position - 1] + alt + text[position - 1 + len(ref) :]}
    shift, last = len(alt) - len(ref), position + len(ref) - 1

    def move(at):
        return at + shift if at > last else at

    moved = {}
    for name, old in transcripts.items():
        rows = {
            kind: [
                (move(start), move(end), phase) if old.chrom == chrom else (start, end, phase)
                for start, end, phase in spans
            ]
            for kind, spans in old.rows.items()
        }
        moved[name] = Transcript(old.gene_id, old.chrom, old.strand, rows)
    return mutated, moved
