"""What a simulation is asked for: sizes, seed, how much of the variance each kind of rule carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from cisoform.errors import InputError

RULES = ("promoter", "uorf", "utr3", "codon", "protein")
TISSUES = ("brain", "heart", "kidney", "liver", "lung", "muscle", "skin", "spleen", "testis", "thyroid")
MODALITY_OF_RULE = {"promoter": "dna", "uorf": "rna", "utr3": "rna", "codon": "rna", "protein": "protein"}


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Share of the variance of log1p expression that each part carries, on average over tissues.

    `utr` is split evenly between the 5'UTR uORF and the 3'UTR elements. Only proportions matter; parts are
    scaled one by one, so chance correlations between rules move the sum by a few per cent. `chromatin` is the
    state of a promoter in a tissue, which only tracks tell (`chromatin`); 0 = there are no tracks.
    """

    promoter: float = 0.30
    utr: float = 0.20
    codon: float = 0.15
    protein: float = 0.25
    noise: float = 0.10
    chromatin: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value < float("inf"):
                raise InputError(f"share {name}={value} is not a number from 0 up; give e.g. 0.2")
        if sum(asdict(self).values()) <= 0:
            raise InputError("all shares are 0: nothing would vary; give at least one above 0")

    def of_rule(self, rule: str) -> float:
        """Share of one of `RULES`, of "chromatin" or of "noise", with all shares scaled to sum to 1."""
        part: float = self.utr / 2 if rule in ("uorf", "utr3") else getattr(self, rule)
        total: float = sum(asdict(self).values())
        return part / total


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """One simulation. The same config gives the same bytes."""

    seed: int = 0
    n_genes: int = 600
    n_tissues: int = 5
    n_chromosomes: int = 4
    n_specific_motifs: int = 2  # promoter motifs that act in some tissues only
    codons: tuple[int, int] = (60, 110)  # of a CDS, fewest and most
    replicates: int = 3
    n_variants: int = 200
    shares: Shares = Shares()
    rules: frozenset[str] = frozenset(RULES)  # rules that act; the sequences do not depend on it

    def __post_init__(self) -> None:
        unknown = sorted(self.rules - set(RULES))
        if unknown:
            raise InputError(f"rule {unknown[0]!r} is unknown; choose from {', '.join(RULES)}")
        checks = {
            "seed": self.seed >= 0,
            "n_genes": self.n_genes >= 10,
            "n_tissues": 1 <= self.n_tissues <= len(TISSUES),
            "n_chromosomes": 1 <= self.n_chromosomes <= 22,
            "n_specific_motifs": 1 <= self.n_specific_motifs <= 5,
            "codons": 50 <= self.codons[0] <= self.codons[1],
            "replicates": self.replicates >= 2,
            "n_variants": self.n_variants >= 0,
        }
        for name, good in checks.items():
            if not good:
                raise InputError(f"{name}={getattr(self, name)} is out of range for a simulation")

    @property
    def has_tracks(self) -> bool:
        """Whether promoters have states, and the simulation has tracks that show them."""
        return self.shares.chromatin > 0

    @property
    def tissues(self) -> tuple[str, ...]:
        """Names of the tissues."""
        return TISSUES[: self.n_tissues]


def tiny() -> SimulateConfig:
    """600 genes, about 1,550 transcripts, 5 tissues, 1.2 Mb: written in seconds."""
    return SimulateConfig()


def small() -> SimulateConfig:
    """2,000 genes, about 5,200 transcripts, 8 tissues, 5 Mb."""
    return SimulateConfig(
        n_genes=2000,
        n_tissues=8,
        n_chromosomes=8,
        n_specific_motifs=5,
        codons=(80, 220),
        n_variants=600,
    )


PRESETS: dict[str, Callable[[], SimulateConfig]] = {"tiny": tiny, "small": small}


def preset(name: str, seed: int = 0) -> SimulateConfig:
    """The named preset with a seed.

    Raises:
        InputError: If there is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"--preset {name!r} is unknown; choose from {', '.join(PRESETS)}")
    return replace(PRESETS[name](), seed=seed)
