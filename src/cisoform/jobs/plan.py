"""What a recipe costs before anything is run: `cisoform plan`. Numbers are those of `plan_costs`, at a stated speed."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from typing import Any

from cisoform.errors import InputError
from cisoform.jobs import plan_costs as costs
from cisoform.jobs.plan_devices import Speed, fits
from cisoform.jobs.plan_isoform import plan_isoform
from cisoform.models.creformer import CREformerConfig
from cisoform.recipes import ISOFORM_RECIPES
from cisoform.recipes_regulation import (
    ELEMENTARY_RECIPES,
    REGULATORY_RECIPES,
    creformer_config,
    elementary_recipe,
    regulatory_recipe,
)

CREFORMER = "creformer-"
ISOFORMER = "isoformer-"
PUBLISHED_BASES = 34 * 50_000 * 32_768
PUBLISHED_SAMPLES = 165_000_000
DTYPES = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """How much is to be done. Defaults are the published amounts.

    Attributes:
        peaks: Peaks of a gene (44: the authors' example).
        bases: Bases that the first stage reads; None = samples x windows x window.
        samples: (Cell, gene) pairs that the second stage reads.
        biosamples: Samples with tracks in the first stage's data.
        tracks: Tracks of each.
        windows: Windows of each.
        window: Tokens of a window on disk.
        outputs: Tissues of an IsoFormer.
    """

    peaks: int = 44
    bases: float | None = None
    samples: float = PUBLISHED_SAMPLES
    biosamples: int = 34
    tracks: int = 7
    windows: int = 50_000
    window: int = 32_768
    outputs: int = 30

    def __post_init__(self) -> None:
        for name in ("peaks", "bases", "samples", "biosamples", "tracks", "windows", "window", "outputs"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 1):
                raise InputError(f"--{name} {value:g}: must be at least 1")
        if self.window % 128:
            raise InputError(f"--window {self.window}: must be a multiple of 128")

    @property
    def n_bases(self) -> float:
        """Bases of the first stage."""
        if self.bases is not None:
            return self.bases
        return float(self.biosamples * self.windows * self.window)


def recipe_names() -> list[str]:
    """Every name that `plan` takes."""
    both = [name for name in REGULATORY_RECIPES if name in ELEMENTARY_RECIPES]
    return [*(CREFORMER + name for name in both), *(ISOFORMER + name for name in ISOFORM_RECIPES)]


def plan(recipe: str, speed: Speed, options: PlanOptions | None = None) -> dict[str, Any]:
    """Parameters, FLOPs, memory, disk and times of a recipe.

    Args:
        recipe: One of `recipe_names()`.
        speed: Throughput that times assume.
        options: Amounts.

    Raises:
        InputError: For an unknown recipe, or more peaks than the model reads.
    """
    options = options or PlanOptions()
    if recipe not in recipe_names():
        near = difflib.get_close_matches(recipe, recipe_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(recipe_names())}"
        raise InputError(f"recipe {recipe!r} is unknown; {hint}")
    if recipe.startswith(ISOFORMER):
        return plan_isoform(recipe, recipe.removeprefix(ISOFORMER), speed, options.outputs)
    return _plan_creformer(recipe, speed, options)


def _plan_creformer(recipe: str, speed: Speed, options: PlanOptions) -> dict[str, Any]:
    name = recipe.removeprefix(CREFORMER)
    config = creformer_config(name)
    if options.peaks > config.max_peaks:
        raise InputError(f"--peaks {options.peaks}: recipe {recipe!r} reads at most {config.max_peaks}")
    names = tuple(f"track{number}" for number in range(options.tracks))
    pretrained = replace(config, elementary=replace(config.elementary, tracks=names))
    flops = _flops(name, config, pretrained, options)
    return {
        "recipe": recipe,
        "system": "CREformer",
        "sizes": _sizes(config),
        "parameters": _parameters(config, pretrained),
        "flops": flops,
        "memory": _memory(name, config, pretrained, speed, options),
        "disk": _disk(config, options),
        "speed": vars(speed),
        "time": _times(flops, speed, options),
        "options": {**vars(options), "bases": options.n_bases},
        "assumptions": assumptions(),
    }


def _sizes(config: CREformerConfig) -> dict[str, Any]:
    first = config.elementary
    return {
        "width": first.dim,
        "heads": first.heads,
        "feed_forward": first.ffn,
        "layers": [first.bin_layers, first.window_layers, config.layers],
        "norm": "pre" if first.norm_first else "post",
        "positions": config.positions,
        "head": config.head,
        "max_peaks": config.max_peaks,
    }


def _parameters(config: CREformerConfig, pretrained: CREformerConfig) -> dict[str, Any]:
    first, second = costs.elementary_parameters(config.elementary), costs.regulatory_parameters(config)
    tables = costs.elementary_parameters(pretrained.elementary)["track tables"] - first["track tables"]
    return {
        "elementary": first,
        "regulatory": second,
        "total": sum(first.values()) + sum(second.values()),
        "pretraining_only": {
            "further track tables": tables,
            "heads": costs.pretraining_heads(pretrained.elementary),
        },
    }


def _flops(
    name: str, config: CREformerConfig, pretrained: CREformerConfig, options: PlanOptions
) -> dict[str, Any]:
    loader, peaks = elementary_recipe(name).loader, options.peaks
    shares = (loader.hiding.dna_share, loader.hiding.signal_share)
    by_length = [
        costs.pretraining_flops_per_token(pretrained.elementary, length, *shares) for length in loader.lengths
    ]
    per_bp = {part: sum(found[part] for found in by_length) / len(by_length) for part in by_length[0]}
    return {
        "peak": costs.peak_flops(config.elementary),
        "peak_all_tokens": costs.peak_flops(config.elementary, first_only=False),
        "gene": costs.gene_flops(config, peaks),
        "gene_all_tokens": costs.gene_flops(config, peaks, first_only=False),
        "gene_cached": peaks * costs.pool_flops(config.elementary) + costs.regulate_flops(config, peaks),
        "pretraining_per_bp": {**per_bp, "total": sum(per_bp.values())},
        "fit_per_sample": costs.fit_flops(config, peaks, cached=True),
        "fit_per_sample_encoding": costs.fit_flops(config, peaks, cached=False),
    }


def _memory(
    name: str, config: CREformerConfig, pretrained: CREformerConfig, speed: Speed, options: PlanOptions
) -> dict[str, Any]:
    loader, genes = elementary_recipe(name).loader, regulatory_recipe(name).loader.batch_size
    first = sum(costs.elementary_parameters(config.elementary).values())
    second = sum(costs.regulatory_parameters(config).values())
    all_first = sum(costs.elementary_parameters(pretrained.elementary).values())
    all_first += costs.pretraining_heads(pretrained.elementary)
    shares = (loader.hiding.dna_share, loader.hiding.signal_share)
    found: dict[str, Any] = {
        "batch": {"pretraining_tokens": loader.batch_tokens, "fit_samples": genes, "inference_genes": 1}
    }
    for dtype in DTYPES:
        found[dtype] = {
            "inference": costs.summed(
                {
                    "weights": costs.weights_bytes(first + second, dtype),
                    "activations": costs.inference_working_bytes(config, 1, options.peaks, dtype),
                }
            ),
            "pretraining": costs.summed(
                {
                    **costs.training_state_bytes(all_first, 0, dtype),
                    "activations": costs.pretraining_kept_bytes(
                        pretrained.elementary, loader.batch_tokens, *shares, dtype, speed.kind
                    ),
                }
            ),
            "fit": costs.summed(
                {
                    **costs.training_state_bytes(second, first, dtype),
                    "activations": costs.fit_kept_bytes(config, genes, options.peaks, dtype, speed.kind),
                }
            ),
        }
    found["fits"] = fits(found[speed.dtype], speed)
    return found


def _disk(config: CREformerConfig, options: PlanOptions) -> dict[str, Any]:
    dim, size = config.elementary.dim, config.elementary.bin_size
    sets = costs.region_bytes(options.biosamples, options.tracks, options.windows, options.window, size)
    return {
        "feature_cache_per_state": {
            form: {kind: costs.feature_bytes(dim, form, kind, size) for kind in ("fp32", "fp16", "bf16")}
            for form in ("bins", "pooled")
        },
        "regions": costs.summed(sets),
    }


def _times(flops: dict[str, Any], speed: Speed, options: PlanOptions) -> list[dict[str, Any]]:
    rows = [
        ("pre-training", options.n_bases, "bp", flops["pretraining_per_bp"]["total"]),
        ("fitting, features cached", options.samples, "samples", flops["fit_per_sample"]),
        ("fitting, every peak encoded anew", options.samples, "samples", flops["fit_per_sample_encoding"]),
        ("encoding a million states of peaks", 1e6, "states", flops["peak"]),
        ("predicting a gene, nothing cached", 1.0, "gene", flops["gene"]),
    ]
    return [
        {
            "what": what,
            "amount": amount,
            "unit": unit,
            "flops": amount * each,
            "seconds": speed.seconds(amount * each),
            "per_second": speed.sustained / each,
        }
        for what, amount, unit, each in rows
    ]


def assumptions() -> list[str]:
    """What the numbers take for granted."""
    return [
        "a FLOP is a multiplication or an addition of a matrix product; a training step is three forward passes",
        "the last layer inside bins computes the CLS row alone where tokens are not read; `all tokens` is without this",
        "pre-training costs are means over the recipe's window lengths, with all tracks shown",
        "training keeps float32 weights, gradients and AdamW's two means; bf16 is autocast, which adds copies of the "
        "weights; activations are of one batch of the recipe, without recomputation, and allocators take more",
        "fitting leaves Elementary frozen; each peak of a sample is counted, though a batch pools a shared state once",
        "times are of arithmetic at the stated throughput on one device; reading data and small kernels come on top, "
        "which for sizes XS and less can be most of it",
    ]
