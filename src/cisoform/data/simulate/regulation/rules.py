"""The planted rules: from sites, activities and chromatin to binding, accessibility and expression.

For element p, TF t and group c, with the total strength n of the sites of t in p (at most 4), activity a and gate g:

    binding        B[p,t,c] = n[p,t] a[t,c] g[p,c]
    opened by TFs  O[p,c]   = K / (1 + K)            with K = 1.5 sum_t B[p,t,c], whatever the sign of the TFs
    accessibility  A[p,c]   = 1 - (1 - base[p,c]) (1 - O[p,c])    base: 0.75 promoters, the gate in bare and decoy
                                                                  elements, 0.02 elsewhere
    effect         E[p,c]   = O[p,c] sum_t sign[t] B[p,t,c] / sum_t B[p,t,c]
    log rate       y[g,c]   = level[g] + core[g] + steady[g] + answer[g] 1.5 sum_p w[p,g] E[p,c]

w is exp(-distance / 20 kb) up to 150 kb on the same chromosome, distance from the middle of p to the TSS of g. `answer`
is 1, or 0.3 for steady genes. Expression in a cell is Poisson-gamma around depth x rate / sum of rates.
Activators, repressors and neutral TFs open DNA alike: only the motif tells the sign.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.regulation.activity import Activity
from cisoform.data.simulate.regulation.config import RegulationConfig
from cisoform.data.simulate.regulation.genome import SITE_REGION_BP, RegulatoryGenome
from cisoform.data.simulate.regulation.motifs import Roster, Sites, scan

Floats = npt.NDArray[np.float64]

MOST_STRENGTH = 4.0
OPENING = 1.5
CLOSED, PROMOTER_OPEN = 0.02, 0.75
EFFECT = 1.5
DECAY_BP, REACH_BP = 20_000, 150_000
STEADY_ANSWER, STEADY_LEVEL = 0.3, 4.0
CORE_STEP = 0.5


@dataclass(frozen=True)
class Book:
    """What the rules read, as arrays: elements P, binding TFs T, groups C, genes G."""

    strength: Floats
    """(P, T) total strength of the sites, not yet limited."""
    sign: Floats
    """(T,) +1, 0 or -1; a TF whose rule is off has 0."""
    activity: Floats
    """(T, C)."""
    gate: Floats
    """(P, C)."""
    base: Floats
    """(P, C) accessibility without TFs."""
    weight: Floats
    """(P, G) distance decay, 0 beyond reach."""
    level: Floats
    """(G,) log rate of a gene to which no element adds."""
    answer: Floats
    """(G,) how much of the elements' effect the promoter takes up."""


@dataclass(frozen=True)
class Readout:
    """What follows from a `Book`."""

    opened: Floats
    """(P, C) opened by TFs."""
    accessibility: Floats
    """(P, C)."""
    effect: Floats
    """(P, C) signed effect of an element at distance 0 on a gene that answers fully, in units of `EFFECT`."""
    log_rate: Floats
    """(G, C)."""


def read_sites(genome: RegulatoryGenome, roster: Roster) -> Sites:
    """Sites of all binding TFs in all elements; motif numbers follow `roster.binding`."""
    windows = genome.windows(genome.mids, genome.element_chrom, SITE_REGION_BP)
    return scan(windows, [tf.motif for tf in roster.binding])


def distances(genome: RegulatoryGenome) -> npt.NDArray[np.int64]:
    """(P, G) signed distance from TSS to middle of the element, genome direction; far beyond reach elsewhere."""
    distance = genome.mids[:, None] - genome.tss[None, :]
    return np.where(genome.element_chrom[:, None] == genome.gene_chrom[None, :], distance, 10**9)


def make_book(
    config: RegulationConfig, roster: Roster, activity: Activity, genome: RegulatoryGenome, sites: Sites
) -> Book:
    """Read the sequence and set up the rules that act."""
    tfs = roster.binding
    rows = [number for number, tf in enumerate(roster.tfs) if tf.binds]
    acting = {1: config.acts("activation"), -1: config.acts("repression"), 0: False}
    kinds = np.array([element.kind for element in genome.elements])
    is_promoter = kinds == "promoter"
    base = np.where(np.isin(kinds, ("bare", "decoy"))[:, None], np.maximum(genome.gate, CLOSED), CLOSED)
    base = np.where(is_promoter[:, None], PROMOTER_OPEN, base)
    distance = np.abs(distances(genome))
    weight = np.where(distance <= REACH_BP, np.exp(-distance / DECAY_BP), 0.0)
    if not config.acts("distal"):
        own = np.array([element.gene if element.kind == "promoter" else -1 for element in genome.elements])
        weight = weight * (own[:, None] == np.arange(len(genome.genes)))
    level, answer = gene_levels(config, roster, genome)
    return Book(
        strength=sites.total(len(genome.elements), len(tfs)),
        sign=np.array([tf.sign if acting[tf.sign] else 0 for tf in tfs], np.float64),
        activity=activity.values[rows],
        gate=np.where(np.isin(kinds, ("bare", "decoy"))[:, None], 1.0, genome.gate),
        base=base,
        weight=weight,
        level=level,
        answer=answer,
    )


def gene_levels(config: RegulationConfig, roster: Roster, genome: RegulatoryGenome) -> tuple[Floats, Floats]:
    """Level and answer of every gene, read off its promoter."""
    promoter = {e.gene: number for number, e in enumerate(genome.elements) if e.kind == "promoter"}
    rows = np.array([promoter[number] for number in range(len(genome.genes))], np.int64)
    windows = genome.windows(genome.mids[rows], genome.element_chrom[rows], SITE_REGION_BP)
    core = np.minimum(scan(windows, [roster.core]).total(len(rows), 1)[:, 0], MOST_STRENGTH)
    level = genome.level.copy()
    if config.acts("core"):
        level += CORE_STEP * core
    answer = np.ones(len(rows))
    if config.acts("steady"):
        steady = np.array([gene.steady for gene in genome.genes])
        level += STEADY_LEVEL * steady
        answer = np.where(steady, STEADY_ANSWER, 1.0)
    return level, answer


def binding(book: Book) -> Floats:
    """(P, T, C) binding of every TF."""
    strength = np.minimum(book.strength, MOST_STRENGTH)
    return strength[:, :, None] * book.activity[None] * book.gate[:, None, :]


def read_out(book: Book) -> Readout:
    """Apply the rules."""
    bound = binding(book)
    total = bound.sum(1)
    opened = OPENING * total / (1 + OPENING * total)
    signed = np.einsum("ptc,t->pc", bound, book.sign)
    effect = opened * np.divide(signed, total, out=np.zeros_like(total), where=total > 0)
    accessibility = 1 - (1 - book.base) * (1 - opened)
    log_rate = book.level[:, None] + book.answer[:, None] * EFFECT * (book.weight.T @ effect)
    return Readout(opened, accessibility, effect, log_rate)


def set_activity(book: Book, tf: int, value: float) -> Book:
    """The book with one TF at the given activity in all groups: 0 is a knock-out, 1 a knock-in."""
    activity = book.activity.copy()
    activity[tf] = value
    return replace(book, activity=activity)


def log1p_cp10k(log_rate: Floats, total: Floats | None = None) -> Floats:
    """log(1 + counts per 10,000) of (G, C) log rates; `total` keeps another state's sum of rates per group."""
    rate = np.exp(log_rate)
    cp10k: Floats = 1e4 * rate / (rate.sum(0) if total is None else total)
    return np.log1p(cp10k)


def link_effects(book: Book, readout: Readout, element: int) -> Floats:
    """(G, C) what one element adds to the log rate of every gene."""
    effect: Floats = (
        EFFECT * book.answer[:, None] * book.weight[element][:, None] * readout.effect[element][None]
    )
    return effect
