"""What a regulatory simulation is asked for: sizes, seed, and which rules act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cisoform.errors import InputError

RULES = ("activation", "repression", "distal", "core", "steady", "driver")
"""Rules that can be switched off one by one; one that is off contributes exactly 0 and moves no base.

activation  activators raise the genes around their sites
repression  repressors lower them
distal      elements act from a distance (off: promoters only)
core        copies of the core-promoter motif set the level of a gene
steady      promoters of the steady kind hardly answer to elements (off: all genes answer fully)
driver      one TF is on in the stimulated state alone (off: the two states do not differ)
"""

N_SPECIFIC_ACTIVATORS = 4
N_REPRESSORS = 4
N_NEUTRAL = 3
N_DECOYS = 31
N_TFS = N_SPECIFIC_ACTIVATORS + 2 + N_REPRESSORS + N_NEUTRAL + N_DECOYS  # 2: driver and ubiquitous
LOCUS_ELEMENTS = 2  # elements at each TF's own gene
MOST_TYPES = 24


@dataclass(frozen=True, kw_only=True)
class RegulationConfig:
    """One regulatory simulation. The same config gives the same bytes."""

    seed: int = 0
    n_genes: int = 100
    n_chromosomes: int = 3
    chromosome_bp: int = 500_000
    n_distal: int = 300
    n_types: int = 4
    n_state_types: int = 1
    """Cell types of which half of the cells are in the stimulated state."""
    n_cells: int = 200
    umi_per_cell: float = 700.0
    """Median over cells, of these genes alone."""
    fragments_per_cell: float = 120.0
    bulk_fragments: int = 40_000
    """Depth of each bulk accessibility track."""
    n_variants: int = 100
    rules: frozenset[str] = frozenset(RULES)

    def __post_init__(self) -> None:
        unknown = sorted(self.rules - set(RULES))
        if unknown:
            raise InputError(f"rule {unknown[0]!r} is unknown; choose from {', '.join(RULES)}")
        per_chromosome = -(-self.n_genes // max(self.n_chromosomes, 1))
        peaks = self.n_genes + self.n_distal
        checks = {
            "seed": self.seed >= 0,
            "n_genes": self.n_genes >= N_TFS,
            "n_chromosomes": 1 <= self.n_chromosomes <= 22,
            "chromosome_bp": self.chromosome_bp >= 30_000 + 12_000 * per_chromosome
            and self.chromosome_bp * self.n_chromosomes >= 3_500 * peaks,
            "n_distal": self.n_distal >= LOCUS_ELEMENTS * N_TFS + 20,
            "n_types": 2 <= self.n_types <= MOST_TYPES,
            "n_state_types": 1 <= self.n_state_types <= self.n_types,
            "n_cells": self.n_cells >= 10 * (self.n_types + self.n_state_types),
            "umi_per_cell": 1 <= self.umi_per_cell <= 1e6,
            "fragments_per_cell": 1 <= self.fragments_per_cell <= 1e6,
            "bulk_fragments": self.bulk_fragments >= 100,
            "n_variants": self.n_variants >= 0,
        }
        for name, good in checks.items():
            if not good:
                raise InputError(f"{name}={getattr(self, name)} is out of range for a regulatory simulation")

    def acts(self, rule: str) -> bool:
        """Whether one of `RULES` is on."""
        return rule in self.rules


def tiny() -> RegulationConfig:
    """100 genes, 400 peaks, 1.5 Mb, 4 cell types, 200 cells: written in seconds."""
    return RegulationConfig()


def small() -> RegulationConfig:
    """240 genes, 1,000 peaks, 4.8 Mb, 8 cell types (two of them in two states), 1,000 cells."""
    return RegulationConfig(
        n_genes=240,
        n_chromosomes=8,
        chromosome_bp=600_000,
        n_distal=760,
        n_types=8,
        n_state_types=2,
        n_cells=1000,
        umi_per_cell=2_000.0,
        fragments_per_cell=320.0,
        bulk_fragments=100_000,
        n_variants=600,
    )


PRESETS: dict[str, Callable[[], RegulationConfig]] = {"tiny": tiny, "small": small}


def preset(name: str, seed: int = 0) -> RegulationConfig:
    """The named preset with a seed.

    Raises:
        InputError: If there is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"--preset {name!r} is unknown; choose from {', '.join(PRESETS)}")
    return replace(PRESETS[name](), seed=seed)
