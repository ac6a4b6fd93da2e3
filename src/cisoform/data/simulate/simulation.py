"""A whole simulation in memory: genome, rules, expression, splits and variants, from one config."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate import chromatin
from cisoform.data.simulate.config import SimulateConfig
from cisoform.data.simulate.expression import Expression, simulate_expression
from cisoform.data.simulate.genome import SimulatedGenome, simulate_genome
from cisoform.data.simulate.rules import RuleBook, Scaling, make_rules, make_scaling
from cisoform.data.simulate.variants import Variant, make_variants

SPLITS = (("train", 0.75), ("valid", 0.85), ("test", 1.0))  # upper ends of the hash ranges


@dataclass(frozen=True)
class Simulation:
    """Everything that `write_simulation` writes."""

    config: SimulateConfig
    genome: SimulatedGenome
    book: RuleBook
    scaling: Scaling
    features: dict[str, npt.NDArray[np.float64]]
    expression: Expression
    split: list[str]
    variants: list[Variant]


def simulate(config: SimulateConfig) -> Simulation:
    """Run a simulation; the same config gives the same result."""
    genome = simulate_genome(config)
    book = make_rules(config)
    features = book.measure(genome.sequences())
    scaling = make_scaling(config, book, features)
    contributions = scaling.contributions(book, features)
    if config.has_tracks:
        contributions[chromatin.RULE] = chromatin.contribution(config, genome)
    expression = simulate_expression(config, contributions)
    split = [gene_split(gene_id) for gene_id in genome.gene_ids]
    variants = make_variants(config, genome, book, scaling)
    return Simulation(config, genome, book, scaling, features, expression, split, variants)


def gene_split(gene_id: str) -> str:
    """Part of a gene by the hash of its id: about 75 % train, 10 % valid, 15 % test."""
    value = int.from_bytes(hashlib.sha256(gene_id.encode()).digest()[:4], "big") / 2**32
    return next(name for name, upper in SPLITS if value < upper)
