"""Predict expression: for annotated transcripts of a genome, for given sequences, or for rows of a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cisoform import __version__
from cisoform.data.from_annotation import AnnotatedSamples, read_ids, samples_from_annotation
from cisoform.data.samples import IsoformSamples
from cisoform.data.sequences import samples_from_sequences
from cisoform.data.signal_build import read_table, table_signal
from cisoform.errors import InputError
from cisoform.genome.files import atomic_write
from cisoform.jobs.isoform_model import FloatArray, IsoformModel, predict_distribution
from cisoform.jobs.isoform_uncertainty import Interval, interval_of

SCALE = "log1p"
SUFFIXES = (".parquet", ".tsv", ".h5ad")
SEQUENCE_SUFFIXES = (*SUFFIXES, ".jsonl")


@dataclass(frozen=True)
class Predictions:
    """Predicted expression of transcripts.

    Attributes:
        samples: The transcripts.
        tissues: Names of the columns.
        values: log1p expression `(transcripts, tissues)`, the mean over the models.
        metadata: Scale, unit, model and input, as text; goes into every file that is written.
        warnings: Lines for the user.
        interval: Lower and upper ends of an interval of every value (`metadata` says which), or None.
        from_sequences: Whether bare sequences were given; their tables also hold all values of a record as one
            column `predicted_expression`.
    """

    samples: IsoformSamples
    tissues: list[str]
    values: FloatArray
    metadata: dict[str, str]
    warnings: list[str]
    from_sequences: bool = False
    interval: tuple[FloatArray, FloatArray] | None = None

    def table(self) -> pl.DataFrame:
        """`transcript_id`, `gene_id`, a column per tissue; then `TISSUE low` and `TISSUE high` of intervals."""
        columns: dict[str, Any] = {
            "transcript_id": self.samples.transcript_ids,
            "gene_id": self.samples.gene_ids,
        }
        for index, name in enumerate(self.tissues):
            columns[name] = self.values[:, index]
        for index, name in enumerate(self.tissues if self.interval is not None else ()):
            assert self.interval is not None
            columns[f"{name} low"], columns[f"{name} high"] = (end[:, index] for end in self.interval)
        if self.from_sequences:
            columns["predicted_expression"] = pl.Series(self.values.tolist(), dtype=pl.List(pl.Float32))
        return pl.DataFrame(columns)

    def write(self, path: str | Path) -> None:
        """Write by the file's ending: .parquet, .tsv (metadata as leading `#` lines) or .h5ad.

        Raises:
            InputError: If the ending is another one, or the disk or an extra does not allow it.
        """
        path = Path(path)
        check_output(path)
        if path.suffix == ".h5ad":
            self._write_h5ad(path)
            return
        with atomic_write(path, "wb") as handle:
            if path.suffix == ".parquet":
                self.table().write_parquet(handle, metadata=self.metadata)
            else:
                handle.write("".join(f"# {key}: {value}\n" for key, value in self.metadata.items()).encode())
                self._flat_table().write_csv(handle, separator="\t", float_precision=6, quote_style="never")

    def _flat_table(self) -> pl.DataFrame:
        """The table for text files: the list column as a JSON array."""
        if not self.from_sequences:
            return self.table()
        texts = [json.dumps([round(value, 6) for value in row]) for row in self.values.tolist()]
        return self.table().with_columns(pl.Series("predicted_expression", texts))

    def write_jsonl(self, path: str | Path, records: Sequence[Mapping[str, Any]]) -> None:
        """Write the given records back, each with `predicted_expression`: tissue -> log1p value.

        With intervals also `predicted_interval`: tissue -> [low, high].
        """
        with atomic_write(path, "w") as handle:
            for row, (record, values) in enumerate(zip(records, self.values.tolist(), strict=True)):
                more = {"predicted_expression": dict(zip(self.tissues, values, strict=True))}
                if self.interval is not None:
                    ends = np.stack(self.interval, axis=2)[row].tolist()
                    more["predicted_interval"] = {
                        name: [value if np.isfinite(value) else None for value in pair]
                        for name, pair in zip(self.tissues, ends, strict=True)
                    }
                handle.write(json.dumps({**record, **more}) + "\n")

    def _write_h5ad(self, path: Path) -> None:
        import anndata

        data = anndata.AnnData(self.values)
        data.obs_names, data.var_names = self.samples.transcript_ids, self.tissues
        data.obs["gene_id"] = self.samples.gene_ids
        if self.interval is not None:
            data.layers["low"], data.layers["high"] = self.interval
        data.uns["cisoform"] = dict(self.metadata)
        temporary = path.with_name(f".{path.name}.partial")
        try:
            data.write_h5ad(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def check_output(path: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Refuse, before any work, an output that could not be written.

    Raises:
        InputError: For an unknown ending, a missing folder, or a missing extra.
    """
    if path.suffix not in suffixes:
        raise InputError(f"{path}: ends in {path.suffix!r}; use one of {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: its folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    if path.suffix == ".h5ad":
        try:
            import anndata  # noqa: F401
        except ImportError:
            raise InputError(
                f"{path}: writing .h5ad needs the extra 'multiome': pip install 'cisoform[multiome]'"
            ) from None


def predict_annotation(
    models: Sequence[IsoformModel],
    genome: str | Path,
    annotation: str | Path,
    transcripts: str | Path | None = None,
    average: int = 1,
    code_table: int = 1,
    update: Any = None,
    tracks: str | Path | None = None,
    wide: Interval | None = None,
) -> Predictions:
    """Expression of the transcripts of an annotation; no expression table is needed.

    Args:
        models: One model, or the members of an ensemble, whose mean is returned.
        genome: FASTA.
        annotation: GTF or GFF3.
        transcripts: File of transcript ids, one a line; None = all.
        average: Windows to average over (`isoform_model.predict`).
        code_table: NCBI genetic code.
        update: Called as `update(done, total)`.
        tracks: Table of tracks (`genome.tracks.read_track_table`) whose samples are columns of models that read
            tracks; columns without are predicted from the sequence alone.
        wide: Interval to give; None = none.

    Raises:
        InputError: If a file is damaged or does not fit the genome, or the tracks do not fit the models.
    """
    wanted = None if transcripts is None else read_ids(transcripts)
    found = samples_from_annotation(genome, annotation, wanted, code_table)
    source = f"{Path(genome).name} with {Path(annotation).name}"
    samples, said = found.samples, [found.chromosomes, *found.warnings]
    if tracks is not None:
        samples, more = _with_tracks(models, found, tracks)
        source, said = f"{source} and {Path(tracks).name}", [*said, *more]
    return _predict(models, samples, source, average, update, said, wide)


def _with_tracks(
    models: Sequence[IsoformModel], found: AnnotatedSamples, tracks: str | Path
) -> tuple[IsoformSamples, list[str]]:
    """The samples with tracks round their starts, and what is to be said about them."""
    reading = [model for model in models if model.tracks is not None]
    if not reading:
        raise InputError(f"--tracks {tracks}: the run reads no tracks; leave them out, or train with them")
    first = reading[0]
    assert first.tracks is not None
    asked = read_table(tracks, first.tracks.edges, "the tracks of the run")
    columns = first.normaliser.columns
    signal, said = table_signal(asked, found.samples.table, found.placed, found.lengths, columns)
    return replace(found.samples, signal=signal), said


def predict_sequences(
    models: Sequence[IsoformModel],
    records: Sequence[Mapping[str, Any]],
    source: str = "sequences",
    average: int = 1,
    update: Any = None,
    wide: Interval | None = None,
) -> Predictions:
    """Expression of given sequences: records as `data.sequences.samples_from_sequences` takes them."""
    found = _predict(models, samples_from_sequences(records, source), source, average, update, [], wide)
    return replace(found, from_sequences=True)


def _predict(
    models: Sequence[IsoformModel],
    samples: IsoformSamples,
    source: str,
    average: int,
    update: Any,
    warnings: list[str],
    wide: Interval | None,
) -> Predictions:
    said = [line for model in models if model.tracks for line in model.tracks.check(samples.signal, source)]
    warnings = [*warnings, *dict.fromkeys(said)]
    found = predict_distribution(models, samples, average=average, update=update)
    first = models[0]
    chosen = [index for index, column in enumerate(first.columns) if column.level == "transcript"]
    chosen = chosen or list(range(len(first.columns)))
    units = sorted({first.columns[index].unit for index in chosen})
    metadata = {
        "scale": f"{SCALE} of {'/'.join(units)}: expm1 gives the linear scale",
        "source": source,
        "models": str(len(models)),
        "recipe": str(first.about.get("recipe")),
        "dataset_hash": str(first.about.get("dataset_hash")),
        "seed": ",".join(str(model.about.get("seed")) for model in models),
        "average": str(average),
        "cisoform": __version__,
    }
    for name, cap in (("rna", first.loader.rna_max), ("protein", first.loader.protein_max)):
        long = int((samples.lengths(name) > cap).sum())
        if long:
            end = "its 3' end was read" if name == "rna" else "its N-terminal part was read"
            warnings = [*warnings, f"{long:,} transcripts have a {name} over {cap:,}: of each {end}"]
    mean = np.asarray(found.means.mean(axis=0)[:, chosen], dtype=np.float32)
    ends = None
    if wide is not None:
        ends, metadata["interval"] = interval_of(models, found, wide)
        ends = ends[0][:, chosen], ends[1][:, chosen]
        if not all(np.isfinite(end).all() for end in ends):
            warnings = [*warnings, "a tissue had fewer than 20 validation labels: its interval is left empty"]
    names = [first.columns[i].name for i in chosen]
    return Predictions(samples, names, mean, metadata, warnings, interval=ends)
