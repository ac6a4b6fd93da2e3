"""Tokens of DNA windows, one per base: A 0, C 1, G 2, T 3, N 4, and padding 5.

A window is read on the strand of its transcript. Bases beyond the end of a chromosome are N, which is a real
token (mask True): that a chromosome ends is knowledge, that a batch is ragged is not.
"""

from __future__ import annotations

from cisoform.genome.sequence import BASE_N

UNKNOWN_BASE = BASE_N
"""Id of N, of bases beyond a chromosome's end and of bases hidden in training."""
DNA_PAD = 5
N_DNA_TOKENS = 6
