"""Consequences of one variant, recomputed the slow way: edit the chromosome string, re-extract, re-translate.

Shares no code with the package. Every base of the edited chromosome remembers which base it was; exons, introns and
CDS are sets of those. The rules are those that `cisoform.genome.consequences` states.
"""

from __future__ import annotations

from dataclasses import dataclass

CODE = dict(
    zip(
        (a + b + c for a in "TCAG" for b in "TCAG" for c in "TCAG"),
        "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        strict=True,
    )
)
STARTS = ("ATG", "TTG", "CTG")
PAIRED = str.maketrans("ACGTN", "TGCAN")


@dataclass(frozen=True)
class Gene:
    """A transcript: exons by position, strand, CDS as a forward span or None."""

    exons: list[tuple[int, int]]
    strand: str
    cds: tuple[int, int] | None


@dataclass
class Base:
    """A base of the edited chromosome: its letter, and the base it was; None = inserted."""

    letter: str
    origin: int | None


@dataclass(frozen=True)
class Answer:
    terms: frozenset[str]
    rna: str | None = None
    protein: str | None = None
    cds_start: int = -1
    junctions: tuple[int, ...] = ()


def translated(bases: str) -> tuple[str, bool]:
    protein = ""
    for at in range(0, len(bases) - 2, 3):
        letter = CODE[bases[at : at + 3]]
        if at == 0 and bases[:3] in STARTS:
            letter = "M"
        if letter == "*":
            return protein, True
        protein += letter
    return protein, False


def edited(
    chromosome: str, pos: int, ref: str, alt: str, low: int, high: int
) -> tuple[list[Base], set[int], int | None]:
    """Bases of the edited [low, high), the old bases that are changed, and the place of an insertion."""
    assert chromosome[pos : pos + len(ref)] == ref
    whole = chromosome[:pos] + alt + chromosome[pos + len(ref) :]
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        pos, ref, alt = pos + 1, ref[1:], alt[1:]
    bases = [Base(chromosome[i], i) for i in range(low, pos)]
    for k, letter in enumerate(alt):
        at = pos + k if k < len(ref) else None
        bases.append(Base(letter, at))
    bases += [Base(chromosome[i], i) for i in range(pos + len(ref), high)]
    text = "".join(base.letter for base in bases)
    assert text == whole[low : low + len(text)]
    return bases, set(range(pos, pos + len(ref))), pos + len(ref) if len(alt) > len(ref) else None


def recompute(chromosome: str, gene: Gene, pos: int, ref: str, alt: str) -> Answer:
    first, last = gene.exons[0][0], gene.exons[-1][1]
    low, high = max(0, min(first, pos) - 50), min(len(chromosome), max(last, pos + len(ref)) + 50)
    bases, changed, inserted = edited(chromosome, pos, ref, alt, low, high)
    kept = {base.origin for base in bases}
    deleted = changed - kept
    if set(range(first, last)) <= deleted:
        return Answer(frozenset({"transcript_ablation"}))
    terms: set[str] = set()
    lost = splice_terms(chromosome, gene, bases, changed, inserted, terms)
    touched = [*changed, *([] if inserted is None else [inserted])]
    if all(x < first for x in changed) and (inserted is None or inserted <= first):
        terms.add("upstream_gene_variant" if gene.strand == "+" else "downstream_gene_variant")
    if all(x >= last for x in changed) and (inserted is None or inserted >= last):
        terms.add("downstream_gene_variant" if gene.strand == "+" else "upstream_gene_variant")
    assert touched
    exon_of = {i: number for number, (s, e) in enumerate(gene.exons) for i in range(s, e)}
    home = insertion_exon(gene, inserted)
    inside = [
        base for base in bases if (base.origin in exon_of if base.origin is not None else home is not None)
    ]
    if not (changed & set(exon_of)) and home is None:
        return Answer(frozenset(terms))
    if any(set(range(s, e)) <= deleted for s, e in gene.exons):
        terms.add("exon_loss_variant")
    owner = [exon_of[base.origin] if base.origin is not None else home for base in inside]
    rna = "".join(base.letter for base in inside)
    if gene.strand == "-":
        rna, inside, owner = rna[::-1].translate(PAIRED), inside[::-1], owner[::-1]
    cuts = tuple(i for i in range(1, len(owner)) if owner[i] != owner[i - 1])
    if gene.cds is None:
        return Answer(frozenset(terms | {"non_coding_transcript_exon_variant"}), rna, None, -1, cuts)
    return coding(chromosome, gene, rna, inside, changed, inserted, home, lost, terms, cuts)


def insertion_exon(gene: Gene, at: int | None) -> int | None:
    if at is None:
        return None
    for number, (start, end) in enumerate(gene.exons):
        if start < at < end or (at == start and number > 0) or (at == end and number < len(gene.exons) - 1):
            return number
    return None


def splice_terms(
    chromosome: str, gene: Gene, bases: list[Base], changed: set[int], inserted: int | None, terms: set[str]
) -> bool:
    lost = in_intron = False
    for (_, begin), (end, _) in zip(gene.exons, gene.exons[1:], strict=False):
        text = "".join(
            base.letter
            for base in bases
            if (base.origin is not None and begin <= base.origin < end)
            or (base.origin is None and inserted is not None and begin < inserted < end)
        )
        here = bool(changed & set(range(begin, end))) or (inserted is not None and begin < inserted < end)
        in_intron |= here
        if end - begin < 4:  # a correction of the annotation, not an intron
            continue
        for left in (True, False):
            near = range(begin - 3, min(begin + 8, end)) if left else range(max(end - 8, begin), end + 3)
            hit = bool(changed & set(near)) or (inserted is not None and near.start < inserted < near.stop)
            old = chromosome[begin : begin + 2] if left else chromosome[end - 2 : end]
            if (text[:2] if left else text[-2:]) != old:
                lost = True
                donor = left == (gene.strand == "+")
                terms.add("splice_donor_variant" if donor else "splice_acceptor_variant")
            elif hit:
                terms.add("splice_region_variant")
    if in_intron and not lost:
        terms.add("intron_variant")
    return lost


def coding(
    chromosome: str,
    gene: Gene,
    rna: str,
    inside: list[Base],
    changed: set[int],
    inserted: int | None,
    home: int | None,
    lost: bool,
    terms: set[str],
    cuts: tuple[int, ...],
) -> Answer:
    assert gene.cds is not None
    exonic = [i for start, end in gene.exons for i in range(start, end)]
    if gene.strand == "-":
        exonic = exonic[::-1]
    old_rna = "".join(chromosome[i] for i in exonic)
    if gene.strand == "-":
        old_rna = old_rna.translate(PAIRED)
    place = {base: at for at, base in enumerate(exonic)}
    cds = [i for i in exonic if gene.cds[0] <= i < gene.cds[1]]
    at_start, at_end = place[cds[0]], place[cds[-1]] + 1
    # RNA position in front of which an insertion stands.
    gap = None
    if home is not None and inserted is not None:
        gap = sum(i < inserted for i in exonic) if gene.strand == "+" else sum(i >= inserted for i in exonic)
    five = {i for i in exonic if place[i] < at_start}
    three = {i for i in exonic if place[i] >= at_end}
    if changed & five or (gap is not None and gap <= at_start and at_start > 0):
        terms.add("5_prime_UTR_variant")
    if changed & three or (gap is not None and gap >= at_end):
        terms.add("3_prime_UTR_variant")
    old_protein, old_stop = translated("".join(old_rna[place[i]] for i in cds))

    def count(old: int, behind: bool) -> int:
        """New bases in front of the place before old RNA base `old`."""
        n = 0
        for base in inside:
            if base.origin is None:
                n += gap is not None and (gap < old or (behind and gap == old))
            else:
                n += place[base.origin] < old
        return n

    in_cds = bool(changed & set(cds)) or (gap is not None and at_start < gap < at_end)
    if not in_cds:
        return Answer(frozenset(terms), rna, old_protein, count(at_start, True), cuts)

    def hits(begin: int) -> bool:
        codon = set(exonic[begin : begin + 3])
        return bool(changed & codon) or (gap is not None and begin < gap < begin + 3)

    begin: int | None = count(at_start, True)
    if hits(at_start):
        old = old_rna[at_start : at_start + 3]
        options = [count(at_start, True), count(at_start + 3, False) - 3]
        good = [o for o in options if o >= 0 and rna[o : o + 3] in STARTS]
        good = [o for o in good if rna[o : o + 3] == "ATG" or CODE[rna[o : o + 3]] == CODE[old]]
        begin = good[0] if good else None
    if begin is None:
        terms.add("coding_sequence_variant" if lost else "start_lost")
        return Answer(frozenset(terms), rna, None, -1, cuts)
    end = count(at_end, False)
    protein, stop = translated(rna[begin:] if old_stop else rna[begin:end])
    if lost:
        terms.add("coding_sequence_variant")
        return Answer(frozenset(terms), rna, protein, begin, cuts)
    stop_at = at_start + 3 * len(old_protein)
    at_stop = old_stop and hits(stop_at)
    grows = (end - begin) - len(cds)
    spills = bool(changed & set(cds)) and bool(changed & three) and len(inside) < len(exonic)
    whole = at_start + 3 * len(old_protein)
    if (protein, stop) == (old_protein, old_stop):
        kind = "stop_retained" if at_stop else "start_retained" if hits(at_start) else "synonymous"
        if (
            not old_stop
            and all(place[i] >= whole for i in changed & set(cds))
            and (gap is None or gap >= whole)
        ):
            kind = "incomplete_terminal_codon"
        terms.add(f"{kind}_variant")
    elif spills and old_stop and deleted_across(changed, inside, cds, three):
        terms.add("stop_lost")
    elif grows % 3:
        terms.add("frameshift_variant")
        if stop and old_protein.startswith(protein) and len(protein) < len(old_protein):
            terms.add("stop_gained")
        if at_stop:
            terms.add("stop_lost")
    elif old_stop and (not stop or len(protein) > len(old_protein) + grows // 3):
        terms.add("stop_lost")
    elif stop and len(protein) < len(old_protein) + grows // 3:
        terms.add("stop_gained")
    else:
        terms.add(
            "inframe_insertion" if grows > 0 else "inframe_deletion" if grows < 0 else "missense_variant"
        )
    return Answer(frozenset(terms), rna, protein, begin, cuts)


def deleted_across(changed: set[int], inside: list[Base], cds: list[int], three: set[int]) -> bool:
    """Whether bases on both sides of the end of the CDS are gone."""
    kept = {base.origin for base in inside}
    gone = changed - kept
    return bool(gone & set(cds)) and bool(gone & three)
