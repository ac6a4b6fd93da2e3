"""Tokens of spliced RNA: base ids (as `tokens.dna`) and, for each base, what the annotation says of it.

A region id says UTR, codon position or non-coding; 8 is added at the first base of every exon but the first.
Every GTF gives this for nothing, and it spares a model learning reading frames. Our choice; the paper's RNA
encoder sees the sequence alone. An RNA over the cap keeps its 3' end (paper, section 4.2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RNA_PAD = 5
N_RNA_TOKENS = 6

REGION_PAD = 0
UTR5 = 1
CODON_1 = 2
CODON_2 = 3
CODON_3 = 4
UTR3 = 5
NON_CODING = 6
JUNCTION = 8
"""Added to a region id at the first base of an exon that is not the first."""
N_REGIONS = 16

_CODON = np.array([CODON_1, CODON_2, CODON_3], dtype=np.uint8)


def first_base_kept(length: int, cap: int | None) -> int:
    """Where an RNA starts after the crop at its 5' end; 0 if it fits. `cap` None = no crop."""
    return 0 if cap is None else max(0, length - cap)


def region_ids(
    length: int,
    cds_start: int,
    cds_end: int,
    junctions: npt.NDArray[np.integer],
    cds_phase: int = 0,
    start: int = 0,
) -> npt.NDArray[np.uint8]:
    """Region id of every base of an RNA.

    Args:
        length: Bases of the whole RNA.
        cds_start: First base of the CDS, 0-based; -1 for a non-coding RNA.
        cds_end: End of the CDS, exclusive, stop codon included; -1 for a non-coding RNA.
        junctions: Positions at which a new exon begins; 0 is not among them.
        cds_phase: Bases of the CDS before its first whole codon (a GTF's frame): not 0 only when the 5' end
            of the CDS is missing.
        start: First base to give; those before it are cropped away. The frame does not change by it.

    Returns:
        `length - start` ids.
    """
    ids = np.empty(length, dtype=np.uint8)
    if cds_start < 0:
        ids[:] = NON_CODING
    else:
        ids[:cds_start] = UTR5
        first = (-cds_phase) % 3
        n_bases = cds_end - cds_start
        ids[cds_start:cds_end] = np.tile(_CODON, n_bases // 3 + 2)[first : first + n_bases]
        ids[cds_end:] = UTR3
    ids[junctions] += JUNCTION
    return ids[start:]
