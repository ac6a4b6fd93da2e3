"""A CREformer on disk and ready to use: network, configuration, and how its signal is tokenised."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cisoform.configs import config_from_json, config_to_json
from cisoform.data.locus_text import Locus
from cisoform.errors import InputError
from cisoform.models.creformer import CREformer, CREformerConfig, rank_positions
from cisoform.models.creformer.slots import expression_of
from cisoform.tokens.peaks import RELEASED_EDGES, check_edges, dna_tokens, signal_tokens
from cisoform.training.device import resolve_device
from cisoform.weights.store import load_model, save_model

KIND = "creformer"
ABOUT_FILE, TOKENISER_FILE = "about.json", "tokeniser.json"


@dataclass(frozen=True)
class CREformerModel:
    """Both stages with what belongs to them.

    Attributes:
        model: The network, in evaluation mode.
        edges: Level edges of each track's signal.
        about: Provenance: where the weights are from, recipe, seed, hashes, unit of the expression.
    """

    model: CREformer
    edges: Mapping[str, tuple[float, ...]]
    about: dict[str, Any]

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> CREformerModel:
        """Read a model folder, or the model of a run.

        Raises:
            InputError: If there is none, it is damaged, or of another kind.
        """
        stored = load_model(path)
        about = stored.files.get(ABOUT_FILE, {})
        if about.get("kind") != KIND or TOKENISER_FILE not in stored.files:
            raise InputError(
                f"{stored.folder}: is not a CREformer but {about.get('kind')!r}; give a converted or fitted CREformer"
            )
        where = str(stored.folder / "config.json")
        model = CREformer(config_from_json(CREformerConfig, json.dumps(stored.config), where))
        expected = model.state_dict()
        wrong = sorted({*expected} ^ {*stored.state}) or [
            name for name, value in expected.items() if value.shape != stored.state[name].shape
        ]
        if wrong:
            raise InputError(
                f"{stored.folder}: {wrong[0]} does not fit config.json; the folder mixes two models"
            )
        model.load_state_dict(stored.state)
        edges = {name: check_edges(values) for name, values in stored.files[TOKENISER_FILE]["edges"].items()}
        return cls(model.eval().to(resolve_device(device)), edges, about)

    def save(self, path: str | Path) -> None:
        """Write the model as safetensors and JSON."""
        config, files = self.export()
        save_model(path, self.model.state_dict(), config, files)

    def export(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """`config.json` and the further JSON files of the model folder."""
        files = {
            TOKENISER_FILE: {"edges": {name: list(values) for name, values in self.edges.items()}},
            ABOUT_FILE: {**self.about, "kind": KIND},
        }
        return json.loads(config_to_json(self.model.config)), files


def released_edges(tracks: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The published edges for every track."""
    return dict.fromkeys(tracks, RELEASED_EDGES)


@dataclass(frozen=True)
class LocusPrediction:
    """Expression of one gene from the peaks of a locus.

    Attributes:
        expression: As the model gives it (the released model's unit is not published).
        peaks: Ids of the peaks that were read, in genomic order.
        tss_peak: Index of the peak nearest the TSS among them.
    """

    expression: float
    peaks: list[str]
    tss_peak: int


@torch.inference_mode()
def predict_locus(
    model: CREformerModel,
    locus: Locus,
    tss_peak: int,
    strand: str,
    track: str = "atac",
    released_edge_bugs: bool = False,
) -> LocusPrediction:
    """Predict one gene from a locus in the authors' text form.

    Args:
        model: A model with rank positions (the released form).
        locus: Peaks in genomic order.
        tss_peak: 0-based index of the peak nearest the TSS.
        strand: '+' or '-'.
        track: Name of the signal's track.
        released_edge_bugs: Also write positions where the released code does at the first and last peak.

    Raises:
        InputError: If the TSS peak, the strand, the track or the number of peaks does not fit the model.
    """
    hidden, mask, placed = regulate_locus(model, locus, tss_peak, strand, track, released_edge_bugs)
    output = model.model.read(hidden, mask, placed)
    value = expression_of(output, model.about.get("link", "identity"))
    return LocusPrediction(float(value[0]), list(locus.ids), tss_peak)


def regulate_locus(
    model: CREformerModel,
    locus: Locus,
    tss_peak: int,
    strand: str,
    track: str = "atac",
    released_edge_bugs: bool = False,
    weights: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden peaks of one gene, their mask, and the index of its TSS peak; `weights` takes the attention."""
    config, count = model.model.config, len(locus.ids)
    _check_locus(model, count, tss_peak, strand, track)
    device = next(model.model.parameters()).device
    dna = torch.from_numpy(dna_tokens(locus.dna).astype(np.int32)).to(device)
    signal = torch.from_numpy(signal_tokens(locus.signal, model.edges[track])).to(device)
    peaks = model.model.encode_peaks(dna, {track: signal})
    slots = config.max_peaks
    padded = peaks.new_zeros(1, slots, peaks.shape[1])
    padded[0, :count] = peaks
    mask = torch.arange(slots, device=device)[None] < count
    position = rank_positions(count, tss_peak, strand, slots, released_edge_bugs)[None].to(device)
    hidden = model.model.regulate(padded, mask, position, weights=weights)
    return hidden, mask, torch.tensor([tss_peak], device=device)


def _check_locus(model: CREformerModel, count: int, tss_peak: int, strand: str, track: str) -> None:
    config = model.model.config
    if config.positions != "rank":
        raise InputError(
            "this model places peaks by distance, which the text form does not hold; "
            "use a data set (--data), or a model with rank positions"
        )
    if count > config.max_peaks:
        raise InputError(
            f"the locus has {count} peaks, the model reads at most {config.max_peaks}; keep the nearest"
        )
    if not 0 <= tss_peak < count:
        raise InputError(f"--tss-peak {tss_peak}: the locus has {count} peaks, numbered 0 to {count - 1}")
    if strand not in ("+", "-"):
        raise InputError(f"--strand {strand!r} is not + or -")
    if track not in model.edges:
        raise InputError(f"track {track!r} is not one of the model's: {', '.join(model.edges)}")
