"""Consequences by `bcftools csq`: its annotation format, a run over records, and its terms in ours."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from cisoform.genome.fasta import Genome
from cisoform.genome.transcripts import TranscriptSet

Record = tuple[str, int, str, str]

_VARIANT = ("missense", "synonymous", "stop_retained", "frameshift", "splice_acceptor", "splice_donor")
TERMS = {name: f"{name}_variant" for name in (*_VARIANT, "splice_region", "intron", "coding_sequence")}
TERMS |= {"5_prime_utr": "5_prime_UTR_variant", "3_prime_utr": "3_prime_UTR_variant"}
TERMS |= {"non_coding": "non_coding_transcript_exon_variant"}


def csq(*arguments: str) -> str:
    """Run `bcftools csq`: the binary, or the copy inside of pysam; skips the test without either."""
    if shutil.which("bcftools"):
        return subprocess.run(
            ("bcftools", "csq", *arguments), check=True, capture_output=True, text=True
        ).stdout
    try:
        from pysam import bcftools
    except ImportError:
        pytest.skip("neither bcftools nor pysam's copy of it is installed")
    found: str = bcftools.csq(*arguments, catch_stdout=True)
    return found


def write_gff(transcripts: TranscriptSet, path: Path) -> None:
    """The annotation as Ensembl writes GFF3, which is what `bcftools csq` reads."""
    lines = ["##gff-version 3"]
    seen: set[str] = set()
    for record in transcripts.table.iter_rows(named=True):
        name, gene, strand, chrom = (record[key] for key in ("transcript_id", "gene_id", "strand", "chrom"))
        coding = record["cds_start"] >= 0
        biotype = "protein_coding" if coding else "lncRNA"
        start = f"{chrom}\tsim\t"
        place = f"\t{record['start'] + 1}\t{record['end']}\t.\t{strand}\t.\t"
        if gene not in seen:
            seen.add(gene)
            lines.append(f"{start}gene{place}ID=gene:{gene};biotype={biotype};Name={gene}")
        lines.append(f"{start}transcript{place}ID=transcript:{name};Parent=gene:{gene};biotype={biotype}")
        at = 0
        for low, high in zip(record["exon_starts"], record["exon_ends"], strict=True):
            parts = [("exon", 0, high - low, ".")]
            if coding:
                first, last = record["cds_start"], record["cds_end"]
                begin, end = max(first - at, 0), min(last - at, high - low)
                if begin < end:
                    parts.append(("CDS", begin, end, str(-(at + begin - first) % 3)))
                if at < first:
                    parts.append(("five_prime_UTR", 0, min(first - at, high - low), "."))
                if at + high - low > last:
                    parts.append(("three_prime_UTR", max(last - at, 0), high - low, "."))
            for kind, begin, end, phase in parts:
                a, b = (low + begin, low + end) if strand == "+" else (high - end, high - begin)
                lines.append(f"{start}{kind}\t{a + 1}\t{b}\t.\t{strand}\t{phase}\tParent=transcript:{name}")
            at += high - low
    path.write_text("\n".join(lines) + "\n")


def run_csq(
    genome: Genome, fasta: Path, gff: Path, records: Sequence[Record], folder: Path
) -> dict[tuple[Record, str], set[str]]:
    """Terms of every record and transcript."""
    vcf = folder / "records.vcf"
    head = [f"##contig=<ID={name},length={length}>" for name, length in genome.chroms.items()]
    lines = [f"{c}\t{p + 1}\t.\t{r}\t{a}\t.\t.\t." for c, p, r, a in records]
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    vcf.write_text("\n".join(["##fileformat=VCFv4.2", *head, columns, *lines]) + "\n")
    text = csq("-l", "-n", "64", "--force", "-f", str(fasta), "-g", str(gff), "-O", "v", str(vcf))
    found: dict[tuple[Record, str], set[str]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        chrom, position, _, ref, alt, _, _, info = line.split("\t")[:8]
        if "BCSQ=" not in info:
            continue
        for entry in info.split("BCSQ=")[1].split(";")[0].split(","):
            fields = entry.split("|")
            if len(fields) < 3:
                continue
            names = {TERMS.get(name.lstrip("*"), name) for name in fields[0].split("&")}
            found.setdefault(((chrom, int(position) - 1, ref, alt), fields[2]), set()).update(names)
    return found
