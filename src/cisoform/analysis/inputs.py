"""What every reading of a CREformer shares: genes as the vectors of their peaks, and what the model makes of them.

`PeakInputs` is one batch of genes in groups (or one locus), ready for the peak transformer: slots are the peaks of a
gene in genomic order, padded as the model wants it. A reading takes it from a reader (`analysis.reader`), replaces
vectors of slots by those of edited peaks, and predicts again; Elementary runs only for what was edited.

    inputs = next(reader.batches(groups, genes))
    before = predict(reader.model, reader.link, inputs)
    closed = inputs.replaced(where, reader.closed(inputs)[where])
    after = predict(reader.model, reader.link, closed)
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cisoform.models.creformer import CREformer, CREformerConfig
from cisoform.models.creformer.slots import expression_of, extra_slots, pad_slots


@dataclass(frozen=True)
class PeakInputs:
    """Genes in groups as the peak transformer sees them.

    Attributes:
        vectors: Pooled vector of every peak; anything at padding.
        mask: True at real peaks.
        distance_bp: Signed distance of the peak's midpoint to the TSS on the gene's strand (negative = upstream);
            0 at padding. Of a locus without coordinates: NaN.
        rank: Released position ids (`models.creformer.rank_positions`); 0 at padding.
        tss_peak: Slot of the peak nearest the TSS.
        peak: Number of the peak in its data set (or locus); -1 at padding.
        accessibility: Mean measured signal of the peak's 1,029-bp window, whatever the vectors show; 0 at padding.
        state: What the vectors show, as a state id of the data set; -1 at padding and for a locus.
        gene: Number of the gene in its data set; 0 for a locus.
        group: Number of the group (cell or pool); 0 for a locus.
    """

    vectors: Float[Tensor, "batch slots dim"]
    mask: Bool[Tensor, "batch slots"]
    distance_bp: Float[Tensor, "batch slots"]
    rank: Int[Tensor, "batch slots"]
    tss_peak: Int[Tensor, " batch"]
    peak: Int[Tensor, "batch slots"]
    accessibility: Float[Tensor, "batch slots"]
    state: Int[Tensor, "batch slots"]
    gene: Int[Tensor, " batch"]
    group: Int[Tensor, " batch"]

    def __len__(self) -> int:
        return int(self.mask.shape[0])

    @property
    def n_slots(self) -> int:
        """Slots, padding included."""
        return int(self.mask.shape[1])

    def to(self, device: torch.device) -> PeakInputs:
        """The same on another device."""
        return PeakInputs(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def take(self, rows: Int[Tensor, " rows"]) -> PeakInputs:
        """Some samples, in the order given; a sample may come several times (to edit each copy differently)."""
        return PeakInputs(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def position(self, config: CREformerConfig) -> Tensor:
        """Positions as the model's config wants them: rank ids or signed distances."""
        return self.rank if config.positions == "rank" else self.distance_bp

    def padded(self, config: CREformerConfig) -> PeakInputs:
        """With as many slots of padding as the model needs (`models.creformer.slots.extra_slots`).

        Raises:
            InputError: If there are more peaks than the model reads.
        """
        return self.widened(extra_slots(config, self.n_slots))

    def widened(self, more: int) -> PeakInputs:
        """With `more` slots of padding behind the others."""
        if not more:
            return self
        wide = {name: pad_slots(getattr(self, name), more) for name in _BY_SLOT}
        padding = ~wide["mask"]
        for name in ("peak", "state"):
            wide[name] = wide[name].masked_fill(padding, -1)
        return replace(self, **wide)

    def replaced(
        self, where: Bool[Tensor, "batch slots"], vectors: Float[Tensor, "edited dim"]
    ) -> PeakInputs:
        """With other vectors at some slots: a perturbation. The positions, and everything else, stay.

        Args:
            where: Slots to replace; real peaks only.
            vectors: Their new vectors, in the order of `where.nonzero()`.
        """
        if bool((where & ~self.mask).any()):
            raise ValueError("a slot of padding cannot be replaced")
        changed = self.vectors.clone()
        changed[where] = vectors.to(changed.dtype)
        return self.with_vectors(changed)

    def with_vectors(self, vectors: Float[Tensor, "batch slots dim"]) -> PeakInputs:
        """With other vectors at all slots."""
        return replace(self, vectors=vectors)


_BY_SLOT = ("vectors", "mask", "distance_bp", "rank", "peak", "accessibility", "state")


def hidden(
    model: CREformer, inputs: PeakInputs, weights: list[Tensor] | None = None
) -> Float[Tensor, "batch slots dim"]:
    """Hidden vectors of the peaks after they have seen each other; `weights` as in `CREformer.regulate`."""
    found: Tensor = model.regulate(
        inputs.vectors, inputs.mask, inputs.position(model.config), weights=weights
    )
    return found


def predict(model: CREformer, link: str, inputs: PeakInputs) -> Float[Tensor, " batch"]:
    """Predicted expression on the model's scale (log1p for fitted models). Differentiable in `inputs.vectors`."""
    found = model.read(hidden(model, inputs), inputs.mask, inputs.tss_peak)
    return expression_of(found.float(), link)


def attention(model: CREformer, inputs: PeakInputs) -> Float[Tensor, "layers batch heads queries keys"]:
    """The attention weights of the forward pass that predicts, of every layer; each row over keys sums to 1.

    Padding is handled by the model's own rule: never a key where the model masks it, a key like any other where it
    does not (the released model). As queries, pads are there in both cases.
    """
    weights: list[Tensor] = []
    hidden(model, inputs, weights)
    return torch.stack(weights)


@torch.no_grad()
def predict_edits(
    model: CREformer,
    link: str,
    inputs: PeakInputs,
    rows: Int[Tensor, " edits"],
    where: Bool[Tensor, "edits slots"],
    vectors: Float[Tensor, "edited dim"],
    slots_at_once: int = 65_536,
) -> Float[Tensor, " edits"]:
    """Predictions of many edited copies of samples, in bounded memory.

    Args:
        model: In evaluation mode.
        link: As everywhere.
        inputs: The samples before the edits.
        rows: Which sample each edit starts from.
        where: Slots that each edit replaces.
        vectors: New vectors of all of them, in the order of `where.nonzero()`.
        slots_at_once: Slots that pass through the transformer at a time.
    """
    size = max(1, slots_at_once // inputs.n_slots)
    ends = torch.cat([where.new_zeros(1, dtype=torch.int64), where.sum(dim=1).cumsum(0)]).tolist()
    found = []
    for first in range(0, len(rows), size):
        last = min(first + size, len(rows))
        part = inputs.take(rows[first:last])
        part = part.replaced(where[first:last], vectors[ends[first] : ends[last]])
        found.append(predict(model, link, part))
    return torch.cat(found) if found else inputs.vectors.new_empty(0)
