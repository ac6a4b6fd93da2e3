"""Accessibility as a pre-trained Elementary predicts it from bases alone: what variants may change it by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cisoform.analysis.variants import Expected
from cisoform.benchmark.elementary import level_centres
from cisoform.errors import InputError
from cisoform.jobs import elementary
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.regulation_predict import features_of
from cisoform.tokens.peaks import dna_tokens
from cisoform.training.elementary import posterior

Codes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]

_WINDOWS_AT_ONCE = 64


def accessibility_of(path: Path, model: CREformerModel, device: str = "cpu") -> Expected:
    """Accessibility that a pre-trained Elementary predicts from the bases of windows alone.

    Args:
        path: A run of `cisoform regulation pretrain`.
        model: The CREformer whose accessibility track is meant.
        device: Where it runs.

    Raises:
        InputError: If the run does not know the track.
    """
    loaded = elementary.load(path, device)
    track = features_of(model).track
    if track not in loaded.tracks:
        raise InputError(
            f"--elementary {path}: has no track {track!r}, the accessibility of the model; it has "
            f"{', '.join(loaded.tracks)}"
        )
    centres = torch.from_numpy(level_centres(loaded.edges[track])).float()
    head = loaded.task.pretraining.bin_heads[track]
    where = next(head.parameters()).device
    weights = loaded.task.bin_weights[track]

    @torch.no_grad()
    def expected(windows: Codes) -> Numbers:
        parts = []
        for first in range(0, len(windows), _WINDOWS_AT_ONCE):
            dna = torch.from_numpy(dna_tokens(windows[first : first + _WINDOWS_AT_ONCE]).astype(np.int32))
            bins = loaded.elementary(dna.to(where), {})
            share = posterior(head(bins).flatten(0, 1), weights).cpu()
            parts.append((share @ centres).reshape(bins.shape[:2]).numpy().astype(np.float64))
        return np.concatenate(parts) if parts else np.empty((0, 8))

    return expected
