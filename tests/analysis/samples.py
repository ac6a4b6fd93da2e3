"""Small untrained models and random samples of peaks for the readings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cisoform.analysis.inputs import PeakInputs
from cisoform.models.creformer import CREformer, CREformerConfig, ElementaryConfig

torch.set_num_threads(1)
DIM = 16


def tiny(layers: int = 2, released: bool = False, seed: int = 0, **changes: object) -> CREformer:
    """Ours, or the released form (rank positions, flat head, padding that takes part, post-norm)."""
    torch.manual_seed(seed)
    sizes = ElementaryConfig(
        dim=DIM, heads=2, ffn=24, bin_layers=1, window_layers=1, norm_first=not released, tracks=("atac",)
    )
    form = {"positions": "rank", "head": "flat", "mask_padding": False} if released else {}
    config = CREformerConfig(
        elementary=sizes,
        layers=layers,
        max_peaks=11,
        **{**form, **changes},  # type: ignore[arg-type]
    )
    return CREformer(config).eval()


def some_inputs(counts: Sequence[int] = (3, 7, 5), seed: int = 1, slots: int | None = None) -> PeakInputs:
    """Samples of so many peaks with random vectors, garbage at padding."""
    rng = np.random.default_rng(seed)
    slots = slots or max(counts)
    mask = np.arange(slots) < np.array(counts)[:, None]
    tss = np.array([count // 2 for count in counts])
    steps = np.abs(np.arange(slots) - tss[:, None])
    generator = torch.Generator().manual_seed(seed)
    real = torch.randn(len(counts), max(counts), DIM, generator=generator)
    vectors = torch.full((len(counts), slots, DIM), 99.0)
    vectors[:, : max(counts)] = real
    return PeakInputs(
        vectors=vectors,
        mask=torch.from_numpy(mask),
        distance_bp=torch.from_numpy(np.where(mask, (np.arange(slots) - tss[:, None]) * 1000.0, 0)).float(),
        rank=torch.from_numpy(np.where(mask & (steps > 0), 2 * steps, 0)).long(),
        tss_peak=torch.from_numpy(tss),
        peak=torch.from_numpy(np.where(mask, np.arange(slots), -1)),
        accessibility=torch.from_numpy(np.where(mask, rng.random(mask.shape), 0)).float(),
        state=torch.from_numpy(np.where(mask, np.arange(slots), -1)),
        gene=torch.arange(len(counts)),
        group=torch.zeros(len(counts), dtype=torch.int64),
    )
