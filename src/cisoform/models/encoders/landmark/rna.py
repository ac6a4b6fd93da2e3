"""Spliced RNA by its regions: lengths and compositions of UTRs and CDS, and the bases round the start codon.

Reads the annotation channel. A non-coding RNA is one region of its own; regions that an RNA lacks give fixed
vectors, so such RNAs need no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.models.encoders.landmark import views
from cisoform.models.encoders.landmark.dna import summaries
from cisoform.nn.summaries import Composition, SiteWeights, SoftBins

Region = Literal["utr5", "cds", "utr3", "non_coding"]
_IDS = {"utr5": (views.UTR5,), "cds": (views.CODON_1, views.CODON_2, views.CODON_3),
        "utr3": (views.UTR3,), "non_coding": (views.NON_CODING,)}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LandmarkRnaConfig:
    """What is read of an RNA.

    Attributes:
        dim: Width of each summary.
        dropout: Of the inputs of compositions and start context.
        regions: Regions whose length and composition are read (the CDS by codons, others by k-mers).
        k: Length of the k-mers.
        start_context: Bases before and from the start codon on that are read one by one.
        length_bins: Bumps of each length (`SoftBins`).
    """

    kind: Literal["landmark_rna"] = "landmark_rna"
    dim: int = 64
    dropout: float = 0.5
    regions: tuple[Region, ...] = ("utr5", "cds", "utr3", "non_coding")
    k: int = 3
    start_context: tuple[int, int] = (10, 10)
    length_bins: int = 16


class LandmarkRnaEncoder(nn.Module):
    """Positions: the length of each region, the start context, the composition of each region."""

    def __init__(self, config: LandmarkRnaConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.lengths = nn.ModuleDict(
            {name: SoftBins(config.dim, config.length_bins) for name in config.regions}
        )
        self.start = SiteWeights(sum(config.start_context), views.BASES, config.dim, config.dropout)
        sizes = {name: views.BASES ** (3 if name == "cds" else config.k) for name in config.regions}
        self.compositions = nn.ModuleDict(
            {name: Composition(size, config.dim, config.dropout) for name, size in sizes.items()}
        )

    def forward(self, tokens: Tokens) -> Hidden:
        """Summaries of each RNA."""
        landmarks = views.rna_landmarks(tokens)
        states = []
        for name, bins in self.lengths.items():
            low, high = _IDS[name][0], _IDS[name][-1]
            states.append(bins(((landmarks.region >= low) & (landmarks.region <= high)).sum(dim=1)))
        start = views.around(tokens, landmarks.cds_start, *self.config.start_context)
        states.append(self.start(start.codes, start.valid))
        sequence = views.View(tokens.ids, tokens.mask)
        words = views.kmers(sequence, self.config.k)
        triplets = words if self.config.k == 3 else views.kmers(sequence, 3)
        for name, summary in self.compositions.items():
            if name == "cds":
                view = views.codons(triplets, landmarks)
            else:
                view = views.within(words, landmarks, _IDS[name][0])
            states.append(summary(view.codes, view.valid))
        return summaries(states, tokens)
