"""What predicts the expression of samples of transcripts, where variants ask for it: a trained model or an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from cisoform.data.samples import IsoformSamples
from cisoform.errors import InputError
from cisoform.jobs.isoform_model import IsoformModel, predict

Numbers = npt.NDArray[np.float64]
Update = Callable[[int, int], None]

_JITTER_BP = 8


@runtime_checkable
class Expression(Protocol):
    """Predicts log1p expression from DNA windows, RNA and protein."""

    @property
    def tissues(self) -> list[str]:
        """Names of the predicted columns."""
        ...

    @property
    def members(self) -> int:
        """Predictions of every sample; several = an ensemble."""
        ...

    @property
    def reach(self) -> tuple[int, int]:
        """Bases before the first transcribed base, and from it on, on which a prediction depends; (0, 0) = none."""
        ...

    def values(self, samples: IsoformSamples, update: Update) -> Numbers:
        """log1p expression `(members, samples, tissues)`; `update` is told how much of how much is done."""
        ...


@dataclass(frozen=True)
class ModelExpression:
    """One model, or the members of an ensemble.

    Attributes:
        models: They predict the same columns.
        average: Windows with shifted start to average over (`isoform_model.predict`).
    """

    models: Sequence[IsoformModel]
    average: int = 1

    def __post_init__(self) -> None:
        if len({model.normaliser.columns for model in self.models}) != 1:
            raise InputError(
                "the models predict different tissues; give runs that were trained on the same columns"
            )

    @property
    def tissues(self) -> list[str]:
        """Names of the transcript-level columns; of all if there are none."""
        return [self.models[0].columns[index].name for index in self._chosen]

    @property
    def _chosen(self) -> list[int]:
        columns = self.models[0].columns
        return [i for i, c in enumerate(columns) if c.level == "transcript"] or list(range(len(columns)))

    @property
    def members(self) -> int:
        """Number of models."""
        return len(self.models)

    @property
    def reach(self) -> tuple[int, int]:
        """The longest reach of a member, with the way that averaged windows move."""
        up = down = 0
        for model in self.models:
            loader = model.loader
            if "dna" in loader.modalities and model.model.config.dna is not None:
                before = loader.dna_window // 2 if loader.dna_upstream is None else loader.dna_upstream
                up, down = max(up, before), max(down, loader.dna_window - before)
        jitter = 0
        if self.average > 1 and up + down:
            jitter = max(_JITTER_BP, *(model.loader.augmentation.tss_jitter for model in self.models))
        return up + jitter, down + jitter

    def values(self, samples: IsoformSamples, update: Update) -> Numbers:
        """See `Expression.values`; a sample that has nothing a model reads gets the model's constant."""
        found = predict(self.models, samples, average=self.average, update=update, strict=False)
        return found[:, :, self._chosen].astype(np.float64)
