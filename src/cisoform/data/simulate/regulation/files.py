"""Text files and bigWigs of a regulatory simulation, one function each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cisoform.data.simulate.regulation.edits import Variant
from cisoform.data.simulate.regulation.genome import GAP, Gene
from cisoform.data.simulate.regulation.motifs import meme_lines
from cisoform.data.simulate.regulation.rules import Floats
from cisoform.data.simulate.regulation.simulation import Regulation
from cisoform.data.simulate.regulation.tracks import TRACKS, chip_table, runs, track_signal
from cisoform.data.simulate.regulation.truth import observed_log1p, peak_ids, variant_id
from cisoform.genome.sequence import decode_dna

FASTA_WIDTH = 60
CHIP_HALF_BP = 150
LEAST_OCCUPANCY = 0.3


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Text with Unix line ends; the folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(f"{line}\n" for line in lines)


def write_genome(regulation: Regulation, folder: Path, bgzip: bool) -> None:
    """`genome.fa` with its `.fai`, or `genome.fa.gz` (bgzip) with `.fai` and `.gzi`."""
    import pysam

    path = folder / "genome.fa"
    chromosomes = regulation.genome.chromosomes
    with path.open("w", encoding="ascii", newline="\n") as handle:
        for name, codes in chromosomes.items():
            text = decode_dna(codes)
            handle.write(f">{name}\n")
            handle.writelines(text[at : at + FASTA_WIDTH] + "\n" for at in range(0, len(text), FASTA_WIDTH))
    if bgzip:
        pysam.tabix_compress(str(path), f"{path}.gz")
        path.unlink()
        path = folder / "genome.fa.gz"
    pysam.faidx(str(path))


def gtf_lines(regulation: Regulation) -> Iterator[str]:
    """One protein-coding transcript per gene, in GENCODE's flavour: CDS without the stop codon."""
    yield "##description: simulated annotation with planted regulation"
    yield "##provider: cisoform simulate"
    yield "##format: gtf"
    for gene in regulation.genome.genes:
        chrom = regulation.genome.names[gene.chrom]
        for kind, (start, end), phase, attributes in _gtf_rows(gene):
            place = f"{chrom}\tSIMULATED\t{kind}\t{start + 1}\t{end}\t.\t{gene.strand}\t{phase}"
            yield f"{place}\t{attributes}"


def _gtf_rows(gene: Gene) -> Iterator[tuple[str, tuple[int, int], str, str]]:
    common = f'gene_id "{gene.gene_id}"; '
    kind = f'gene_type "protein_coding"; gene_name "{gene.name}"; '
    transcript = gene.gene_id.replace("SIMRG", "SIMRT")
    names = f'{common}transcript_id "{transcript}"; {kind}transcript_type "protein_coding"; '
    tail = f'transcript_name "{gene.name}-1"; level 2; tag "basic";'
    whole = (gene.start, gene.end)
    yield "gene", whole, ".", f"{common}{kind}level 2;"
    yield "transcript", whole, ".", names + tail
    forward = gene.strand == "+"
    exons = gene.exons if forward else gene.exons[::-1]
    for number, exon in enumerate(exons, 1):
        yield "exon", exon, ".", f"{names}exon_number {number}; {tail}"
    start, end = gene.cds
    coding = (start, end - 3) if forward else (start + 3, end)
    codons = (
        (("start_codon", start), ("stop_codon", end - 3))
        if forward
        else (
            ("start_codon", end - 3),
            ("stop_codon", start),
        )
    )
    yield "CDS", coding, "0", f"{names}exon_number 2; {tail}"
    for name, at in codons:
        yield name, (at, at + 3), "0", f"{names}exon_number 2; {tail}"


def peak_lines(regulation: Regulation) -> Iterator[str]:
    """Called peaks as BED: chrom, start, end, name."""
    for element in regulation.genome.elements:
        yield f"{regulation.genome.names[element.chrom]}\t{element.start}\t{element.end}\t{element.name}"


def gap_lines(regulation: Regulation) -> Iterator[str]:
    """Stretches of N as BED, to be used as a blacklist."""
    yield from (f"{name}\t{GAP[0]}\t{GAP[1]}\tgap" for name in regulation.genome.names)


def motif_lines(regulation: Regulation) -> Iterator[str]:
    """MEME text of all TFs, decoys included."""
    return meme_lines([(tf.name, tf.motif) for tf in regulation.roster.tfs])


def cell_lines(regulation: Regulation) -> Iterator[str]:
    """Cell metadata."""
    cells = regulation.cells
    umi = np.asarray(cells.rna.sum(1)).reshape(-1).tolist()
    fragments = np.bincount(cells.fragments.barcode, minlength=len(cells.barcodes)).tolist()
    yield "barcode\tcell_type\tstate\tgroup\tn_umi\tn_fragments"
    for number, group_number in enumerate(cells.group.tolist()):
        group = regulation.activity.groups[group_number]
        names = f"{cells.barcodes[number]}\t{group.cell_type}\t{group.state}\t{group.name}"
        yield f"{names}\t{umi[number]}\t{fragments[number]}"


def expression_lines(regulation: Regulation) -> Iterator[str]:
    """Observed CP10k (linear) of the pseudobulks, gene by group."""
    yield "\t".join(["gene_id", "gene_name", *regulation.group_names])
    for gene, row in zip(regulation.genome.genes, np.expm1(observed_log1p(regulation)).tolist(), strict=True):
        yield "\t".join([gene.gene_id, gene.name, *(f"{value:.6g}" for value in row)])


def split_lines(regulation: Regulation) -> Iterator[str]:
    """Part of every chromosome."""
    yield "chrom\tsplit"
    yield from (f"{chrom}\t{part}" for chrom, part in regulation.chromosome_split.items())


def write_tracks(regulation: Regulation, levels: dict[str, Floats], folder: Path) -> None:
    """A bigWig per group and track under `tracks/`, and `tracks.tsv` with paths relative to itself."""
    import pybigtools

    (folder / "tracks").mkdir(exist_ok=True)
    genome = regulation.genome
    sizes = dict(zip(genome.names, genome.sizes.tolist(), strict=True))
    rows = ["sample\ttrack\tpath"]
    for number, group in enumerate(regulation.group_names):
        for track in TRACKS:
            name = f"tracks/{group}.{track}.bw"
            signal, step = track_signal(regulation.config, genome, regulation.readout, levels, number, track)
            pybigtools.open(str(folder / name), "w").write(sizes, runs(genome, signal, step))
            rows.append(f"{group}\t{track}\t{name}")
    write_lines(folder / "tracks.tsv", rows)


def write_chip(regulation: Regulation, folder: Path) -> None:
    """`chip/TF.bed` over all groups and `chip/GROUP/TF.bed`; the score is 1,000 times the occupancy.

    A TF that binds nowhere in a group has no file there; decoys have none at all.
    """
    table = chip_table(regulation.activity, regulation.roster, regulation.genome, regulation.book)
    groups = regulation.group_names
    for tf, occupancy in table.items():
        bound = occupancy >= LEAST_OCCUPANCY
        where = [
            ",".join(name for name, yes in zip(groups, row, strict=True) if yes) for row in bound.tolist()
        ]
        _chip_file(regulation, folder / "chip" / f"{tf}.bed", occupancy.max(1), where)
        for column, group in enumerate(groups):
            _chip_file(regulation, folder / "chip" / group / f"{tf}.bed", occupancy[:, column], None)


def _chip_file(regulation: Regulation, path: Path, occupancy: Floats, where: list[str] | None) -> None:
    genome = regulation.genome
    rows = []
    for number in np.flatnonzero(occupancy >= LEAST_OCCUPANCY).tolist():
        element = genome.elements[number]
        start, end = element.mid - CHIP_HALF_BP, element.mid + CHIP_HALF_BP
        text = f"{genome.names[element.chrom]}\t{start}\t{end}\t{element.name}\t{round(1000 * occupancy[number])}\t."
        rows.append(text if where is None else f"{text}\t{where[number]}")
    if rows:
        write_lines(path, rows)


def vcf_lines(regulation: Regulation, variants: list[Variant]) -> Iterator[str]:
    """The variants, sites only; what they do is in truth/variants.parquet."""
    peaks = peak_ids(regulation)
    yield "##fileformat=VCFv4.2"
    yield "##source=cisoform simulate"
    for name, size in zip(regulation.genome.names, regulation.genome.sizes.tolist(), strict=True):
        yield f"##contig=<ID={name},length={size}>"
    yield '##INFO=<ID=PEAK,Number=1,Type=String,Description="Peak in which the variant lies">'
    yield "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    for number, variant in enumerate(variants, 1):
        place = f"{regulation.genome.names[variant.chrom]}\t{variant.position + 1}\t{variant_id(number)}"
        yield f"{place}\t{variant.ref}\t{variant.alt}\t.\tPASS\tPEAK={peaks[variant.element]}"
