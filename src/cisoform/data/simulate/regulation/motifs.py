"""TFs with their roles and motifs; sampling of sites, and reading of sites off a sequence.

A motif has eight strongly kept core positions and two weaker ones on either side. The strength of a site is a
function of its log-odds score alone: 1 at a good match, 0 as soon as one core position is lost, in between when a
flank is. All rules read sites by `scan`, so a planted site that a later sequence overwrote does not act and a chance
site does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.regulation.config import (
    N_DECOYS,
    N_NEUTRAL,
    N_REPRESSORS,
    N_SPECIFIC_ACTIVATORS,
    N_TFS,
    RegulationConfig,
)
from cisoform.genome.sequence import decode_dna, reverse_complement

MOTIF_BP = 12
FLANK_BP = 2
CORE_P, FLANK_P = 0.985, 0.80  # probability of the consensus base
WEAKEST, STRONGEST = 0.75, 0.95  # shares of the best score at which the strength is 0 and 1
LEAST_MISMATCHES = 4  # between the consensus of any two motifs, on either strand and at any shift below 3
SIGN = {"activator": 1, "ubiquitous": 1, "driver": 1, "repressor": -1, "neutral": 0, "decoy": 0}
BINDING_ROLES = ("activator", "ubiquitous", "driver", "repressor", "neutral")


@dataclass(frozen=True)
class Motif:
    """A position weight matrix, (positions, ACGT) probabilities."""

    name: str
    matrix: npt.NDArray[np.float64]

    @property
    def log_odds(self) -> npt.NDArray[np.float32]:
        """(positions, 5) scores in bits against a uniform background; the fifth column, N, can never match."""
        scores = np.full((len(self.matrix), 5), -99.0, np.float32)
        scores[:, :4] = np.log2(self.matrix / 0.25)
        return scores

    @property
    def consensus(self) -> str:
        """Best base of each position."""
        return decode_dna(self.matrix.argmax(1).astype(np.uint8))


@dataclass(frozen=True)
class Tf:
    """A TF: `role` is one of the keys of `SIGN`; `shadows` names the TF whose expression a decoy follows."""

    name: str
    role: str
    motif: Motif
    shadows: str | None = None

    @property
    def sign(self) -> int:
        """What its bound sites do: +1 raise, -1 lower, 0 nothing."""
        return SIGN[self.role]

    @property
    def binds(self) -> bool:
        """Whether it binds at all; a decoy does not."""
        return self.role in BINDING_ROLES


@dataclass(frozen=True)
class Roster:
    """All TFs by name, and the two core-promoter motifs."""

    tfs: tuple[Tf, ...]
    core: Motif
    steady: Motif

    @property
    def binding(self) -> tuple[Tf, ...]:
        """TFs that bind, in the order of `tfs`."""
        return tuple(tf for tf in self.tfs if tf.binds)

    def of_role(self, role: str) -> list[Tf]:
        """TFs of one role."""
        return [tf for tf in self.tfs if tf.role == role]


def make_roster(config: RegulationConfig) -> Roster:
    """TFs whose names do not tell their roles, with motifs that differ clearly from each other."""
    rng = np.random.default_rng([config.seed, 101])
    consensus = _distinct_consensus(rng, N_TFS + 2)
    roles = (
        ["activator"] * N_SPECIFIC_ACTIVATORS
        + ["ubiquitous", "driver"]
        + ["repressor"] * N_REPRESSORS
        + ["neutral"] * N_NEUTRAL
        + ["decoy"] * N_DECOYS
    )
    numbers = rng.permutation(N_TFS) + 1
    names = [f"SIMTF{number:02d}" for number in numbers]
    functional = [
        name for name, role in zip(names, roles, strict=True) if SIGN[role] and role != "ubiquitous"
    ]
    first_decoy = roles.index("decoy")
    tfs = [
        Tf(name, role, _motif(f"{name}_M1", codes), _shadowed(index - first_decoy, functional))
        for index, (name, role, codes) in enumerate(zip(names, roles, consensus[:N_TFS], strict=True))
    ]
    core, steady = _motif("CORE", consensus[-2]), _motif("STEADY", consensus[-1])
    return Roster(tuple(sorted(tfs, key=lambda tf: tf.name)), core, steady)


def _shadowed(decoy: int, functional: Sequence[str]) -> str | None:
    """The first decoys follow one functional TF each; the others, and TFs that are no decoys, none."""
    return functional[decoy] if 0 <= decoy < len(functional) else None


def _motif(name: str, codes: npt.NDArray[np.uint8]) -> Motif:
    kept = np.full(MOTIF_BP, CORE_P)
    kept[:FLANK_BP] = kept[-FLANK_BP:] = FLANK_P
    matrix = np.repeat(((1 - kept) / 3)[:, None], 4, axis=1)
    matrix[np.arange(MOTIF_BP), codes] = kept
    return Motif(name, matrix)


def _distinct_consensus(rng: np.random.Generator, count: int) -> list[npt.NDArray[np.uint8]]:
    """Random consensus sequences of balanced composition that are far from each other on both strands."""
    found: list[npt.NDArray[np.uint8]] = []
    while len(found) < count:
        codes = rng.permutation(np.repeat(np.arange(4, dtype=np.uint8), MOTIF_BP // 4))
        others = np.array([*found, codes])
        reverse = (3 - others[:, ::-1]).astype(np.uint8)
        if _fewest_mismatches(codes, np.concatenate([others[:-1], reverse])) >= LEAST_MISMATCHES:
            found.append(codes)
    return found


def _fewest_mismatches(codes: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8]) -> int:
    """Fewest positions that differ between one sequence and any row of others, at shifts up to a flank."""
    fewest = MOTIF_BP
    for shift in range(-FLANK_BP, FLANK_BP + 1):
        left = codes[max(0, shift) : MOTIF_BP + min(0, shift)]
        right = others[:, max(0, -shift) : MOTIF_BP - max(0, shift)]
        fewest = min(fewest, int((left != right).sum(1).min()))
    return fewest


def sample_site(motif: Motif, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One site drawn from a motif, on a random strand."""
    edges = np.cumsum(motif.matrix, axis=1)
    codes = (rng.random(len(edges))[:, None] > edges).sum(1).clip(max=3).astype(np.uint8)
    return codes if rng.random() < 0.5 else reverse_complement(codes)


def site_strength(score: npt.NDArray[np.float32], best: float) -> npt.NDArray[np.float64]:
    """Strength 0..1 of sites of the given log-odds scores, `best` being the score of the consensus."""
    share = score.astype(np.float64) / best
    return np.clip((share - WEAKEST) / (STRONGEST - WEAKEST), 0.0, 1.0)


@dataclass(frozen=True)
class Sites:
    """Sites found by `scan`, one entry each: window, motif, offset in the window, strand and strength."""

    window: npt.NDArray[np.int64]
    motif: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    reverse: npt.NDArray[np.bool_]
    strength: npt.NDArray[np.float64]

    def total(self, n_windows: int, n_motifs: int) -> npt.NDArray[np.float64]:
        """Sum of strengths by (window, motif)."""
        sums = np.zeros((n_windows, n_motifs))
        np.add.at(sums, (self.window, self.motif), self.strength)
        return sums


def scan(windows: npt.NDArray[np.uint8], motifs: Sequence[Motif]) -> Sites:
    """All sites with a strength above 0 in (windows, bases) codes, both strands."""
    parts: list[tuple[npt.NDArray[np.int64], int, npt.NDArray[np.int64], bool, npt.NDArray[np.float64]]] = []
    for index, motif in enumerate(motifs):
        forward = motif.log_odds
        best = float(forward.max(1).sum())
        backward = forward[::-1][:, [3, 2, 1, 0, 4]]
        for reverse, table in ((False, forward), (True, backward)):
            score = _scores(windows, table)
            row, offset = np.nonzero(score > WEAKEST * best)
            parts.append((row, index, offset, reverse, site_strength(score[row, offset], best)))
    window = np.concatenate([part[0] for part in parts])
    order = np.argsort(window, kind="stable")
    return Sites(
        window[order],
        np.concatenate([np.full(len(part[0]), part[1]) for part in parts])[order],
        np.concatenate([part[2] for part in parts])[order],
        np.concatenate([np.full(len(part[0]), part[3]) for part in parts])[order],
        np.concatenate([part[4] for part in parts])[order],
    )


def _scores(windows: npt.NDArray[np.uint8], table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Log-odds of every start, (windows, bases - length + 1)."""
    positions = windows.shape[1] - len(table) + 1
    score = np.zeros((len(windows), positions), np.float32)
    for step, column in enumerate(table):
        score += column[windows[:, step : step + positions]]
    return score


def meme_lines(motifs: Sequence[tuple[str, Motif]]) -> Iterator[str]:
    """MEME text (version 4) of (TF name, motif) pairs."""
    yield from ("MEME version 4", "", "ALPHABET= ACGT", "", "strands: + -", "")
    yield from ("Background letter frequencies", "A 0.25 C 0.25 G 0.25 T 0.25", "")
    for name, motif in motifs:
        yield f"MOTIF {motif.name} {name}"
        yield f"letter-probability matrix: alength= 4 w= {len(motif.matrix)} nsites= 1000 E= 0"
        yield from (" ".join(f"{value:.6f}" for value in row) for row in motif.matrix)
        yield ""
