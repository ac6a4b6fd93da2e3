"""Consequences of 10,000 variants for a human-size annotation: seconds of each step and peak memory.

Generates, in a temporary folder, the genome and annotation of `benchmarks/genome.py` (250,000 transcripts, 200 Mb) and
a VCF file sorted by position: half of the variants in exons, a quarter in transcripts, a quarter anywhere; of five one
is an insertion or deletion of up to 12 bases. Then measures, in a process of its own, reading the annotation and what
`cisoform isoform variants` does without a model: check, pairs, splicing of touched transcripts, consequences, tables
(target: 60 s). The sequence is random, so the check of annotation against genome is left out.

    python benchmarks/isoform_variants.py [--variants N] [--transcripts N] [--json FILE] [--keep DIR]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from genome import draw_transcripts, peak_memory_gb, write_genome, write_gtf

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
SEED = 1


def write_vcf(
    folder: Path, transcripts: pl.DataFrame, exons: pl.DataFrame, n: int, rng: np.random.Generator
) -> None:
    """`variants.vcf` with REF of the genome."""
    from cisoform.genome.fasta import Genome
    from cisoform.genome.interval import Interval

    genome = Genome.open(folder / "genome.fa", cache_dir=folder / "cache")
    placed = exons.join(transcripts.select("row", "chrom"), on="row")
    records: set[tuple[str, int, str, str]] = set()
    for source, share in ((placed, 0.5), (transcripts, 0.75), (None, 1.0)):
        while len(records) < share * n:
            if source is None:
                chrom = list(genome.chroms)[rng.integers(len(genome.chroms))]
                at = int(rng.integers(1, genome.chroms[chrom] - 20))
            else:
                chrom, start, end = source.select("chrom", "start", "end").row(
                    int(rng.integers(source.height))
                )
                at = int(rng.integers(start, end + 1))
            size = int(rng.integers(1, 13))
            bases = "".join("ACGT"[code] for code in genome.fetch(Interval(chrom, at, at + 13)))
            drawn = "".join(rng.choice(list("ACGT"), size))
            kind = rng.random()
            if kind < 0.8:
                records.add((chrom, at + 1, bases[0], "ACGT".replace(bases[0], "")[rng.integers(3)]))
            elif kind < 0.9:
                records.add((chrom, at + 1, bases[0], bases[0] + drawn))
            else:
                records.add((chrom, at + 1, bases[: size + 1], bases[0]))
    lines = [f"{c}\t{at}\t.\t{ref}\t{alt}\t.\t.\t.\n" for c, at, ref, alt in sorted(records)]
    (folder / "variants.vcf").write_text(HEADER + "".join(lines))


def measure(folder: Path) -> dict[str, float]:
    """Seconds of the steps, and what came out."""
    from cisoform.genome.annotation import read_annotation
    from cisoform.genome.fasta import Genome
    from cisoform.genome.vcf_blocks import count_alleles
    from cisoform.jobs.isoform_variants import IsoformVariants, VariantOptions
    from cisoform.jobs.table_files import table_parts

    begun, processor = time.perf_counter(), time.process_time()
    genome = Genome.open(folder / "genome.fa", cache_dir=folder / "cache")
    annotation = read_annotation(folder / "annotation.gtf")
    read, read_processor = time.perf_counter(), time.process_time()
    vcf = folder / "variants.vcf"
    work = IsoformVariants(None, genome, annotation, vcf, count_alleles(vcf), VariantOptions())
    rows, transcripts = 0, set[str]()
    with table_parts(folder / "effects.tsv") as append:
        for part in work.parts():
            append(part.effects)
            rows += part.effects.height
            transcripts.update(part.effects["transcript_id"].to_list())
    done, done_processor = time.perf_counter(), time.process_time()
    return {
        "annotation_transcripts": len(annotation),
        "alleles": work.n_alleles,
        "rows": rows,
        "transcripts_touched": len(transcripts),
        "read_annotation_s": read - begun,
        "read_annotation_processor_s": read_processor - processor,
        "annotate_s": done - read,
        "annotate_processor_s": done_processor - read_processor,
        "peak_gb": peak_memory_gb(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--variants", type=int, default=10_000)
    parser.add_argument("--transcripts", type=int, default=250_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.measure is not None:
        print(json.dumps(measure(words.measure)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = words.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "variants.vcf").exists():
            rng = np.random.default_rng(SEED)
            length = write_genome(folder / "genome.fa", rng)
            transcripts, exons = draw_transcripts(words.transcripts, length, rng)
            write_gtf(folder / "annotation.gtf", transcripts, exons)
            write_vcf(folder, transcripts, exons, words.variants, rng)
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(folder)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = json.loads(done.stdout)
    for name, value in found.items():
        print(f"{name:28} {value:12,.2f}" if isinstance(value, float) else f"{name:28} {value:12,}")
    if words.json is not None:
        words.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
