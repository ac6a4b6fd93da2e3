"""Variants of a VCF file on the transcripts of an annotation: consequences, and expression of both alleles.

The file is read in blocks: only the transcripts in reach of a block are spliced, only those that it changes are
predicted, and the tables come out part by part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.haplotypes import resolve, units_of_haplotypes
from cisoform.analysis.isoform_variants import (
    NMD_BP,
    Effects,
    effects_of,
    nmd_by_default,
    origin_of,
    pairs_of_alleles,
    status_of_unreached,
    units_of_alleles,
)
from cisoform.data.edited_samples import edited_samples
from cisoform.data.from_annotation import dropped_warnings
from cisoform.errors import InputError
from cisoform.genome.annotate import Structures
from cisoform.genome.annotation import Annotation, read_annotation
from cisoform.genome.fasta import Genome
from cisoform.genome.names import ChromosomeMap, map_chromosomes
from cisoform.genome.touched import Spans, find_pairs
from cisoform.genome.transcripts import TranscriptSet, build_transcripts
from cisoform.genome.vcf_blocks import Block, Gaps, count_alleles, read_blocks
from cisoform.genome.vcf_records import (
    MISMATCH,
    NO_TRANSCRIPT,
    USABLE,
    Checker,
    Records,
    contig_lengths,
)
from cisoform.jobs.isoform_expression import Expression
from cisoform.jobs.isoform_variant_tables import effects_table, records_table

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Update = Callable[[float, float], None]

BLOCK = 2000
"""Alleles that are worked on at a time."""
CHECKED = 2000
"""Transcripts by which annotation and genome are compared, from all over the annotation."""
WINDOW_BYTES = 128 << 20
"""DNA windows that are held at a time."""
_MARGIN_BP = 16


@dataclass(frozen=True, kw_only=True)
class VariantOptions:
    """How variants are read.

    Attributes:
        haplotypes: Alleles of one chromosome of a sample together, by the file's genotypes.
        resplice: `skip` or `retain` beside a lost splice site; None = splice at the old borders.
        nmd: Whether the 50-55 nt rule is applied; None = where half of the coding transcripts have introns.
        nmd_bp: Its distance.
        code_table: NCBI genetic code of the nuclear genome.
        block: Alleles that are worked on at a time; the result does not depend on it.
    """

    haplotypes: bool = False
    resplice: str | None = None
    nmd: bool | None = None
    nmd_bp: int = NMD_BP
    code_table: int = 1
    block: int = BLOCK


@dataclass(frozen=True)
class Part:
    """What came out of some alleles.

    Attributes:
        effects: A row for every variant (or haplotype) and transcript in reach.
        records: A row for every allele: what became of it.
        predicted: Versions of transcripts that were predicted, references among them.
    """

    effects: pl.DataFrame
    records: pl.DataFrame
    predicted: int


@dataclass
class IsoformVariants:
    """Files that fit together and how to read them; `parts` does the work.

    Attributes:
        model: Predicts expression; mean and interval of an ensemble. None = consequences alone.
        genome: The genome.
        annotation: Its transcripts.
        vcf: Variants.
        n_alleles: Alleles of the file.
        options: How to read them.
        warnings: Lines for the user; complete once the last part is out.
    """

    model: Expression | None
    genome: Genome
    annotation: Annotation
    vcf: Path
    n_alleles: int
    options: VariantOptions
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        model: Expression | None,
        genome_path: Path,
        annotation_path: Path,
        vcf: Path,
        options: VariantOptions | None = None,
    ) -> IsoformVariants:
        """Read what all parts need, and look at every line of the VCF file.

        Raises:
            InputError: If a file is damaged, annotation and genome do not fit, or no allele of a small file can be
                scored.
        """
        options = options or VariantOptions()
        genome = Genome.open(genome_path)
        n_alleles = count_alleles(vcf)
        if n_alleles <= options.block:  # before the annotation of a large genome is read
            checker = Checker(genome.chroms, contig_lengths(vcf), genome.fetch)
            seen = [checker.check(block.alleles) for block in read_blocks(vcf, n_alleles)]
            _refuse_none(vcf, Counter(seen[0].status), seen[0])
        annotation = read_annotation(annotation_path)
        step = max(1, len(annotation) // CHECKED)
        some = annotation.take(np.arange(0, len(annotation), step))
        checked = build_transcripts(some, genome, options.code_table)
        found = cls(model, genome, annotation, vcf, n_alleles, options)
        found.warnings += [found._chromosomes.text, *dropped_warnings(checked)]
        return found

    @property
    def nmd(self) -> bool:
        """Whether the rule of nonsense-mediated decay is applied."""
        return nmd_by_default(self.annotation) if self.options.nmd is None else self.options.nmd

    @cached_property
    def _chromosomes(self) -> ChromosomeMap:
        names = self.annotation.transcripts["chrom"].unique(maintain_order=True)
        return map_chromosomes(names, self.genome.chroms)

    @property
    def reach(self) -> tuple[int, int]:
        """Bases before the start, and from it on, that the model reads."""
        return (0, 0) if self.model is None else self.model.reach

    @cached_property
    def _spans(self) -> Spans:
        """What every transcript reaches, with room to spare; chromosomes by their number in the genome."""
        table = self.annotation.transcripts
        number = {name: index for index, name in enumerate(self.genome.chroms)}
        names = self._chromosomes.names
        chrom = [number.get(names.get(name, ""), -1) for name in table["chrom"].to_list()]
        wide = max(self.reach)
        low, high = table["start"].to_numpy().astype(np.int64), table["end"].to_numpy().astype(np.int64)
        return Spans(np.array(chrom, dtype=np.int64), low - wide, high + wide)

    def parts(self, update: Update | None = None) -> Iterator[Part]:
        """Tables of the file, block by block.

        Args:
            update: Is told how many of how many alleles are done.

        Raises:
            InputError: If no allele can be scored, or genotypes are asked for that are not there.
        """
        checker = Checker(self.genome.chroms, contig_lengths(self.vcf), self.genome.fetch)
        gaps = Gaps(list(self.genome.chroms), self._spans)

        def reach_end(chrom: str, position: int) -> int:
            return gaps.end(checker.name(chrom), position)

        counts = Counter[str]()
        first: Records | None = None
        done = 0
        blocks = read_blocks(self.vcf, self.options.block, reach_end if self.options.haplotypes else None)
        for block in blocks:
            records, begun, n = checker.check(block.alleles), done, len(block.alleles)
            part = self._part(block, records, _within(update, begun, n, self.n_alleles))
            first = first or records
            counts.update(records.status)
            done += n
            if update is not None:
                update(done, self.n_alleles)
            yield part
        assert first is not None
        _refuse_none(self.vcf, counts, first)
        wrong = counts[MISMATCH]
        if 2 * wrong > self.n_alleles:
            self.warnings.append(
                f"{self.vcf}: REF of {wrong:,} of {self.n_alleles:,} alleles is not what the genome has; "
                "the file is probably of another assembly"
            )

    def _part(self, block: Block, records: Records, update: Callable[[float], None]) -> Part:
        options = self.options
        transcripts = self._transcripts(records)
        structures = Structures(transcripts, options.code_table)
        chromosome = lru_cache(maxsize=2)(self.genome.chromosome)
        units = units_of_alleles(records)
        variant, row = pairs_of_alleles(units, transcripts, *self.reach)
        if options.haplotypes:
            kept = resolve(records, block.genotypes)
            units, variant, row = units_of_haplotypes(records, kept, units, variant, row)
        status_of_unreached(records, units, variant, NO_TRANSCRIPT)
        effects = effects_of(
            units,
            variant,
            row,
            transcripts,
            chromosome,
            reach=self.reach,
            nmd_bp=options.nmd_bp if self.nmd else None,
            resplice=options.resplice,
            structures=structures,
        )
        values = self._values(effects, transcripts, chromosome, update)
        tissues = None if self.model is None else self.model.tissues
        table = effects_table(effects, records, transcripts, structures, options.haplotypes, tissues, values)
        return Part(table, records_table(records, effects), len(effects.versions))

    def _transcripts(self, records: Records) -> TranscriptSet:
        """Transcripts in reach of a usable allele; one at least, so that tables have their columns."""
        number = {name: index for index, name in enumerate(self.genome.chroms)}
        alleles = [records.alleles[index] for index in records.usable]
        place = [(number[a.chrom], a.position, a.position + len(a.ref)) for a in alleles]
        found = np.array(place, dtype=np.int64).reshape(-1, 3)
        _, touched = find_pairs(Spans(found[:, 0], found[:, 1], found[:, 2]), self._spans)
        known = np.flatnonzero(self._spans.chrom >= 0)[:1]
        rows = np.unique(np.concatenate([touched, known]))
        return build_transcripts(
            self.annotation.take(rows), self.genome, self.options.code_table, check=False
        )

    def _values(
        self,
        effects: Effects,
        transcripts: TranscriptSet,
        chromosome: Callable[[str], Codes],
        update: Callable[[float], None],
    ) -> Numbers:
        """log1p expression `(members, versions, tissues)`, a bounded number of windows at a time."""
        model, versions = self.model, effects.versions
        if model is None:
            return np.zeros((0, len(versions), 0))
        values = np.zeros((model.members, len(versions), len(model.tissues)))
        origin, reach = origin_of(transcripts), model.reach
        size = max(64, WINDOW_BYTES // (2 * max(*reach, 1)))
        for low in range(0, len(versions), size):
            some = versions[low : low + size]

            def told(done: int, total: int, low: int = low, n: int = len(some)) -> None:
                update((low + n * done / max(total, 1)) / len(versions))

            samples = edited_samples(some, origin, chromosome, *reach, _MARGIN_BP)
            values[:, low : low + size] = model.values(samples, told)
        return values


def _within(update: Update | None, begun: int, n: int, total: int) -> Callable[[float], None]:
    """Takes the share of a block that is done."""

    def told(share: float) -> None:
        if update is not None:
            update(begun + n * share, total)

    return told


def _refuse_none(vcf: Path, counts: Counter[str], first: Records) -> None:
    """Refuse a file none of whose alleles could be used."""
    if any(status in counts for status in (USABLE, NO_TRANSCRIPT)):
        return
    shown = ", ".join(f"{n:,} {status}" for status, n in counts.most_common())
    allele = first.read[0]
    hint = "; is it of another assembly?" if MISMATCH in counts else ""
    raise InputError(
        f"{vcf}: none of {counts.total():,} alleles can be scored ({shown}); the first, line {allele.line}, "
        f"{allele.key}: {first.detail[0] or first.status[0]}{hint}"
    )
