"""What the rules say about changes: TF knock-outs and knock-ins, silenced elements, and single-base variants.

Effects are direct: the activity of the other TFs stays as it is. Differences are given of the log rate (exact) and of
log1p CP10k with the size factor of the unchanged group, so that a change of one gene does not move the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.regulation.config import RegulationConfig
from cisoform.data.simulate.regulation.genome import SITE_REGION_BP, RegulatoryGenome
from cisoform.data.simulate.regulation.motifs import FLANK_BP, MOTIF_BP, Roster, Sites, scan
from cisoform.data.simulate.regulation.rules import (
    EFFECT,
    Book,
    Floats,
    Readout,
    link_effects,
    log1p_cp10k,
    read_out,
    set_activity,
)

LETTERS = "ACGT"
LEAST_SITE = 0.9  # strength of the sites that variants hit


@dataclass(frozen=True)
class Change:
    """(genes, groups) differences, changed minus unchanged."""

    log_rate: Floats
    log1p: Floats


@dataclass(frozen=True)
class Variant:
    """A single-base change; `element` is the peak it lies in, `position` is 0-based, `effect` (genes, groups)."""

    chrom: int
    position: int
    ref: str
    alt: str
    element: int
    tf: str
    kind: str
    """`core` or `flank` of a site, or `beside` all sites."""
    effect: Floats


def change_of(before: Readout, after: Readout) -> Change:
    """Difference of two readouts, with the size factors of the first."""
    total = np.exp(before.log_rate).sum(0)
    log1p = log1p_cp10k(after.log_rate, total) - log1p_cp10k(before.log_rate, total)
    return Change(after.log_rate - before.log_rate, log1p)


def knock_all(book: Book, before: Readout, activity: float) -> list[Change]:
    """Every binding TF set to one activity, one at a time: 0 knock-out, 1 knock-in."""
    count = book.strength.shape[1]
    return [change_of(before, read_out(set_activity(book, tf, activity))) for tf in range(count)]


def make_variants(
    config: RegulationConfig,
    genome: RegulatoryGenome,
    roster: Roster,
    book: Book,
    before: Readout,
    sites: Sites,
) -> list[Variant]:
    """Variants in strong sites (core, flank) and beside them, in genome order; accessibility follows the rules."""
    rng = np.random.default_rng([config.seed, 108])
    strong = np.flatnonzero(sites.strength >= LEAST_SITE)
    if not len(strong) or not config.n_variants:
        return []
    chosen = np.sort(rng.choice(strong, size=min(config.n_variants, len(strong)), replace=False))
    element, inside = sites.window[chosen], _places(sites, chosen, rng)
    rows = np.arange(len(chosen))
    windows = genome.windows(genome.mids[element], genome.element_chrom[element], SITE_REGION_BP)
    ref = windows[rows, inside].astype(np.int64)
    alt = (ref + rng.integers(1, 4, len(ref))) % 4
    windows[rows, inside] = alt
    total = scan(windows, [tf.motif for tf in roster.binding]).total(len(rows), len(roster.binding))
    found: dict[tuple[int, int], Variant] = {}
    for row in rows.tolist():
        peak, place = int(element[row]), int(inside[row])
        kind, tf = _site_at(sites, peak, place)
        variant = Variant(
            chrom=int(genome.element_chrom[peak]),
            position=int(genome.mids[peak]) - SITE_REGION_BP // 2 + place,
            ref=LETTERS[int(ref[row])],
            alt=LETTERS[int(alt[row])],
            element=peak,
            tf="" if tf is None else roster.binding[tf].name,
            kind=kind,
            effect=element_change(book, before, peak, total[row]),
        )
        found.setdefault((variant.chrom, variant.position), variant)
    return [found[key] for key in sorted(found)]


def _places(sites: Sites, chosen: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Half of the places in the core of the site, a quarter in a flank, a quarter anywhere in the peak."""
    kind = rng.integers(0, 4, len(chosen))
    core = sites.offset[chosen] + rng.integers(FLANK_BP, MOTIF_BP - FLANK_BP, len(chosen))
    edges = np.concatenate([np.arange(FLANK_BP), MOTIF_BP - FLANK_BP + np.arange(FLANK_BP)])
    flank = sites.offset[chosen] + rng.choice(edges, len(chosen))
    beside = rng.integers(20, SITE_REGION_BP - 20, len(chosen))
    return np.where(kind < 2, core, np.where(kind == 2, flank, beside)).astype(np.int64)


def _site_at(sites: Sites, element: int, place: int) -> tuple[str, int | None]:
    """What lies at a place of an element: `core` or `flank` of a site and its TF, or `beside` and none."""
    step = place - sites.offset
    hit = np.flatnonzero((sites.window == element) & (step >= 0) & (step < MOTIF_BP))
    if not len(hit):
        return "beside", None
    is_core = (step[hit] >= FLANK_BP) & (step[hit] < MOTIF_BP - FLANK_BP)
    first = hit[int(is_core.argmax())]
    return ("core" if is_core.any() else "flank"), int(sites.motif[first])


def element_change(book: Book, before: Readout, element: int, strength: Floats) -> Floats:
    """(G, C) change of the log rates when one element gets other site strengths."""
    row = [element]
    part = replace(
        book,
        strength=strength[None],
        gate=book.gate[row],
        base=book.base[row],
        weight=book.weight[row],
    )
    difference = read_out(part).effect[0] - before.effect[element]
    change: Floats = EFFECT * book.answer[:, None] * book.weight[element][:, None] * difference[None]
    return change


def silence(book: Book, before: Readout, element: int) -> Floats:
    """(G, C) relative change of the rates when an element loses all effect, as CRISPRi does: -0.3 is 30 % less."""
    relative: Floats = np.expm1(-link_effects(book, before, element))
    return relative
