"""The attention of a run's RNA encoder on the regions of transcripts, beside that before fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from cisoform import __version__
from cisoform.analysis.isoform_attention import (
    REGIONS,
    AttentionShares,
    Update,
    attention_shares,
    attention_table,
    same_weights,
)
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.jobs.isoform_model import ABOUT_FILE, KIND, IsoformModel
from cisoform.models.encoders import PretrainedEncoder
from cisoform.models.encoders.attention import has_attention
from cisoform.models.isoformer import IsoFormer
from cisoform.weights.rotary import read_rotary
from cisoform.weights.store import MANIFEST_FILE, load_model

FDR = 0.05


@dataclass(frozen=True)
class AttentionResult:
    """What the reading found.

    Attributes:
        shares: Shares of every family, layer, head and region, with nulls.
        table: A row per layer, head and region.
        summary: Plain numbers for JSON.
    """

    shares: AttentionShares
    table: pl.DataFrame
    summary: dict[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """The table as plain rows."""
        return self.table.to_dicts()


def rna_encoder(model: IsoformModel, run: Path) -> nn.Module:
    """The RNA encoder of a run.

    Raises:
        InputError: If it reads no RNA, or its encoder has no attention.
    """
    config = model.model.config.rna
    if config is None or "rna" not in model.loader.modalities:
        raise InputError(f"{run}: the model reads no RNA; train one that does")
    encoder = model.model.encoders["rna"]
    if not has_attention(encoder):
        raise InputError(
            f"{run}: its RNA encoder, kind {config.kind!r}, has no attention; train one with --set "
            "model.rna.kind=nt_v2 (or conv with transformer_layers of 1 or more)"
        )
    return encoder


def encoder_before(model: IsoformModel, run: Path, before: Path | None, device: str) -> tuple[nn.Module, str]:
    """The RNA encoder as it was before fine-tuning, and where it is from.

    Args:
        model: The fine-tuned run.
        run: Its folder.
        before: Another run, a run of `isoform pretrain` or a checkpoint; None = the initial weights, which the run's
            seed gives again where it started from nothing.
        device: Where models are loaded.

    Raises:
        InputError: If the run started from a checkpoint and none is given, or the one given is of another form.
    """
    started = model.about.get("encoders", {}).get("rna")
    if before is None:
        if started is not None:
            raise InputError(
                f"{run}: its RNA encoder started from weights ({started.get('source')}), which a run does not keep; "
                "give them with --before FOLDER"
            )
        return _fresh(
            model, int(model.about["seed"])
        ), f"initial weights, made again from seed {model.about['seed']}"
    if _is_isoformer(before):
        other = IsoformModel.load(before, device)
        encoder = rna_encoder(other, before)
        _check_form(model.model.encoders["rna"], encoder, run, before)
        return encoder, f"run {before.name}"
    return _from_checkpoint(model, run, before), f"checkpoint {before.name}"


def _is_isoformer(folder: Path) -> bool:
    if not any((place / MANIFEST_FILE).is_file() for place in (folder, folder / "model")):
        return False
    return bool(load_model(folder).files.get(ABOUT_FILE, {}).get("kind") == KIND)


def _fresh(model: IsoformModel, seed: int) -> nn.Module:
    """The encoder that training began with: config and seed give the same numbers as in `isoform_train.prepare`."""
    device = next(model.model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = IsoFormer(model.model.config)
    return fresh.eval().to(device).encoders["rna"]


def _from_checkpoint(model: IsoformModel, run: Path, before: Path) -> nn.Module:
    encoder = _fresh(model, int(model.about["seed"]))
    if not isinstance(encoder, PretrainedEncoder):
        raise InputError(
            f"--before {before}: a checkpoint, but the RNA encoder of {run} is no nt_v2; give a run"
        )
    found = read_rotary(before, "nt_v2")
    if found.config != encoder.config.network:
        raise InputError(
            f"--before {before}: has width {found.config.dim} and {found.config.layers} layers, the RNA encoder of "
            f"{run} has width {encoder.config.network.dim} and {encoder.config.network.layers}"
        )
    device = next(encoder.parameters()).device
    encoder.load_pretrained({name: value.to(device) for name, value in found.body.items()})
    return encoder


def _check_form(ours: nn.Module, theirs: nn.Module, run: Path, before: Path) -> None:
    sizes = [{name: tuple(value.shape) for name, value in one.state_dict().items()} for one in (ours, theirs)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"--before {before}: its RNA encoder is of another form or size than that of {run}; give a run of the same "
            "recipe"
        )


def choose_rows(
    dataset: IsoformDataset, split: str, n: int, modality: str = "rna"
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Transcripts with all three regions of a split, at most `n`, taken evenly.

    Raises:
        InputError: If the split is unknown or has fewer than two.
    """
    samples = dataset.samples
    rows = dataset.rows(split)
    length = samples.lengths(modality)[rows]
    start, end = samples.cds_start[rows], samples.cds_end[rows]
    rows = rows[samples.has(modality)[rows] & (start > 0) & (end > start) & (end < length)]
    if len(rows) < 2:
        raise InputError(
            f"{dataset.path}: split {split!r} has {len(rows)} transcripts with 5'UTR, CDS and 3'UTR; choose another "
            "split"
        )
    if len(rows) > n:
        rows = rows[np.linspace(0, len(rows) - 1, n).round().astype(np.int64)]
    return rows.astype(np.int64)


def read_attention(
    run: Path,
    dataset: IsoformDataset,
    *,
    before: Path | None = None,
    split: str = "test",
    transcripts: int = 300,
    draws: int = 200,
    seed: int = 0,
    device: str = "cpu",
    update: Update | None = None,
) -> AttentionResult:
    """Compare the attention of a run's RNA encoder with that before fine-tuning.

    Args:
        run: Run of `isoform train`.
        dataset: Transcripts to read.
        before: See `encoder_before`.
        split: Which transcripts.
        transcripts: How many at most.
        draws: Of the permutation null.
        seed: Of the draws.
        device: As everywhere.
        update: Is told how many transcripts are done.

    Raises:
        InputError: If the encoder has no attention, the states before cannot be had or are the same, or the split has
            too few transcripts.
    """
    model = IsoformModel.load(run, device)
    after = rna_encoder(model, run)
    first, source = encoder_before(model, run, before, device)
    if same_weights(first, after):
        raise InputError(
            f"{run}: the RNA encoder has the same weights as before ({source}): it was frozen; train it with "
            "--set model.rna.learn=full, or give another --before"
        )
    rows = choose_rows(dataset, split, transcripts)
    shares = attention_shares(
        first,
        after,
        dataset.samples,
        rows,
        dataset.family,
        model.loader,
        draws=draws,
        seed=seed,
        update=update,
    )
    table = attention_table(shares)
    summary = {
        "before": source,
        "split": split,
        "n_transcripts": len(rows),
        "n_families": len(shares.families),
        "n_layers": int(shares.after.shape[1]),
        "n_heads": int(shares.after.shape[2]),
        "share_of_bases": dict(zip(REGIONS, shares.bases.mean(axis=0).tolist(), strict=True)),
        "regions": _summary(table),
        "permutations": draws,
        "seed": seed,
        "run": {key: model.about.get(key) for key in ("recipe", "seed", "dataset_hash")},
        "dataset_hash": dataset.hash,
        "cisoform": __version__,
    }
    return AttentionResult(shares, table, summary)


def _summary(table: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Per region: mean shares over all heads, and how many heads moved up or down."""
    found: dict[str, dict[str, Any]] = {}
    for region in REGIONS:
        part = table.filter(pl.col("region") == region)
        sure = part.filter(pl.col("fdr") < FDR)
        beyond = part.filter(pl.col("fdr_null_difference") < FDR)
        found[region] = {
            "share_before": part["share_before"].mean(),
            "share_after": part["share_after"].mean(),
            "null_after": part["null_after"].mean(),
            "heads_up": int((sure["difference"] > 0).sum()),
            "heads_down": int((sure["difference"] < 0).sum()),
            "heads_beyond_null": len(beyond),
            "n_heads": len(part),
        }
    return found
