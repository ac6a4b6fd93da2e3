"""CREformer in two stages: Elementary (windows of DNA and tracks), Regulatory (peaks round a gene)."""

from cisoform.models.creformer.elementary import Elementary, ElementaryConfig
from cisoform.models.creformer.regulatory import CREformer, CREformerConfig, rank_positions

__all__ = ["CREformer", "CREformerConfig", "Elementary", "ElementaryConfig", "rank_positions"]
