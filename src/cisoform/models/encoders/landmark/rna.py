"""Spliced RNA by its regions: lengths and compositions of UTRs and CDS, and the bases round the start codon.

Reads the annotation channel. A non-coding RNA is one region of its own; regions that an RNA lacks give fixed
vectors, so such RNAs need no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from torch import nn

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.models.encoders.landmark import views
from cisoform.models.encoders.landmark.dna import Read, summaries
from cisoform.nn.summaries import Composition, Measures, SiteWeights, SoftBins

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
        stretches: Edges of stretches, in bases from the first transcribed one, whose shares of A, C, G and T are read;
            empty = none. What is counted at 5' ends also depends on how well that end is copied, ligated and sequenced.
            Of an RNA over `loader.rna_max` the 3' end is kept, so they begin at the cut.
        upstream_starts: Whether the number of AUGs in the 5'UTR is read.
    """

    kind: Literal["landmark_rna"] = "landmark_rna"
    dim: int = 64
    dropout: float = 0.5
    regions: tuple[Region, ...] = ("utr5", "cds", "utr3", "non_coding")
    k: int = 3
    start_context: tuple[int, int] = (10, 10)
    length_bins: int = 16
    stretches: tuple[int, ...] = ()
    upstream_starts: bool = False

    def __post_init__(self) -> None:
        views.check_edges("stretches", self.stretches)
        if self.stretches and self.stretches[0] < 0:
            raise ValueError(f"stretches={list(self.stretches)}: an RNA begins at 0")


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
        n_shares = max(len(config.stretches) - 1, 0) * views.BASES
        self.stretches = Measures(n_shares, config.dim, config.dropout) if n_shares else None
        self.upstream_starts = Measures(1, config.dim, 0.0) if config.upstream_starts else None

    def forward(self, tokens: Tokens) -> Hidden:
        """Summaries of each RNA."""
        landmarks = views.rna_landmarks(tokens)
        read: Read = []
        for name, one in self.lengths.items():
            bins = cast(SoftBins, one)
            low, high = _IDS[name][0], _IDS[name][-1]
            length = ((landmarks.region >= low) & (landmarks.region <= high)).sum(dim=1)
            read.append((bins, bins.inputs(length)))
        start = views.around(tokens, landmarks.cds_start, *self.config.start_context)
        read.append((self.start, self.start.inputs(start.codes, start.valid)))
        sequence = views.View(tokens.ids, tokens.mask)
        words = views.kmers(sequence, self.config.k)
        triplets = words if self.config.k == 3 else views.kmers(sequence, 3)
        for name, part in self.compositions.items():
            summary = cast(Composition, part)
            if name == "cds":
                view = views.codons(triplets, landmarks)
            else:
                view = views.within(words, landmarks, _IDS[name][0])
            read.append((summary, summary.inputs(view.codes, view.valid)))
        if self.stretches is not None:
            shares = views.base_shares(sequence, self.config.stretches)
            read.append((self.stretches, self.stretches.inputs(shares)))
        if self.upstream_starts is not None:
            leader = views.within(triplets, landmarks, views.UTR5)
            found = (leader.valid & (leader.codes == views.ATG)).sum(dim=1, keepdim=True)
            read.append((self.upstream_starts, self.upstream_starts.inputs(found.float().log1p())))
        return summaries(read, tokens)
