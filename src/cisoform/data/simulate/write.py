"""The files of a simulation. Same simulation, same bytes; the folder takes its name only when it is complete."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate import chromatin
from cisoform.data.simulate import rules as planted_rules
from cisoform.data.simulate.config import MODALITY_OF_RULE, RULES
from cisoform.data.simulate.expression import ceiling, ceiling_on, modality_ceilings
from cisoform.data.simulate.genes import Isoform, Span
from cisoform.data.simulate.genome import PlacedGene, planted
from cisoform.data.simulate.readme import readme_text
from cisoform.data.simulate.simulation import SPLITS, Simulation
from cisoform.genome.files import atomic_directory
from cisoform.genome.sequence import decode_dna

if TYPE_CHECKING:
    import polars

FASTA_WIDTH = 60
TRUTH_FORMAT = 1


def write_simulation(
    simulation: Simulation, out: str | os.PathLike[str], *, bgzip: bool = False, overwrite: bool = False
) -> Path:
    """Write every file of a simulation into a new folder.

    Args:
        simulation: What to write.
        out: Folder; an existing one that is not empty is an error unless `overwrite`.
        bgzip: Write `genome.fa.gz` (bgzip) instead of `genome.fa`.
        overwrite: Replace an existing folder.

    Raises:
        InputError: If the folder cannot be written.
    """
    with atomic_directory(out, overwrite=overwrite) as folder:
        write_fasta(simulation, folder, bgzip)
        _write_lines(folder / "annotation.gtf", gtf_lines(simulation))
        _write_expression(simulation, folder)
        _write_lines(folder / "variants.vcf", vcf_lines(simulation))
        _write_lines(folder / "elements.bed", bed_lines(simulation))
        if simulation.config.has_tracks:
            chromatin.write_tracks(simulation.config, simulation.genome, folder)
        truth_table(simulation).write_parquet(folder / "truth.parquet")
        (folder / "truth.json").write_text(json.dumps(truth(simulation), indent=1, allow_nan=False) + "\n")
        (folder / "README.txt").write_text(readme_text(simulation))
    return Path(out)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(f"{line}\n" for line in lines)


def write_fasta(simulation: Simulation, folder: Path, bgzip: bool) -> None:
    """`genome.fa` with its `.fai`, or the bgzip form with `.fai` and `.gzi`."""
    path = folder / "genome.fa"
    index, offset = [], 0
    with path.open("w", encoding="ascii", newline="\n") as handle:
        for name, codes in simulation.genome.chromosomes.items():
            text = decode_dna(codes)
            offset += handle.write(f">{name}\n")
            index.append(f"{name}\t{len(text)}\t{offset}\t{FASTA_WIDTH}\t{FASTA_WIDTH + 1}")
            for start in range(0, len(text), FASTA_WIDTH):
                offset += handle.write(text[start : start + FASTA_WIDTH] + "\n")
    if not bgzip:
        _write_lines(folder / "genome.fa.fai", index)
        return
    import pysam

    pysam.tabix_compress(str(path), f"{path}.gz")
    pysam.faidx(f"{path}.gz")
    path.unlink()


def gtf_lines(simulation: Simulation) -> Iterator[str]:
    """The annotation in GENCODE's flavour: CDS without the stop codon, exons numbered along the transcript."""
    yield "##description: simulated annotation with planted expression rules"
    yield "##provider: cisoform simulate"
    yield "##format: gtf"
    for placed in simulation.genome.genes:
        spans = [span for isoform in placed.gene.isoforms for span in isoform.exons]
        whole = placed.span((min(start for start, _ in spans), max(end for _, end in spans)))
        name = f'gene_type "{placed.gene.biotype}"; gene_name "{placed.gene_id.replace("SIMG", "GENE")}"; level 2;'
        yield _gtf_row(placed, "gene", whole, ".", f'gene_id "{placed.gene_id}"; {name}')
        for transcript_id, isoform in zip(placed.transcript_ids, placed.gene.isoforms, strict=True):
            yield from _transcript_rows(placed, transcript_id, isoform)


def _transcript_rows(placed: PlacedGene, transcript_id: str, isoform: Isoform) -> Iterator[str]:
    common = (
        f'gene_id "{placed.gene_id}"; transcript_id "{transcript_id}"; gene_type "{placed.gene.biotype}"; '
        f'gene_name "{placed.gene_id.replace("SIMG", "GENE")}"; transcript_type "{isoform.biotype}"; '
        f'transcript_name "{transcript_id.replace("SIMT", "GENE-")}"; '
    )
    protein = f'protein_id "{transcript_id.replace("SIMT", "SIMP")}"; ' if isoform.cds else ""
    tail = f'level 2; {protein}tag "basic";'
    whole = placed.span((isoform.exons[0][0], isoform.exons[-1][1]))
    yield _gtf_row(placed, "transcript", whole, ".", common + tail)
    done = 0
    for number, exon in enumerate(isoform.exons, 1):
        text = f'{common}exon_number {number}; exon_id "{transcript_id.replace("SIMT", "SIME")}.{number}"; {tail}'
        yield _gtf_row(placed, "exon", placed.span(exon), ".", text)
        if isoform.cds is None:
            continue
        start, stop = isoform.cds
        for kind, part in (
            ("CDS", (start, stop - 3)),
            ("start_codon", (start, start + 3)),
            ("stop_codon", (stop - 3, stop)),
            ("UTR", (0, start)),
            ("UTR", (stop, isoform.exons[-1][1])),
        ):
            shared = max(exon[0], part[0]), min(exon[1], part[1])
            if shared[0] >= shared[1]:
                continue
            phase = "."
            if kind == "CDS":
                phase, done = str(-done % 3), done + shared[1] - shared[0]
            elif kind != "UTR":
                phase = "0"
            yield _gtf_row(placed, kind, placed.span(shared), phase, text)


def _gtf_row(placed: PlacedGene, kind: str, span: Span, phase: str, attributes: str) -> str:
    place = f"{placed.chrom}\tSIMULATED\t{kind}\t{span[0] + 1}\t{span[1]}\t.\t{placed.strand}\t{phase}"
    return f"{place}\t{attributes}"


def _write_expression(simulation: Simulation, folder: Path) -> None:
    """Expression by transcript and by gene, replicates with their sample table, and the split by gene."""
    tissues = list(simulation.config.tissues)
    ids, genes = simulation.genome.transcript_ids, simulation.genome.gene_ids
    tpm = simulation.expression.tpm
    keys = [f"{transcript}\t{gene}" for transcript, gene in zip(ids, genes, strict=True)]
    _write_lines(folder / "expression.tsv", _table("transcript_id\tgene_id", tissues, keys, tpm))
    samples = [
        f"{tissue}_{number + 1}" for tissue in tissues for number in range(simulation.config.replicates)
    ]
    values = simulation.expression.replicates.transpose(1, 2, 0).reshape(len(ids), -1)
    _write_lines(folder / "replicates.tsv", _table("transcript_id\tgene_id", samples, keys, values))
    of_sample = (f"{sample}\t{sample.rsplit('_', 1)[0]}" for sample in samples)
    _write_lines(folder / "samples.tsv", ["sample\ttissue", *of_sample])
    names, row = np.unique(genes, return_inverse=True)
    total = np.zeros((len(names), len(tissues)))
    np.add.at(total, row, tpm)
    _write_lines(
        folder / "gene_expression.tsv", _table("gene_id", tissues, [str(name) for name in names], total)
    )
    split = dict(zip(genes, simulation.split, strict=True))
    _write_lines(
        folder / "splits.tsv", ["gene_id\tsplit", *(f"{gene}\t{part}" for gene, part in split.items())]
    )


def _table(
    key: str, columns: Sequence[str], keys: Sequence[str], values: npt.NDArray[np.float64]
) -> Iterator[str]:
    yield "\t".join([key, *columns])
    for name, row in zip(keys, values.tolist(), strict=True):
        yield "\t".join([name, *(f"{value:.6g}" for value in row)])


def vcf_lines(simulation: Simulation) -> Iterator[str]:
    """The variants, sites only; INFO tells the gene and what the variant was made to do."""
    yield "##fileformat=VCFv4.2"
    yield "##source=cisoform simulate"
    for name, codes in simulation.genome.chromosomes.items():
        yield f"##contig=<ID={name},length={len(codes)}>"
    yield '##INFO=<ID=GENE,Number=1,Type=String,Description="Gene whose rules the variant may touch">'
    yield '##INFO=<ID=KIND,Number=1,Type=String,Description="What the variant was made to do; see truth.json">'
    yield "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    for number, variant in enumerate(simulation.variants, 1):
        info = f"GENE={variant.gene_id};KIND={variant.kind}"
        place = f"{variant.chrom}\t{variant.position}\t{variant_id(number)}"
        yield f"{place}\t{variant.ref}\t{variant.alt}\t.\tPASS\t{info}"


def variant_id(number: int) -> str:
    """Id of the n-th variant, counted from 1."""
    return f"SIMV{number:06d}"


def bed_lines(simulation: Simulation) -> Iterator[str]:
    """Planted sites, forward coordinates: name is MOTIF|GENE|acts or MOTIF|GENE|decoy."""
    order = {chrom: number for number, chrom in enumerate(simulation.genome.chromosomes)}
    rows = [
        (
            order[gene.chrom],
            *span,
            f"{element.name}|{gene.gene_id}|{'acts' if element.acts else 'decoy'}",
            gene,
        )
        for gene, element, span in planted(simulation.genome)
    ]
    for _, start, end, name, gene in sorted(rows, key=lambda row: row[:4]):
        yield f"{gene.chrom}\t{start}\t{end}\t{name}\t0\t{gene.strand}"


def truth_table(simulation: Simulation) -> polars.DataFrame:
    """One row per transcript: split, features, contribution of each rule in each tissue, noise-free value."""
    import polars

    columns: dict[str, Any] = {
        "transcript_id": simulation.genome.transcript_ids,
        "gene_id": simulation.genome.gene_ids,
        "split": simulation.split,
    }
    for rule in RULES:
        for at, name in enumerate(simulation.book.features[rule]):
            columns[f"feature:{rule}:{name}"] = simulation.features[rule][:, at]
    for at, tissue in enumerate(simulation.config.tissues):
        for rule, effect in simulation.expression.contributions.items():
            columns[f"effect:{rule}:{tissue}"] = effect[:, at]
        columns[f"noise_free:{tissue}"] = simulation.expression.noise_free[:, at]
    return polars.DataFrame(columns)


def truth(simulation: Simulation) -> dict[str, Any]:
    """What was planted and what can be reached: the content of `truth.json`."""
    config, expression, tissues = simulation.config, simulation.expression, simulation.config.tissues

    def by_tissue(values: npt.NDArray[np.float64]) -> dict[str, float]:
        return {tissue: round(float(value), 6) for tissue, value in zip(tissues, values, strict=True)}

    split = np.array(simulation.split)
    total = expression.noise_free.var(axis=0) + expression.noise_variance
    shares = {
        rule: by_tissue(effect.var(axis=0) / total) for rule, effect in expression.contributions.items()
    }
    settings = asdict(config) | {"rules": [rule for rule in RULES if rule in config.rules]}
    if not config.has_tracks:
        del settings["shares"]["chromatin"]
    return {
        "format": TRUTH_FORMAT,
        "config": settings,
        "scale": "log1p(TPM)",
        "tissues": list(tissues),
        "base": by_tissue(expression.base),
        "rules": {rule: _rule(simulation, rule) for rule in RULES} | _chromatin(simulation),
        "variance_shares": shares | {"noise": by_tissue(expression.noise_variance / total)},
        "noise_variance": round(expression.noise_variance, 9),
        "ceiling_r2": {
            "attainable": by_tissue(ceiling(expression)),
            **{
                f"on_{name}": by_tissue(ceiling_on(expression, np.flatnonzero(split == name)))
                for name, _ in SPLITS
                if (split == name).sum() > 1
            },
        },
        "modality_r2": {name: by_tissue(values) for name, values in modality_ceilings(expression).items()},
        "variants": [
            asdict(variant) | {"id": variant_id(number)}
            for number, variant in enumerate(simulation.variants, 1)
        ],
    }


def _chromatin(simulation: Simulation) -> dict[str, Any]:
    """The rule that reads no sequence: which starts are open in which tissue."""
    config = simulation.config
    if not config.has_tracks:
        return {}
    places, _ = chromatin.starts(simulation.genome)
    states = chromatin.open_states(config, len(places))
    effect = float(np.ptp(simulation.expression.contributions[chromatin.RULE]))
    opened = [
        {
            "chrom": chrom,
            "tss": tss,
            "strand": strand,
            "tissues": [name for name, yes in zip(config.tissues, row, strict=True) if yes],
        }
        for (chrom, tss, strand), row in zip(places, states.tolist(), strict=True)
    ]
    return {chromatin.RULE: {"acts": True, "open_minus_closed": effect, "open": opened}}


def _rule(simulation: Simulation, rule: str) -> dict[str, Any]:
    """A rule with everything needed to compute it: (feature - centre) x weights x scale."""
    motifs = dict((planted_rules.SHARED_MOTIF, *planted_rules.SPECIFIC_MOTIFS, *planted_rules.UTR3_MOTIFS))
    names = simulation.book.features[rule]
    details: dict[str, dict[str, Any]] = {
        "promoter": {
            "motifs": {name: motifs[name] for name in names if name in motifs},
            "distance_bp": planted_rules.DISTANCE_KNOTS_BP,
            "distance_weight": planted_rules.DISTANCE_WEIGHTS,
            "strength_by_mismatches": planted_rules.MISMATCH_STRENGTH,
            "max_sites": planted_rules.MAX_SITES,
        },
        "uorf": {
            "context": "[AG]NNATGG, in-frame stop inside the 5'UTR",
            "max_uorfs": planted_rules.MAX_UORFS,
        },
        "utr3": {
            "motifs": {name: motifs[name] for name in names if name in motifs},
            "strength_by_mismatches": planted_rules.MISMATCH_STRENGTH,
            "max_sites": planted_rules.MAX_SITES,
        },
        "codon": {"favoured_third_bases": planted_rules.FAVOURED_THIRD_BASES},
        "protein": {
            "raising_residues": planted_rules.RAISING_RESIDUES,
            "lowering_residues": planted_rules.LOWERING_RESIDUES,
            "presequence_residues": planted_rules.PRESEQUENCE_RESIDUES,
            "presequence_length": planted_rules.PRESEQUENCE_LENGTH,
        },
    }
    return {
        "modality": MODALITY_OF_RULE[rule],
        "acts": rule in simulation.config.rules and simulation.scaling.scale[rule] > 0,
        "features": list(names),
        "centre": simulation.scaling.centre[rule][0].tolist(),
        "weights": simulation.book.weights[rule].tolist(),
        "scale_factor": simulation.scaling.scale[rule],
        **details[rule],
    }
