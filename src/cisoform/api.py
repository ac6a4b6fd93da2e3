"""What users import: `cisoform.IsoFormer` and `cisoform.CREformer`.

model = cisoform.IsoFormer.from_pretrained("run")
table = model.predict(genome="genome.fa", annotation="annotation.gtf")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.locus_text import read_locus_text
from cisoform.errors import InputError
from cisoform.jobs.creformer_model import CREformerModel, LocusPrediction, predict_locus
from cisoform.jobs.isoform_model import IsoformModel
from cisoform.jobs.isoform_predict import predict_annotation, predict_sequences


class IsoFormer:
    """A trained IsoFormer, ready to predict.

    Attributes:
        tissues: Names of the columns it predicts, as in the expression table it was trained on.
    """

    def __init__(self, model: IsoformModel) -> None:
        self._model = model

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str = "auto") -> IsoFormer:
        """Load a run folder of `cisoform isoform train`, or a folder of `save_pretrained`.

        Args:
            path: A local folder; nothing is fetched from a hub.
            device: "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            InputError: If there is no model, or it is damaged.
        """
        if str(path).startswith("hf://"):
            raise InputError(
                f"{path}: models of a hub are not read directly; download the folder and give its path"
            )
        return cls(IsoformModel.load(path, device))

    @property
    def tissues(self) -> list[str]:
        """Names of the predicted columns."""
        return self._model.tissues

    def save_pretrained(self, path: str | Path) -> None:
        """Write the model as safetensors and JSON, for `from_pretrained`."""
        self._model.save(path)

    def predict(
        self,
        *,
        genome: str | Path | None = None,
        annotation: str | Path | None = None,
        transcripts: str | Path | None = None,
        sequences: Sequence[Mapping[str, Any]] | None = None,
        dna_sequence: str | None = None,
        rna_sequence: str | None = None,
        protein_sequence: str | None = None,
        average: int = 1,
        tracks: str | Path | None = None,
    ) -> pl.DataFrame | dict[str, float]:
        """Predict log1p expression in every tissue.

        Give either a genome with an annotation, or a list of records, or the sequences of one transcript.

        Args:
            genome: FASTA.
            annotation: GTF or GFF3.
            transcripts: File of transcript ids to keep, one a line.
            sequences: Records with any of `dna_sequence`, `rna_sequence`, `protein_sequence`.
            dna_sequence: DNA on the transcript's strand, its first transcribed base in the middle.
            rna_sequence: Spliced RNA (U or T).
            protein_sequence: One-letter amino acids.
            average: Number of shifted windows to average over.
            tracks: Table of epigenome tracks beside a genome and annotation, for a model that reads them.

        Returns:
            A table `transcript_id, gene_id, <tissues>`; for the sequences of one transcript, tissue -> value.
        """
        one = {
            "dna_sequence": dna_sequence,
            "rna_sequence": rna_sequence,
            "protein_sequence": protein_sequence,
        }
        given = {name: value for name, value in one.items() if value}
        ways = [genome is not None or annotation is not None, sequences is not None, bool(given)]
        if sum(ways) != 1:
            raise InputError(
                "predict needs one of: genome= with annotation=, sequences=, or the sequences of one transcript"
            )
        if tracks is not None and (given or sequences is not None):
            raise InputError(
                "tracks= needs genome= and annotation=: given sequences have no place in a genome"
            )
        if given:
            values = predict_sequences([self._model], [given], "the given sequences", average).values[0]
            return dict(zip(self.tissues, (float(value) for value in values), strict=True))
        if sequences is not None:
            return predict_sequences([self._model], sequences, average=average).table()
        if genome is None or annotation is None:
            raise InputError("predict needs both genome= and annotation=")
        return predict_annotation(
            [self._model], genome, annotation, transcripts, average, tracks=tracks
        ).table()

    def predict_array(self, sequences: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float32]:
        """As `predict(sequences=...)`, but the bare log1p values `(records, tissues)`."""
        return predict_sequences([self._model], sequences).values


class CREformer:
    """A CREformer, ready to predict: converted released weights, or a fitted model."""

    def __init__(self, model: CREformerModel) -> None:
        self._model = model

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str = "auto") -> CREformer:
        """Load a folder of `cisoform weights convert`, of a fitted run, or of `save_pretrained`.

        Args:
            path: A local folder; nothing is fetched from a hub.
            device: "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            InputError: If there is no model, or it is damaged.
        """
        return cls(CREformerModel.load(path, device))

    def save_pretrained(self, path: str | Path) -> None:
        """Write the model as safetensors and JSON, for `from_pretrained`."""
        self._model.save(path)

    def predict_locus(self, path: str | Path, *, tss_peak: int, strand: str) -> LocusPrediction:
        """Expression of one gene from the authors' text form (three lines a peak).

        Args:
            path: The text file, gzip or not.
            tss_peak: 0-based index of the peak nearest the TSS.
            strand: '+' or '-'.
        """
        return predict_locus(self._model, read_locus_text(Path(path)), tss_peak, strand)
