"""Another model's predictions of source, target and perturbed cells, through the scores of a transition."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.transition import Shift, States, shift
from cisoform.errors import InputError
from cisoform.jobs.transition_setting import Setting

Numbers = npt.NDArray[np.float64]


def read_other(path: Path, setting: Setting) -> pl.DataFrame:
    """Another model's predictions through the same scores.

    Args:
        path: An `.h5ad`: `obs["state"]` is source, target or perturbed, `obs["perturbation"]` (optional) names the
            perturbation, X is predicted expression, `var_names` are gene ids or names.
        setting: Whose genes are scored.

    Raises:
        InputError: A file that cannot be read, lacks a state, or shares fewer than two genes.
    """
    try:
        import anndata
    except ImportError:
        raise InputError("--compare needs the extra 'multiome': pip install 'cisoform[multiome]'") from None
    try:
        data = anndata.read_h5ad(path)
    except Exception as error:  # noqa: BLE001 - anndata raises classes of its own for what it cannot read
        said = " ".join(str(error).split())[:200]
        raise InputError(f"--compare {path}: cannot be read: {said}") from None
    if "state" not in data.obs:
        raise InputError(f"--compare {path}: obs has no column 'state' (source, target or perturbed)")
    state = data.obs["state"].astype(str).to_numpy()
    for name in ("source", "target", "perturbed"):
        if not (state == name).any():
            held = ", ".join(sorted(set(state.tolist()))[:5])
            raise InputError(f"--compare {path}: no cell has state {name!r} (there are {held})")
    theirs = {name: column for column, name in reversed(list(enumerate(data.var_names)))}
    about = setting.reader.genes[setting.genes.tolist()]
    columns = [
        theirs.get(gene, theirs.get(name, -1))
        for gene, name in zip(about["gene_id"].to_list(), about["gene_name"].to_list(), strict=True)
    ]
    kept = [column for column in columns if column >= 0]
    if len(kept) < 2:
        raise InputError(
            f"--compare {path}: shares {len(kept)} of the {len(columns)} scored genes; give gene ids"
        )
    matrix = data.X[:, kept]
    values = np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)
    names = (
        data.obs["perturbation"].astype(str).to_numpy()
        if "perturbation" in data.obs
        else np.full(len(values), "perturbed", dtype=object)
    )
    states = States.of(values[state == "source"], values[state == "target"])
    return pl.DataFrame(
        [
            {
                "model": path.name,
                "tf": name,
                "genes": len(kept),
                **asdict(_unpaired(states, values[(state == "perturbed") & (names == name)])),
            }
            for name in dict.fromkeys(names[state == "perturbed"].tolist())
        ]
    ).with_columns(pl.col(pl.Float64).fill_nan(None))


def _unpaired(states: States, perturbed_cells: Numbers) -> Shift:
    """Scores of perturbed cells of which nobody knows which source cell each was: they stand beside their mean."""
    rows = np.arange(len(perturbed_cells)) % len(states.source)
    moved = perturbed_cells.mean(axis=0) - states.source.mean(axis=0)
    single = shift(replace(states, space=None), rows, states.source[rows] + moved)
    among = shift(states, rows, perturbed_cells)
    return replace(single, knn_gain=among.knn_gain, energy_drop=among.energy_drop)
