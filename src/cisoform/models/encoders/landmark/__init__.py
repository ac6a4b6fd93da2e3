"""Encoders that read a sequence relative to its landmarks: start site, start codon, regions of the RNA.

Each property (a region's composition, its length, the bases round a site) becomes one position, so that the
aggregator attends to a handful of named positions rather than to thousands of bases. On a few thousand
transcripts this generalises better than convolutions over the whole sequence; our design, not the paper's.
"""

from __future__ import annotations

from cisoform.models.encoders.landmark.dna import LandmarkDnaConfig, LandmarkDnaEncoder
from cisoform.models.encoders.landmark.protein import LandmarkProteinConfig, LandmarkProteinEncoder
from cisoform.models.encoders.landmark.rna import LandmarkRnaConfig, LandmarkRnaEncoder

__all__ = [
    "LandmarkDnaConfig",
    "LandmarkDnaEncoder",
    "LandmarkProteinConfig",
    "LandmarkProteinEncoder",
    "LandmarkRnaConfig",
    "LandmarkRnaEncoder",
]
