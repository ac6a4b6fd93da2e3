"""Human-size figures of the genome layer: seconds and peak memory, each step in a process of its own.

Generates, in a temporary folder, a 200 Mb genome with a GENCODE-like GTF (250,000 transcripts, 1.6 million exons,
about 100,000 of them coding) and a slice of GTEx's transcript table (all 17,382 sample columns), then measures

- genome: reading the GTF; building all spliced RNA and all proteins (target: 60 s and 3 GB on two cores);
- expression: streaming the `.gct.gz` to tissue means, for two numbers of rows: peak memory must not grow with rows.

    python benchmarks/genome.py [genome] [expression] [--transcripts N] [--rows N] [--json FILE] [--keep DIR]
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

N_CHROMS = 20
GENOME_BASES = 200_000_000
EXONS_PER_TRANSCRIPT = 6.4
N_SAMPLES = 17_382
N_TISSUES = 30


def write_genome(path: Path, rng: np.random.Generator) -> int:
    """A random genome, 60 bases a line; returns the length of each chromosome."""
    length = GENOME_BASES // N_CHROMS // 60 * 60
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    with path.open("wb") as out:
        for chrom in range(1, N_CHROMS + 1):
            out.write(f">chr{chrom}\n".encode())
            lines = np.full((length // 60, 61), ord("\n"), dtype=np.uint8)
            lines[:, :60] = letters[rng.integers(0, 4, (length // 60, 60), dtype=np.uint8)]
            out.write(lines.tobytes())
    return length


def draw_transcripts(
    n: int, chrom_length: int, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Transcripts (span, strand, CDS) and exons (start, end), 1-based closed, ascending."""
    n_exons = np.clip(rng.negative_binomial(1.6, 1.6 / (1.6 + EXONS_PER_TRANSCRIPT - 1), n) + 1, 1, 90)
    row = np.repeat(np.arange(n), n_exons)
    sizes = np.clip(rng.lognormal(5.0, 0.7, len(row)), 20, 5000).astype(np.int64)
    gaps = np.clip(rng.lognormal(6.2, 1.0, len(row)), 30, 20_000).astype(np.int64)
    end = np.cumsum(sizes + gaps)
    first = np.cumsum(n_exons) - n_exons
    start = end - sizes
    end, start = end - start[first][row], start - start[first][row]
    span = end[np.cumsum(n_exons) - 1]
    place = (rng.random(n) * (chrom_length - span - 100)).astype(np.int64) + 1
    gene = np.arange(n) // 4
    transcripts = pl.DataFrame(
        {
            "row": np.arange(n),
            "chrom": [f"chr{1 + g % N_CHROMS}" for g in gene.tolist()],
            "strand": np.where(gene % 2 == 0, "+", "-"),
            "start": place,
            "end": place + span - 1,
            "gene": gene,
            "coding": rng.random(n) < 0.4,
        }
    )
    exons = pl.DataFrame({"row": row, "start": start + place[row], "end": end - 1 + place[row]})
    return transcripts, exons


def write_gtf(path: Path, transcripts: pl.DataFrame, exons: pl.DataFrame) -> int:
    """GENCODE-like lines with attributes of the usual length; returns the number of lines."""
    stem = pl.col("row").cast(pl.String).str.zfill(11)
    biotype = pl.when("coding").then(pl.lit("protein_coding")).otherwise(pl.lit("lncRNA"))
    transcripts = transcripts.with_columns(
        pl.format(
            'gene_id "ENSG{}.7"; transcript_id "ENST{}.2"; gene_type "{}"; gene_name "GENE{}"; transcript_type "{}"; '
            'transcript_name "GENE{}-201"; ',
            pl.col("gene").cast(pl.String).str.zfill(11),
            stem,
            biotype,
            "gene",
            biotype,
            "gene",
        ).alias("head"),
        pl.lit(
            'level 2; transcript_support_level "1"; hgnc_id "HGNC:14825"; tag "basic"; tag "Ensembl_canonical"; '
            'tag "MANE_Select"; tag "appris_principal_1"; ccdsid "CCDS30547.2"; havana_gene "OTTHUMG00000001094.4";'
        ).alias("tail"),
    )
    parts = exons.join(transcripts.select("row", "chrom", "strand", "head", "tail", "coding"), on="row")
    number = pl.int_range(1, pl.len() + 1).over("row")
    tail = pl.format('exon_number {}; exon_id "ENSE{}.1"; {}', number, stem, "tail")
    cds = parts.filter("coding").with_columns(tail.alias("tail"))
    parts = parts.with_columns(tail.alias("tail"))
    columns = ["row", "order", "chrom", "feature", "start", "end", "strand", "frame", "head", "tail"]

    def rows(frame: pl.DataFrame, feature: str, order: int, frame_text: str = ".") -> pl.DataFrame:
        fixed = [pl.lit(value).alias(name) for name, value in (("feature", feature), ("frame", frame_text))]
        return frame.with_columns(*fixed, pl.lit(order).alias("order")).select(columns)

    table = pl.concat(
        [rows(transcripts, "transcript", 0), rows(parts, "exon", 1), rows(cds, "CDS", 2, "0")]
    ).sort("row", "order", "start", maintain_order=True)
    table.select(
        "chrom",
        pl.lit("HAVANA").alias("source"),
        "feature",
        "start",
        "end",
        pl.lit(".").alias("score"),
        "strand",
        "frame",
        pl.concat_str("head", "tail"),
    ).write_csv(path, separator="\t", include_header=False, quote_style="never")
    return table.height


def write_gtex_slice(folder: Path, n_rows: int, rng: np.random.Generator) -> tuple[Path, Path]:
    """A `.gct.gz` with all sample columns of GTEx v8, and SampleAttributes."""
    names = [f"GTEX-{1000 + i // 18:X}-{i % 18:04d}-SM-{i:05X}" for i in range(N_SAMPLES)]
    attributes = folder / "SampleAttributesDS.txt"
    tissues = [f"Tissue {i % N_TISSUES:02d}" for i in range(N_SAMPLES)]
    rows = ["SAMPID\tSMATSSCR\tSMTS\tSMTSD"]
    rows += [f"{name}\t1\t{tissue}\t{tissue} - part" for name, tissue in zip(names, tissues, strict=True)]
    attributes.write_text("\n".join(rows) + "\n")
    table = folder / f"transcript_tpm_{n_rows}.gct.gz"
    pool = np.array(
        ["0" if rng.random() < 0.5 else f"{rng.exponential(3):.2f}" for _ in range(10_000)], dtype=object
    )
    with gzip.open(table, "wt", compresslevel=1) as out:
        out.write(f"#1.2\n{n_rows}\t{N_SAMPLES}\n" + "\t".join(["transcript_id", "gene_id", *names]) + "\n")
        for row in range(n_rows):
            values = "\t".join(pool[rng.integers(0, len(pool), N_SAMPLES)])
            out.write(f"ENST{row:011d}.3\tENSG{row // 4:011d}.5\t{values}\n")
    return table, attributes


def measure_genome(folder: Path) -> dict[str, float]:
    from cisoform.genome.annotation import read_annotation
    from cisoform.genome.fasta import Genome
    from cisoform.genome.transcripts import build_transcripts

    started = time.perf_counter()
    genome = Genome.open(folder / "genome.fa", cache_dir=folder / "cache")
    indexed = time.perf_counter()
    annotation = read_annotation(folder / "annotation.gtf")
    read = time.perf_counter()
    # The sequence is random, so the CDS cannot pass as real ones.
    made = build_transcripts(annotation, genome, check=False)
    built = time.perf_counter()
    return {
        "transcripts": len(made),
        "exons": len(annotation.exon_starts),
        "rna_bases": len(made.rna.data),
        "proteins": len(made.protein),
        "index_s": indexed - started,
        "read_gtf_s": read - indexed,
        "build_s": built - read,
        "total_s": built - started,
    }


def measure_expression(table: Path, attributes: Path) -> dict[str, float]:
    from cisoform.genome.expression import read_expression

    started = time.perf_counter()
    made = read_expression(table, samples=attributes)
    seconds = time.perf_counter() - started
    return {
        "rows": len(made),
        "samples": sum(made.n_samples),
        "tissues": len(made.columns),
        "total_s": seconds,
        "values_per_s": len(made) * sum(made.n_samples) / seconds,
    }


def peak_memory_gb() -> float:
    """High-water mark of this process; `ru_maxrss` would begin with that of the process that started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def in_own_process(*arguments: str) -> dict[str, float]:
    """Run one measurement in a fresh interpreter, so that its peak memory is its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="genome, expression (default: both)")
    parser.add_argument("--transcripts", type=int, default=250_000)
    parser.add_argument("--rows", type=int, default=2_000, help="rows of the larger expression slice")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--keep", type=Path, help="write the generated files here and keep them")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, *paths = options.measure
        result = (measure_genome if what == "genome" else measure_expression)(*map(Path, paths))
        usage = resource.getrusage(resource.RUSAGE_SELF)
        result["cpu_s"] = usage.ru_utime + usage.ru_stime
        result["peak_gb"] = peak_memory_gb()
        print(json.dumps(result))
        return
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(1)
        parts = options.parts or ["genome", "expression"]
        if "genome" in parts:
            length = write_genome(folder / "genome.fa", rng)
            n_lines = write_gtf(
                folder / "annotation.gtf", *draw_transcripts(options.transcripts, length, rng)
            )
            figures["genome"] = in_own_process("genome", str(folder)) | {
                "gtf_lines": n_lines,
                "gtf_gb": (folder / "annotation.gtf").stat().st_size / 1e9,
            }
        if "expression" in parts:
            for n_rows in (options.rows // 4, options.rows):
                paths = write_gtex_slice(folder, n_rows, rng)
                figures[f"expression_{n_rows}_rows"] = in_own_process("expression", *map(str, paths))
    for name, values in figures.items():
        print(name)
        for key, value in values.items():
            print(f"  {key:14s} {value:,.2f}" if isinstance(value, float) else f"  {key:14s} {value:,}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
