"""The planted rules, as functions of sequence: what a motif, a uORF or a codon does to an isoform.

Every rule turns sequences into a few numbers per transcript (features); centred features times a tissue matrix
times one scale are the rule's contribution to log1p TPM. Nothing here knows what was planted: chance
occurrences count like planted ones, so the effect of a variant is the same function of the new sequence.
The rules are ours; each mimics a known mechanism (see the comments).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int, UInt8

from cisoform.data.simulate.config import RULES, SimulateConfig
from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import AMINO_ACIDS, codon_amino_acids, encode_dna

UPSTREAM_BP = 256  # what the promoter rule reads: [TSS - 256, TSS) on the transcript's strand
# Weight of a promoter site by the distance of its first base from the TSS (knots, linear between): sites act
# close to the TSS only, as most of the activity of human core promoters does.
DISTANCE_KNOTS_BP = (-250.0, -200.0, -30.0, -10.0)
DISTANCE_WEIGHTS = (0.0, 1.0, 1.0, 0.0)
MISMATCH_STRENGTH = (1.0, 0.5)  # of a site with no and with one mismatch; two silence it

# Consensus of real families, read on the transcript's strand only.
SHARED_MOTIF = ("ETS", "CCGGAAGTGA")
SPECIFIC_MOTIFS = (
    ("AP1", "TGACTCATCA"),
    ("HNF1", "GTTAATGATT"),
    ("EBOX", "CAGCTGTTGC"),
    ("HNF4", "AGGTCAAAGG"),
    ("OCT", "TTTGCATAAC"),
)
# An AU-rich element destabilises everywhere; a C-rich one raises in half of the tissues, lowers in the rest.
UTR3_MOTIFS = (("ARE", "TTATTTATT"), ("CRICH", "CTCCACCCTC"))
MAX_SITES = 4  # sites of one motif beyond this add nothing
MAX_UORFS = 2

# Codon usage: codons that end in A or C are favoured. Within a synonymous family this is half of the codons,
# and it is independent of GC content, so neither amino acids nor GC give it away.
FAVOURED_THIRD_BASES = "AC"
# Protein composition: these sets use the same bases equally often at codon positions 1 and 2 (position 3 nearly
# so), hence base counts, even by codon position, do not see the difference; whole codons or residues do.
RAISING_RESIDUES = "FDPK"
LOWERING_RESIDUES = "VYTQ"
# Presequence: share of these residues among the first 20 after the start (as in mitochondrial targeting).
PRESEQUENCE_RESIDUES = "ALRS"
PRESEQUENCE_LENGTH = 20

STOPS = frozenset({"TAA", "TAG", "TGA"})
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sequences:
    """What the rules read of n transcripts.

    `upstream` holds the `UPSTREAM_BP` bases before the TSS on the transcript's strand, `cds` the half-open range
    of the CDS in RNA coordinates with its stop codon, (-1, -1) for a non-coding transcript.
    """

    upstream: UInt8[np.ndarray, "n bases"]
    rna: Ragged
    cds: Int[np.ndarray, "n 2"]

    @property
    def coding(self) -> Bool[np.ndarray, " n"]:
        """Which transcripts have a CDS."""
        return self.cds[:, 0] >= 0


@dataclass(frozen=True)
class RuleBook:
    """Features of each rule, and the tissue matrix their centred values are multiplied with."""

    features: dict[str, tuple[str, ...]]
    weights: dict[str, Matrix]

    def measure(self, sequences: Sequences) -> dict[str, Matrix]:
        """Features of every transcript by rule, `(n, features)`; NaN where the rule does not apply."""
        specific = [name for name in self.features["promoter"] if name != SHARED_MOTIF[0]]
        motifs = dict((SHARED_MOTIF, *SPECIFIC_MOTIFS))
        values = {
            "promoter": promoter_sites(sequences.upstream, [motifs[n] for n in (SHARED_MOTIF[0], *specific)]),
            "uorf": count_uorfs(sequences),
            "utr3": utr3_sites(sequences, [motif for _, motif in UTR3_MOTIFS]),
            "codon": favoured_codons(sequences),
            "protein": protein_scores(sequences),
        }
        for rule in RULES:
            if rule != "promoter":
                values[rule][~sequences.coding] = np.nan
        return values


@dataclass(frozen=True)
class Scaling:
    """Centre of the features and size of a rule, fixed once so that variants are measured on the same scale."""

    centre: dict[str, Matrix]
    scale: dict[str, float]

    def contributions(self, book: RuleBook, features: dict[str, Matrix]) -> dict[str, Matrix]:
        """Effect of every rule on log1p TPM, `(n, tissues)`; 0 where a rule does not apply or is switched off."""
        return {
            rule: np.nan_to_num(values - self.centre[rule]) @ book.weights[rule] * self.scale[rule]
            for rule, values in features.items()
        }


def make_rules(config: SimulateConfig) -> RuleBook:
    """The rules of a simulation: tissue weights differ by seed in size, never in sign."""
    rng = np.random.default_rng([config.seed, 1])
    tissues = config.n_tissues
    specific = SPECIFIC_MOTIFS[: config.n_specific_motifs]
    features = {
        "promoter": tuple(name for name, _ in (SHARED_MOTIF, *specific)),
        "uorf": ("uORF",),
        "utr3": tuple(name for name, _ in UTR3_MOTIFS),
        "codon": ("favoured_share",),
        "protein": ("composition", "presequence"),
    }
    halves = np.where(np.arange(tissues) % 2 == 0, 1.0, -1.0)
    signs = {
        "promoter": np.stack([np.full(tissues, 0.8), *_specific_weights(len(specific), tissues)]),
        "uorf": -np.ones((1, tissues)),
        "utr3": np.stack([-np.ones(tissues), 0.8 * halves]),
        "codon": np.ones((1, tissues)),
        # Their spreads are about 0.20 and 0.32: composition makes two thirds of the variance.
        "protein": np.stack([4.0 * np.ones(tissues), 1.6 * np.ones(tissues)]),
    }
    jitter = {rule: rng.uniform(0.85, 1.15, signs[rule].shape) for rule in RULES}
    return RuleBook(features, {rule: signs[rule] * jitter[rule] for rule in RULES})


def _specific_weights(n_motifs: int, tissues: int) -> list[npt.NDArray[np.float64]]:
    """Each motif raises every n-th tissue; the last one also lowers the next tissue in turn."""
    rows = []
    for motif in range(n_motifs):
        weights = np.zeros(tissues)
        weights[np.arange(tissues) % n_motifs == motif] = 1.2
        if motif == n_motifs - 1:
            weights[(np.arange(tissues) % n_motifs == 0) & (weights == 0)] = -0.8
        rows.append(weights)
    return rows


def make_scaling(config: SimulateConfig, book: RuleBook, features: dict[str, Matrix]) -> Scaling:
    """Centre every feature and size every rule to its share of a total variance of 1, averaged over tissues."""
    centre = {rule: np.nanmean(values, axis=0, keepdims=True) for rule, values in features.items()}
    scale = {}
    for rule, values in features.items():
        raw = np.nan_to_num(values - centre[rule]) @ book.weights[rule]
        variance = float(raw.var(axis=0).mean())
        on = rule in config.rules and variance > 0
        scale[rule] = float(np.sqrt(config.shares.of_rule(rule) / variance)) if on else 0.0
    return Scaling(centre, scale)


def match_strength(codes: UInt8[np.ndarray, "*rows bases"], motif: str) -> Float[np.ndarray, "*rows starts"]:
    """Strength of the motif at every start: 1 for the consensus, 0.5 with one mismatch, else 0. N never matches."""
    consensus = encode_dna(motif)
    starts = max(0, codes.shape[-1] - len(consensus) + 1)
    mismatches = np.zeros((*codes.shape[:-1], starts), dtype=np.uint8)
    for offset, base in enumerate(consensus):
        mismatches += codes[..., offset : offset + starts] != base
    strengths = np.zeros(len(consensus) + 1)
    strengths[: len(MISMATCH_STRENGTH)] = MISMATCH_STRENGTH
    return strengths[mismatches]


def promoter_sites(upstream: UInt8[np.ndarray, "n bases"], motifs: Sequence[str]) -> Matrix:
    """Sum of strength x distance weight over the sites of each motif, at most `MAX_SITES`."""
    columns = []
    for motif in motifs:
        strength = match_strength(upstream, motif)
        distance = np.arange(strength.shape[1]) - upstream.shape[1]
        weight = np.interp(distance, DISTANCE_KNOTS_BP, DISTANCE_WEIGHTS, left=0.0, right=0.0)
        columns.append(np.minimum(strength @ weight, MAX_SITES))
    return np.stack(columns, axis=1)


def utr3_sites(sequences: Sequences, motifs: Sequence[str]) -> Matrix:
    """Sum of the strengths of each motif's sites that lie wholly in the 3'UTR, at most `MAX_SITES`."""
    rna, cds = sequences.rna, sequences.cds
    owner = np.repeat(np.arange(len(rna)), rna.lengths)
    position = np.arange(len(rna.data)) - rna.offsets[owner]
    columns = []
    for motif in motifs:
        strength = match_strength(rna.data, motif)
        site = np.flatnonzero(strength)
        row, at = owner[site], position[site]
        inside = (at >= cds[row, 1]) & (at + len(motif) <= rna.lengths[row])
        total = np.bincount(row[inside], weights=strength[site[inside]], minlength=len(rna))
        columns.append(np.minimum(total.astype(np.float64), MAX_SITES))
    return np.stack(columns, axis=1)


def count_uorfs(sequences: Sequences) -> Matrix:
    """Number of upstream ORFs that act, at most `MAX_UORFS`: `(n, 1)`.

    One acts if its ATG lies in the 5'UTR in a strong context (A or G at -3, G at +4; Kozak 1986) and an
    in-frame stop codon ends inside the 5'UTR.
    """
    counts = np.zeros((len(sequences.rna), 1))
    for row in np.flatnonzero(sequences.coding).tolist():
        utr = sequences.rna[row][: sequences.cds[row, 0]]
        counts[row, 0] = min(MAX_UORFS, len(find_uorfs(utr)))
    return counts


def find_uorfs(utr: UInt8[np.ndarray, " bases"]) -> list[int]:
    """Positions in a 5'UTR of the ATG of every upstream ORF that acts."""
    letters = "ACGTN"
    atg = np.flatnonzero((utr[:-3] == 0) & (utr[1:-2] == 3) & (utr[2:-1] == 2) & (utr[3:] == 2))
    found = []
    for start in atg[atg >= 3]:
        if utr[start - 3] not in (0, 2):
            continue
        text = "".join(letters[code] for code in utr[start:])
        if any(text[i : i + 3] in STOPS for i in range(3, len(text) - 2, 3)):
            found.append(int(start))
    return found


def _codons(sequences: Sequences) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Index `25 a + 5 b + c` of every codon between start and stop, and the transcript each belongs to."""
    rows = np.flatnonzero(sequences.coding)
    first = sequences.rna.offsets[rows] + sequences.cds[rows, 0] + 3
    number = (sequences.cds[rows, 1] - sequences.cds[rows, 0]) // 3 - 2
    within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    at = np.repeat(first, number) + 3 * within
    data = sequences.rna.data.astype(np.int64)
    return 25 * data[at] + 5 * data[at + 1] + data[at + 2], np.repeat(rows, number)


def _share(rows: npt.NDArray[np.int64], value: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    total = np.bincount(rows, weights=value, minlength=n).astype(np.float64)
    count = np.bincount(rows, minlength=n)
    share: npt.NDArray[np.float64] = total / np.maximum(count, 1)
    return share


def favoured_codons(sequences: Sequences) -> Matrix:
    """Share of favoured codons among those that have a synonym: `(n, 1)`."""
    codon, row = _codons(sequences)
    residue = codon_amino_acids()[codon]
    choice = ~np.isin(residue, [AMINO_ACIDS.index("M"), AMINO_ACIDS.index("W")])
    favoured = np.isin(codon % 5, encode_dna(FAVOURED_THIRD_BASES)).astype(np.float64)
    return _share(row[choice], favoured[choice], len(sequences.rna))[:, None]


def protein_scores(sequences: Sequences) -> Matrix:
    """Composition score (raising minus lowering share of residues) and presequence share: `(n, 2)`."""
    codon, row = _codons(sequences)
    residue = codon_amino_acids()[codon]
    weight = np.zeros(32)
    weight[[AMINO_ACIDS.index(letter) for letter in RAISING_RESIDUES]] = 1.0
    weight[[AMINO_ACIDS.index(letter) for letter in LOWERING_RESIDUES]] = -1.0
    n = len(sequences.rna)
    composition = _share(row, weight[residue], n)
    position = np.arange(len(row)) - np.searchsorted(row, row)
    early = position < PRESEQUENCE_LENGTH
    targeting = np.isin(residue, [AMINO_ACIDS.index(letter) for letter in PRESEQUENCE_RESIDUES])
    presequence = _share(row[early], targeting[early].astype(np.float64), n)
    return np.stack([composition, presequence], axis=1)
