"""What an IsoFormer costs: its parts are counted on a model without values, not by formulas, as encoders differ.

One sample with all inputs at the longest that the recipe reads is run through the model on torch's `meta` device
(shapes alone) under a FLOP counter. Encoders that need values for that are small and run on the CPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cisoform.batches import IsoformBatch, Modality, Tokens
from cisoform.jobs.plan_costs import TRAINING_PASSES, summed, training_state_bytes, weights_bytes
from cisoform.jobs.plan_devices import Speed, fits
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig
from cisoform.recipes import IsoformRecipe, isoform_recipe

MODALITIES = ("dna", "rna", "protein")


def plan_isoform(recipe: str, name: str, speed: Speed, outputs: int) -> dict[str, Any]:
    """Parameters by part, FLOPs of the longest sample and memory.

    Args:
        recipe: Name for the record.
        name: Name among the isoform recipes.
        speed: Throughput that times assume.
        outputs: Tissues.
    """
    chosen = isoform_recipe(name)
    # One group: how rows are bundled is a question of values, and changes no result.
    config = replace(chosen.model, tissues=outputs, group_tokens=None)
    model = _build(config)
    parameters = _parameters(model)
    total = sum(parameters.values())
    forward, kept = _count(model, chosen)
    batch = chosen.loader.limits.batch_size
    memory: dict[str, Any] = {"batch": {"inference_samples": 1, "training_samples": batch}}
    for dtype in ("fp32", "bf16"):
        memory[dtype] = {
            "inference": summed({"weights": weights_bytes(total, dtype), "activations": kept}),
            "training": summed({**training_state_bytes(total, 0, dtype), "activations": batch * kept}),
        }
    memory["fits"] = fits(memory[speed.dtype], speed)
    return {
        "recipe": recipe,
        "system": "IsoFormer",
        "sizes": {"outputs": outputs, "longest": _lengths(chosen), "batch": batch},
        "parameters": {"parts": parameters, "total": total},
        "flops": {"sample": forward, "training_per_sample": TRAINING_PASSES * forward},
        "memory": memory,
        "speed": vars(speed),
        "time": [
            {
                "what": f"{what} the longest sample",
                "amount": 1.0,
                "unit": "sample",
                "flops": flops,
                "seconds": speed.seconds(flops),
                "per_second": speed.sustained / flops,
            }
            for what, flops in (("predicting", forward), ("training on", TRAINING_PASSES * forward))
        ],
        "assumptions": [
            "a sample has DNA, RNA and protein, each of the greatest length that the recipe reads; most are shorter, "
            "and isoforms of a batch that share a start share its DNA",
            "activations are at most so many: float32, attention's weights kept (fused attention keeps none), every "
            "sample of a batch the longest, and nothing freed while predicting",
            "FLOPs are those of matrix products and convolutions; a training step is three forward passes",
            *(["the training rows that kernel regression keeps are not counted"] if config.kernel else []),
        ],
    }


def _build(config: IsoFormerConfig) -> IsoFormer:
    """The model without values where its encoders can be built so, else a small one on the CPU."""
    try:
        with torch.device("meta"):
            return IsoFormer(config)
    except NotImplementedError:
        return IsoFormer(config)


def _parameters(model: IsoFormer) -> dict[str, int]:
    parts: dict[str, nn.Module] = {f"{name} encoder": part for name, part in model.encoders.items()}
    parts |= {"aggregator": model.aggregator, "pools": model.pools, "head": model.head}
    if model.hidden is not None:
        parts["hidden layer of the head"] = model.hidden
    return {name: sum(value.numel() for value in part.parameters()) for name, part in parts.items()}


def _lengths(recipe: IsoformRecipe) -> dict[str, int]:
    loader = recipe.loader
    return {"dna": loader.dna_window, "rna": loader.rna_max, "protein": loader.protein_max}


def _count(model: IsoFormer, recipe: IsoformRecipe) -> tuple[int, int]:
    """FLOPs of a forward pass of the longest sample, and bytes that autograd keeps of it."""
    device = next(model.parameters()).device
    # Storages of meta tensors have no address; `_cdata` tells them apart as long as they are kept.
    weights = {value.untyped_storage()._cdata for value in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return value

    batch = _longest(recipe, device)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value)
    with hooks, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.eval()(batch)
    return counter.get_total_flops(), sum(storage.nbytes() for storage in kept.values())


def _longest(recipe: IsoformRecipe, device: torch.device) -> IsoformBatch:
    one = torch.zeros(1, dtype=torch.int64, device=device)
    found: dict[str, Modality | None] = {}
    for name, length in _lengths(recipe).items():
        encoder = getattr(recipe.model, name)
        ids = torch.zeros(1, length, dtype=torch.int64, device=device)
        channels = ids if getattr(encoder, "channels", 1) and name == "rna" else None
        tokens = Tokens(ids, torch.ones_like(ids, dtype=torch.bool), channels)
        present = torch.ones(1, dtype=torch.bool, device=device)
        found[name] = None if encoder is None else Modality(tokens, one, present)
    return IsoformBatch(dna=found["dna"], rna=found["rna"], protein=found["protein"], index=one)
