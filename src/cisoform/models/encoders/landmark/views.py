"""Where the landmarks of a sequence are, and what lies round them: pure functions of tokens.

Sites are given as the index of their first token; a row without the site has `NOWHERE`, and all of its views are
masked. Region ids are those of `tokens.rna`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from cisoform.batches import Tokens

BASES = 4
"""Ids below it are A, C, G, T; N and beyond are unknown."""
NOWHERE = -(2**30)
ATG = 0b001110
"""Base-4 code of the start codon."""

JUNCTION = 8
UTR5, CODON_1, CODON_2, CODON_3, UTR3, NON_CODING = range(1, 7)


@dataclass(frozen=True)
class View:
    """Codes of some places of each row, and whether they are known."""

    codes: Int[Tensor, "rows places"]
    valid: Bool[Tensor, "rows places"]


@dataclass(frozen=True)
class RnaLandmarks:
    """Regions of each RNA and the sites between them.

    Attributes:
        region: Region id of each token without the junction flag, 0 at padding.
        cds_start: First token of the CDS.
        cds_end: One past its last.
    """

    region: Int[Tensor, "rows tokens"]
    cds_start: Int[Tensor, " rows"]
    cds_end: Int[Tensor, " rows"]


def centre(mask: Bool[Tensor, "rows tokens"]) -> Int[Tensor, " rows"]:
    """Index of the first transcribed base of DNA windows: half of the length."""
    return mask.sum(dim=1) // 2


def around(tokens: Tokens, site: Int[Tensor, " rows"], before: int, after: int) -> View:
    """The ids of `before` tokens before each site and `after` from it on; invalid beyond the row's ends."""
    places = site[:, None] + torch.arange(-before, after, device=site.device)
    inside = (places >= 0) & (places < tokens.ids.shape[1])
    places = places.masked_fill(~inside, 0)
    return View(tokens.ids.gather(1, places), tokens.mask.gather(1, places) & inside)


def kmers(view: View, k: int) -> View:
    """Base-4 code of the k-mer that begins at each place; valid if all of its bases are known."""
    width = view.codes.shape[1] - k + 1
    if width < 1:
        return View(view.codes[:, :0].long(), view.valid[:, :0])
    bases, known = view.codes.long(), view.valid & (view.codes < BASES)
    codes, valid = torch.zeros_like(bases[:, :width]), torch.ones_like(known[:, :width])
    for offset in range(k):
        codes = codes * BASES + bases[:, offset : offset + width]
        valid = valid & known[:, offset : offset + width]
    return View(codes, valid)


def strand_merged(k: int) -> tuple[Int[Tensor, " codes"], int]:
    """For each k-mer code the number of its pair with the reverse complement, and how many pairs there are.

    A palindrome is a pair of its own: 136 pairs of 4-mers, 32 of 3-mers.
    """
    codes = torch.arange(BASES**k)
    digits = [(codes // BASES**place) % BASES for place in range(k)]
    reverse = sum(
        ((BASES - 1 - digit) * BASES ** (k - 1 - place) for place, digit in enumerate(digits)), codes * 0
    )
    pairs, number = torch.unique(torch.minimum(codes, reverse), return_inverse=True)
    return number, len(pairs)


def rna_landmarks(tokens: Tokens) -> RnaLandmarks:
    """Read the regions from the annotation channel."""
    if tokens.channels is None:
        raise ValueError("this RNA encoder reads the annotation channel but the tokens carry none")
    region = (tokens.channels.long() % JUNCTION).masked_fill(~tokens.mask, 0)
    coding = (region >= CODON_1) & (region <= CODON_3)
    has, width = coding.any(dim=1), coding.shape[1]
    start = coding.int().argmax(dim=1)
    end = width - coding.flip(1).int().argmax(dim=1)
    return RnaLandmarks(region, start.masked_fill(~has, NOWHERE), end.masked_fill(~has, NOWHERE))


def within(words: View, landmarks: RnaLandmarks, region: int) -> View:
    """Those of the RNA's k-mers that lie within one region (which is one stretch of the RNA)."""
    inside = landmarks.region == region
    n_places = words.codes.shape[1]
    return View(words.codes, words.valid & inside[:, :n_places] & inside[:, inside.shape[1] - n_places :])


def codons(triplets: View, landmarks: RnaLandmarks) -> View:
    """Those of the RNA's 3-mers that are complete codons in frame."""
    region, n_places = landmarks.region, triplets.codes.shape[1]
    framed = triplets.valid
    for offset, phase in enumerate((CODON_1, CODON_2, CODON_3)):
        framed = framed & (region[:, offset : offset + n_places] == phase)
    return View(triplets.codes, framed)


def base_shares(view: View, edges: Sequence[int]) -> Float[Tensor, "rows shares"]:
    """Share of A, C, G and T among the known bases of each stretch of a view; zeros where a stretch has none.

    Args:
        view: Bases.
        edges: Where the stretches begin and end: (0, 50, 200) is places 0 to 49 and 50 to 199.
    """
    known = view.valid & (view.codes < BASES)
    one_hot = F.one_hot(view.codes.long().masked_fill(~known, 0), BASES) * known[..., None]
    shares = []
    for begin, end in itertools.pairwise(edges):
        counts = one_hot[:, begin:end].sum(dim=1)
        shares.append(counts / counts.sum(dim=1, keepdim=True).clamp(min=1))
    return torch.cat(shares, dim=1)


def check_edges(name: str, edges: Sequence[int]) -> None:
    """Refuse edges of stretches that do not rise, or a single one."""
    if len(edges) == 1 or any(end <= begin for begin, end in itertools.pairwise(edges)):
        raise ValueError(f"{name}={list(edges)}: edges of stretches must rise, and be two at least")
