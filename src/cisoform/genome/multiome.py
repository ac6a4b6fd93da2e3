"""RNA and ATAC of the same cells: 10x `filtered_feature_bc_matrix.h5`, a pair of `.h5ad`, or one `.h5mu`.

Everything is matched by name: cells by barcode (with or without `-1`, with `_rna` and `_atac` endings), features by
id. Order in a file means nothing. Counts stay on disk (`hdf5.CountMatrix`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_text
from cisoform.genome.hdf5 import CountMatrix, column_of, index_of, matrix_layout, open_hdf5, texts

GENE_EXPRESSION, PEAKS = "Gene Expression", "Peaks"
MIN_OVERLAP = 0.5
_ENDING = re.compile(r"[_.:#-]?(?:rna|gex|gene|atac|peaks?)$", re.IGNORECASE)
_GEM = re.compile(r"-\d+(?=$|_)")


@dataclass(frozen=True)
class Multiome:
    """Two matrices, or the RNA alone where the signal comes from fragments.

    Attributes:
        rna: Cells x genes.
        atac: Cells x peaks, or None.
        source: The files, for messages.
    """

    rna: CountMatrix
    atac: CountMatrix | None
    source: str


def read_multiome(path: PathLike, layer: str | None = None) -> Multiome:
    """Open a 10x `.h5` or an `.h5mu`.

    Args:
        path: The file.
        layer: Layer of an `.h5mu`'s modalities that holds the counts; None = X.

    Raises:
        InputError: If it is neither, lacks genes or peaks, or repeats a barcode or feature.
    """
    with open_hdf5(path, "multiome") as file:
        if "matrix" in file:
            rna, atac = _read_10x(Path(path), file["matrix"], (GENE_EXPRESSION, PEAKS))
            return Multiome(rna, atac, str(path))
        if "mod" in file:
            return _read_h5mu(Path(path), file, layer)
        if "X" in file and "obs" in file:
            raise InputError(f"{path}: is one .h5ad; give the pair with --rna and --atac")
    raise InputError(
        f"{path}: is no multiome file; expected a 10x filtered_feature_bc_matrix.h5 or an .h5mu with rna and atac"
    )


def read_h5ad(path: PathLike, what: str, layer: str | None = None) -> CountMatrix:
    """Open the matrix of an `.h5ad`.

    Args:
        path: The file.
        what: "rna" or "atac", for messages.
        layer: Layer that holds the counts; None = X.

    Raises:
        InputError: If it is no `.h5ad`, or repeats a barcode or feature.
    """
    with open_hdf5(path, f"{what} h5ad") as file:
        if "obs" not in file or "var" not in file:
            held = ", ".join(sorted(file)[:5])
            raise InputError(f"{path}: is no .h5ad ({what}): holds {held}; expected X, obs and var")
        return _read_anndata(Path(path), file, "", layer)


def read_rna_10x(path: PathLike) -> CountMatrix | None:
    """The genes of a 10x `.h5`, or None if the file is no such file."""
    with open_hdf5(path, "rna") as file:
        return _read_10x(Path(path), file["matrix"], (GENE_EXPRESSION,))[0] if "matrix" in file else None


def _read_10x(path: Path, matrix: Any, wanted: Sequence[str]) -> list[CountMatrix]:
    if "features" not in matrix:
        raise InputError(
            f"{path}: has no features group (Cell Ranger < 3); give the filtered_feature_bc_matrix.h5 of "
            "Cell Ranger ARC"
        )
    features = matrix["features"]
    ids, names = texts(features["id"]), texts(features["name"])
    kinds = np.array(texts(features["feature_type"]))
    n_features, n_cells = (int(size) for size in matrix["shape"][()])
    if len(ids) != n_features or len(matrix["barcodes"]) != n_cells:
        raise InputError(
            f"{path}: {len(ids)} features and {len(matrix['barcodes'])} barcodes where the matrix is "
            f"{n_features} x {n_cells}; copy the file again"
        )
    cells = texts(matrix["barcodes"])
    _refuse_repeats(cells, str(path), "barcode")
    found = []
    for kind in wanted:
        columns = np.flatnonzero(kinds == kind)
        if not len(columns):
            held = ", ".join(sorted(set(kinds.tolist())))
            raise InputError(
                f"{path}: holds no {kind!r} features (it has {held}); is it a multiome (Cell Ranger ARC) file?"
            )
        own = [ids[column] for column in columns.tolist()]
        _refuse_repeats(own, str(path), "feature id")
        own_names = [names[column] for column in columns.tolist()]
        shape = (n_cells, n_features)
        found.append(
            CountMatrix(path, "matrix", "csr", shape, cells, own, own_names, columns.astype(np.int64))
        )
    return found


def _read_h5mu(path: Path, file: Any, layer: str | None) -> Multiome:
    held = sorted(file["mod"])
    for name in ("rna", "atac"):
        if name not in held:
            raise InputError(f"{path}: has no modality {name!r}; it has {', '.join(held)}: rename or add it")
    rna = _read_anndata(path, file["mod/rna"], "mod/rna/", layer)
    return Multiome(rna, _read_anndata(path, file["mod/atac"], "mod/atac/", layer), str(path))


def _read_anndata(path: Path, node: Any, prefix: str, layer: str | None) -> CountMatrix:
    place = "X" if layer is None else f"layers/{layer}"
    if place not in node:
        layers = ", ".join(sorted(node["layers"])) if "layers" in node else ""
        raise InputError(f"{path}: has no {prefix}{place}; layers: {layers or 'none'}")
    group = prefix + place
    layout, shape = matrix_layout(node[place], f"{path} ({group})")
    cells = index_of(node["obs"], f"{path} ({prefix}obs)")
    features = index_of(node["var"], f"{path} ({prefix}var)")
    if (len(cells), len(features)) != shape:
        raise InputError(
            f"{path}: {prefix}obs and {prefix}var name {len(cells)} cells and {len(features)} features, but {group} is "
            f"{shape[0]} x {shape[1]}; write the file again"
        )
    _refuse_repeats(cells, f"{path} ({prefix}obs)", "barcode")
    _refuse_repeats(features, f"{path} ({prefix}var)", "feature")
    # The index holds symbols as often as ids; the other of the two may stand in a column.
    ids = column_of(node["var"], "gene_ids") or column_of(node["var"], "gene_id") or features
    return CountMatrix(path, group, layout, shape, cells, ids, features)


def _refuse_repeats(names: Sequence[str], where: str, what: str) -> None:
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            mend = (
                "obs_names_make_unique()" if what == "barcode" else "var_names_make_unique(), or use gene ids"
            )
            raise InputError(f"{where}: {what} {name!r} stands twice; make names unique, e.g. with {mend}")
        seen.add(name)


def cell_column(matrices: Sequence[CountMatrix | None], table: PathLike | None, name: str) -> dict[str, str]:
    """Value of an annotation column for each barcode: from a TSV, or from the `obs` of the files.

    Args:
        matrices: Where to look, in order; of an `.h5mu` the common `obs` is read too.
        table: TSV with a header whose first column is the barcode; None = the files.
        name: The column.

    Raises:
        InputError: If nothing has the column; the ones that are there are shown.
    """
    if table is not None:
        return _table_column(table, name)
    known: dict[str, None] = {}
    for matrix in matrices:
        if matrix is None or matrix.group == "matrix":
            continue
        with open_hdf5(matrix.path, "single-cell matrix") as file:
            prefix = matrix.group.split("X")[0].split("layers/")[0]
            for place in (f"{prefix}obs", "obs"):
                if place not in file:
                    continue
                values = column_of(file[place], name)
                if values is None and prefix:
                    values = column_of(file[place], f"{prefix.split('/')[1]}:{name}")
                if values is not None:
                    return dict(zip(index_of(file[place], f"{matrix.path} ({place})"), values, strict=True))
                known |= dict.fromkeys(key for key in file[place] if not key.startswith("_"))
    files = " and ".join(dict.fromkeys(str(matrix.path) for matrix in matrices if matrix is not None))
    raise InputError(
        f"{files}: cells have no column {name!r}; columns: {', '.join(known) or 'none'} "
        "(a TSV of barcode and columns can be given with --cells)"
    )


def _table_column(path: PathLike, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    with open_text(path, "cell annotation") as handle:
        header = handle.readline().rstrip("\n").split("\t")
        if name not in header[1:]:
            raise InputError(f"{path}: line 1: no column {name!r}; columns: {', '.join(header)}")
        column = header.index(name)
        for number, line in enumerate(handle, 2):
            if not line.strip():
                continue
            fields = line.rstrip("\n").split("\t")
            if len(fields) != len(header):
                raise InputError(
                    f"{path}: line {number}: {len(fields)} columns where the header has {len(header)}"
                )
            if fields[0] in found:
                raise InputError(f"{path}: line {number}: barcode {fields[0]!r} stands twice; keep one")
            found[fields[0]] = fields[column]
    return found


@dataclass(frozen=True)
class BarcodeMatch:
    """Cells that two lists of barcodes share.

    Attributes:
        left: Positions in the left list, ascending.
        right: Position of each in the right list.
        text: One line that states the rule and the counts.
    """

    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    text: str


def _plain(name: str) -> str:
    return name


def _without_ending(name: str) -> str:
    return _ENDING.sub("", name)


def _without_gem(name: str) -> str:
    return _GEM.sub("", name)


def _bare(name: str) -> str:
    return _without_gem(_without_ending(name))


BARCODE_RULES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("as they are", _plain),
    ("without the _rna and _atac endings", _without_ending),
    ("without -1", _without_gem),
    ("without -1 and the _rna and _atac endings", _bare),
)


def match_barcodes(
    left: Sequence[str],
    right: Sequence[str],
    left_name: str,
    right_name: str,
    least: float = MIN_OVERLAP,
) -> BarcodeMatch:
    """Match cells by barcode: as they are, else by the first rule under which enough agree one-to-one.

    Args:
        left: Barcodes of one file, without repeats.
        right: Barcodes of the other.
        left_name: What the left ones are, for messages.
        right_name: What the right ones are.
        least: Smallest share of the smaller list that must be found.

    Raises:
        InputError: If no rule finds that many; three of each side are shown.
    """
    best, best_rule = BarcodeMatch(np.empty(0, np.int64), np.empty(0, np.int64), ""), ""
    for rule_name, rule in BARCODE_RULES:
        keys_left, keys_right = [rule(name) for name in left], [rule(name) for name in right]
        if len(set(keys_left)) < len(left) or len(set(keys_right)) < len(right):
            continue  # two cells would fall together
        place = {name: row for row, name in enumerate(keys_right)}
        pairs = [(row, place[name]) for row, name in enumerate(keys_left) if name in place]
        if len(pairs) > len(best.left):
            both = np.array(pairs, dtype=np.int64)
            text = f"{len(pairs):,} cells are in both {left_name} ({len(left):,}) and {right_name} "
            text += f"({len(right):,}), barcodes taken {rule_name}"
            best, best_rule = BarcodeMatch(both[:, 0], both[:, 1], text), rule_name
        if len(best.left) >= least * min(len(left), len(right)):
            break
    share = len(best.left) / max(1, min(len(left), len(right)))
    if not len(best.left) or share < least:
        found = (
            f"only {share:.0%} of the barcodes agree ({best_rule})" if len(best.left) else "no barcode agrees"
        )
        raise InputError(
            f"{found}: {left_name} has {', '.join(left[:3])}; {right_name} has {', '.join(right[:3])}; are the "
            "files of the same cells? (RNA and ATAC barcodes of 10x differ until Cell Ranger ARC has translated them)"
        )
    return best
