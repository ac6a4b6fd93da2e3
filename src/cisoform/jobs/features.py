"""`regulation features` without the command line: the attention feature as tables and AnnData, and what it tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from torch import Tensor

from cisoform.analysis.attention_feature import AttentionFeatures, Form, Reference, attention_features
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import PeakInputs
from cisoform.analysis.reader import Reader
from cisoform.analysis.scores import Variant, slots_at_once
from cisoform.errors import InputError
from cisoform.features.states import Update
from cisoform.genome.files import require_file
from cisoform.jobs.score import ScoreConfig, score_inputs

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
LAYER = "attention_feature"
_SAME = 0.95


@dataclass(frozen=True, kw_only=True)
class FeatureChoice:
    """Which attention feature.

    Attributes:
        variant: Score of the peaks.
        form: What the window sum is multiplied by (`analysis.attention_feature`).
        reference: What the scores are compared with.
    """

    variant: Variant = "exact"
    form: Form = "cosine"
    reference: Reference = "cell"


def compute(
    reader: Reader, grouping: Grouping, genes: Ints, choice: FeatureChoice, update: Update | None = None
) -> AttentionFeatures:
    """The attention feature of genes in groups."""
    config = ScoreConfig(variants=(choice.variant,), samples=0)

    def scorer(inputs: PeakInputs) -> Tensor:
        return score_inputs(reader, inputs, config)[choice.variant]

    widest = int(reader.dataset.index.count[genes].max())
    slots = slots_at_once(reader.model, widest)
    return attention_features(reader, grouping, genes, scorer, slots, choice.reference, update)


def feature_table(found: AttentionFeatures, reader: Reader, form: Form) -> pl.DataFrame:
    """gene_id, gene_name, group, window_accessibility, cosine, centred_cosine, attention_feature; gene by gene."""
    n_groups, n_genes = found.window.shape
    gene, group = np.repeat(found.genes, n_groups).tolist(), np.tile(found.groups, n_genes).tolist()
    return pl.DataFrame(
        {
            "gene_id": reader.genes["gene_id"].gather(gene),
            "gene_name": reader.genes["gene_name"].gather(gene),
            "group": reader.groups["name"].gather(group),
            "window_accessibility": found.window.T.reshape(-1),
            "cosine": found.cosine.T.reshape(-1),
            "centred_cosine": found.centred.T.reshape(-1),
            "attention_feature": found.feature(form).T.reshape(-1),
        }
    )


def label_table(found: AttentionFeatures, reader: Reader, grouping: Grouping, form: Form) -> pl.DataFrame:
    """Means over the groups of each label: gene_id, gene_name, label, n_groups, and the numbers of `feature_table`."""
    label = pl.Series("label", grouping.labels).gather(grouping.of(found.groups).tolist())
    table = feature_table(found, reader, form)
    numbers = [name for name, kind in table.schema.items() if kind == pl.Float64]
    by_gene = pl.concat([label] * len(found.genes)) if len(found.genes) else label
    return (
        table.with_columns(by_gene)
        .group_by("gene_id", "gene_name", "label", maintain_order=True)
        .agg(pl.len().alias("n_groups"), pl.col(numbers).mean())
    )


def reference_table(found: AttentionFeatures, reader: Reader, grouping: Grouping) -> pl.DataFrame:
    """gene_id, gene_name, reference (a group or a label), largest_window: what each gene was compared with."""
    rows = found.genes.tolist()
    of_group = found.kind == "cell"
    names = reader.groups["name"].to_list() if of_group else list(grouping.labels)
    return pl.DataFrame(
        {
            "gene_id": reader.genes["gene_id"].gather(rows),
            "gene_name": reader.genes["gene_name"].gather(rows),
            "reference": [names[one] for one in found.reference.tolist()],
            "largest_window": found.window.max(axis=0),
        }
    )


def summary(found: AttentionFeatures, form: Form) -> dict[str, Any]:
    """Spread of the cosines, and how the feature goes with the window sum alone; with warnings.

    `like_window` is the median over genes of Spearman's correlation across groups.
    """
    from scipy.stats import spearmanr

    values, window = found.feature(form), found.window
    alike = [
        float(spearmanr(values[:, gene], window[:, gene]).statistic)
        for gene in range(values.shape[1])
        if np.ptp(values[:, gene]) > 0 and np.ptp(window[:, gene]) > 0
    ]
    like = float(np.median(alike)) if alike else None
    result: dict[str, Any] = {
        "cosine": {"mean": float(found.cosine.mean()), "sd": float(found.cosine.std())},
        "centred_cosine": {"mean": float(found.centred.mean()), "sd": float(found.centred.std())},
        "like_window": like,
        "warnings": [],
    }
    if form != "window" and like is not None and like > _SAME:
        result["warnings"].append(
            f"the feature is nearly the window sum alone (median Spearman across groups {like:.3f}): the cosine adds "
            "little to accessibility"
        )
    return result


def check_adata(path: Path) -> None:
    """Refuse a file that cannot be written into, before any work.

    Raises:
        InputError: A missing file, another ending, or the extra is not installed.
    """
    if path.suffix not in (".h5ad", ".h5mu"):
        raise InputError(f"--adata {path}: ends in {path.suffix!r}; give an .h5ad or .h5mu")
    require_file(path, "--adata")
    try:
        import anndata  # noqa: F401
        import mudata  # noqa: F401
    except ImportError:
        raise InputError(
            f"--adata {path}: needs the extra 'multiome': pip install 'cisoform[multiome]'"
        ) from None


def write_into(
    path: Path, target: Path, found: AttentionFeatures, reader: Reader, form: Form, about: Mapping[str, Any]
) -> dict[str, int]:
    """A copy of an AnnData file (or of the `rna` of a MuData file) with `layers["attention_feature"]`.

    Cells are matched by name, genes by id, then by name. The layer is sparse; `obs` and `var` say in a column
    `attention_feature` where it was computed.

    Args:
        path: The file.
        target: The copy.
        found: The features.
        reader: Whose groups and genes they are.
        form: Which form is written.
        about: Written as JSON into `uns["attention_feature"]`.

    Returns:
        cells and genes that were matched.

    Raises:
        InputError: The file cannot be read, or shares no cell or no gene with the data.
    """
    import anndata
    import mudata

    with mudata.set_options(pull_on_update=False):
        try:
            whole = anndata.read_h5ad(path) if path.suffix == ".h5ad" else mudata.read_h5mu(path)
        except Exception as error:  # noqa: BLE001 - anndata raises classes of its own for what it cannot read
            said = " ".join(str(error).split())[:200]
            raise InputError(f"--adata {path}: cannot be read: {said}") from None
        if path.suffix == ".h5mu" and "rna" not in whole.mod:
            raise InputError(f"--adata {path}: has no modality 'rna' ({', '.join(whole.mod)})")
        data = whole if path.suffix == ".h5ad" else whole.mod["rna"]
        cells, genes = _match(path, data, found, reader)
        _set_layer(data, cells, genes, found.feature(form), about)
        whole.write(target)
    return {"cells": int((cells >= 0).sum()), "genes": int((genes >= 0).sum())}


def _match(path: Path, data: Any, found: AttentionFeatures, reader: Reader) -> tuple[Ints, Ints]:
    """Row and column of each of our groups and genes in the file; -1 where it is not there."""
    cells = _places(list(data.obs_names), reader.groups["name"].gather(found.groups.tolist()).to_list())
    genes = _places(list(data.var_names), reader.genes["gene_id"].gather(found.genes.tolist()).to_list())
    by_name = _places(list(data.var_names), reader.genes["gene_name"].gather(found.genes.tolist()).to_list())
    genes = np.where(genes < 0, by_name, genes)
    for what, places, theirs, column in (
        ("cell", cells, data.obs_names, reader.groups["name"]),
        ("gene", genes, data.var_names, reader.genes["gene_id"]),
    ):
        if (places < 0).all():
            one = theirs[0] if len(theirs) else ""
            raise InputError(
                f"--adata {path}: shares no {what} with the data ({one!r} there, {column[0]!r} here); "
                "give the file that the data set was built from"
            )
    return cells, genes


def _places(theirs: list[str], ours: list[str]) -> Ints:
    """Place of each of ours among theirs; -1 where it is not."""
    at = {name: row for row, name in reversed(list(enumerate(theirs)))}
    return np.array([at.get(name, -1) for name in ours], dtype=np.int64)


def _set_layer(data: Any, cells: Ints, genes: Ints, values: Numbers, about: Mapping[str, Any]) -> None:
    from scipy.sparse import coo_matrix

    kept = np.ix_(np.flatnonzero(cells >= 0), np.flatnonzero(genes >= 0))
    part = values[kept].astype(np.float32)
    row, column = np.nonzero(part)
    place = cells[cells >= 0][row], genes[genes >= 0][column]
    data.layers[LAYER] = coo_matrix((part[row, column], place), shape=data.shape).tocsr()
    data.obs[LAYER] = np.isin(np.arange(data.n_obs), cells)
    data.var[LAYER] = np.isin(np.arange(data.n_vars), genes)
    data.uns[LAYER] = json.dumps(about)
