"""Rows of variants x transcripts, and of the alleles of a VCF file, as tables. Positions count from 1 in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import stdtrit

from cisoform.analysis.isoform_variants import GONE, Effects
from cisoform.genome.annotate import Structures
from cisoform.genome.transcripts import TranscriptSet
from cisoform.genome.vcf_records import Records

Numbers = npt.NDArray[np.float64]

_NUMBERS = (
    "rna_position",
    "cds_position",
    "protein_position",
    "protein_length",
    "protein_length_alternative",
)


def effects_table(
    effects: Effects,
    records: Records,
    transcripts: TranscriptSet,
    structures: Structures,
    haplotypes: bool,
    tissues: Sequence[str] | None,
    values: Numbers,
) -> pl.DataFrame:
    """A row for every pair.

    Args:
        effects: The pairs.
        records: Their alleles.
        transcripts: Their transcripts.
        structures: The same.
        haplotypes: Units are haplotypes: add how many alleles each has, and who carries it.
        tissues: Names of the predicted columns; None = no expression.
        values: log1p expression `(members, versions, tissues)`.
    """
    rows = effects.annotated.transcript.tolist()
    about = transcripts.table[rows] if rows else transcripts.table.clear()
    columns: dict[str, Any] = _names(effects, records, haplotypes)
    columns |= {name: about[name] for name in ("transcript_id", "gene_id", "gene_name", "strand")}
    columns |= _consequences(effects, rows, about["n_exons"].to_list(), structures)
    texts = [
        "variant",
        *(["pos"] if haplotypes else []),
        "chrom",
        "ref",
        "alt",
        "carriers",
        "consequence",
        "exon",
        "intron",
        "amino_acids",
    ]
    texts += ["lost_splice_sites", "resplicing", "nmd", "changed"]
    types: dict[str, Any] = {name: pl.String for name in texts if name in columns}
    types |= {name: pl.Int64 for name in ("n_variants", "n_carriers", *_NUMBERS) if name in columns}
    types.setdefault("pos", pl.Int64)
    table = pl.DataFrame(columns, schema_overrides=types)
    return table if tissues is None else table.hstack(_expression(effects, tissues, values))


def _names(effects: Effects, records: Records, haplotypes: bool) -> dict[str, Any]:
    """What identifies the variant or haplotype of every pair; of a haplotype all alleles, with ; between them."""
    units = [effects.units[unit] for unit in effects.annotated.variant.tolist()]
    groups = [[records.read[number] for number in unit.alleles] for unit in units]
    names: dict[str, Any] = {
        "variant": [";".join(a.name or a.key for a in group) for group in groups],
        "chrom": [group[0].chrom for group in groups],
        "pos": [group[0].position + 1 for group in groups],
        "ref": [";".join(a.ref for a in group) for group in groups],
        "alt": [";".join(a.alt for a in group) for group in groups],
    }
    if haplotypes:
        names["pos"] = [";".join(str(a.position + 1) for a in group) for group in groups]
        names["n_variants"] = [len(group) for group in groups]
        names["n_carriers"] = [len(unit.carriers) for unit in units]
        names["carriers"] = [",".join(unit.carriers) for unit in units]
    return names


def _consequences(
    effects: Effects, rows: list[int], n_exons: list[int], structures: Structures
) -> dict[str, Any]:
    found = effects.annotated.consequence
    n_introns = {row: len(structures.get(row).introns) for row in set(rows)}
    length = {row: len(structures.get(row).protein) for row in n_introns}
    after = [
        0 if changed == GONE else length[row] if product is None else _length(product.protein)
        for changed, row, product in zip(effects.changed, rows, effects.products, strict=True)
    ]
    return {
        "consequence": ["&".join(one.terms) for one in found],
        "exon": [f"{one.exon}/{n}" if one.exon else "" for one, n in zip(found, n_exons, strict=True)],
        "intron": [
            f"{one.intron}/{n_introns[row]}" if one.intron else ""
            for one, row in zip(found, rows, strict=True)
        ],
        "rna_position": [_one_based(one.rna_position) for one in found],
        "cds_position": [_one_based(one.cds_position) for one in found],
        "protein_position": [_one_based(one.protein_position) for one in found],
        "amino_acids": [one.amino_acids for one in found],
        "protein_length": [length[row] for row in rows],
        "protein_length_alternative": after,
        "lost_splice_sites": [
            ";".join(f"{'donor' if site.donor else 'acceptor'} {site.intron}" for site in one.lost_sites)
            for one in found
        ],
        "resplicing": effects.resplicing,
        "nmd": effects.nmd,
        "changed": effects.changed,
    }


def _one_based(position: int) -> int | None:
    return None if position < 0 else position + 1


def _length(protein: npt.NDArray[np.uint8] | None) -> int:
    return 0 if protein is None else len(protein)


def _expression(effects: Effects, tissues: Sequence[str], values: Numbers) -> pl.DataFrame:
    """Reference, alternative and difference of every pair and tissue; over an ensemble the mean and a 95 % interval.

    The interval is Student's t over the members. Where nothing changes the difference is 0 and nothing is predicted.
    """
    n_models, ref, alt = len(values), effects.reference, effects.alternative
    same = np.array([not text for text in effects.changed], dtype=bool) & (ref < 0)
    columns: dict[str, Numbers] = {}
    for tissue, name in enumerate(tissues):
        before, after = (np.full((n_models, len(ref)), np.nan) for _ in range(2))
        before[:, ref >= 0] = values[:, ref[ref >= 0], tissue]
        after[:, alt >= 0] = values[:, alt[alt >= 0], tissue]
        change = after - before
        change[:, same] = 0.0
        mean = change.mean(axis=0)
        columns[f"reference.{name}"] = before.mean(axis=0)
        columns[f"alternative.{name}"] = after.mean(axis=0)
        columns[f"difference.{name}"] = mean
        if n_models > 1:
            half = stdtrit(n_models - 1, 0.975) * change.std(axis=0, ddof=1) / np.sqrt(n_models)
            columns[f"low.{name}"], columns[f"high.{name}"] = mean - half, mean + half
    return pl.DataFrame(columns).with_columns(pl.all().fill_nan(None))


def records_table(records: Records, effects: Effects) -> pl.DataFrame:
    """A row for every allele of the file: what became of it, and how many transcripts it reaches."""
    reached: dict[int, set[int]] = {}
    pairs = zip(effects.annotated.variant.tolist(), effects.annotated.transcript.tolist(), strict=True)
    for unit, row in pairs:
        for number in effects.units[unit].alleles:
            reached.setdefault(number, set()).add(row)
    return pl.DataFrame(
        {
            "line": [allele.line for allele in records.read],
            "variant": [allele.name or allele.key for allele in records.read],
            "chrom": [allele.chrom for allele in records.read],
            "pos": [allele.position + 1 for allele in records.read],
            "ref": [allele.ref for allele in records.read],
            "alt": [allele.alt for allele in records.read],
            "status": records.status,
            "detail": records.detail,
            "n_transcripts": [len(reached.get(number, ())) for number in range(len(records.read))],
        }
    )
