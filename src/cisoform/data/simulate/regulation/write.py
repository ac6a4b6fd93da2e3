"""The folder of a regulatory simulation.

The same config gives the same bytes in every file with the same versions of the libraries: text, BED, TSV, JSON,
FASTA, bgzip and its indexes, bigWig and the 10x HDF5. `.h5mu` and parquet carry the name and version of the library
that wrote them, and change with it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cisoform.data.simulate.regulation import files
from cisoform.data.simulate.regulation.crispr import crispr_table
from cisoform.data.simulate.regulation.edits import knock_all, make_variants
from cisoform.data.simulate.regulation.multiome import require_writers, write_10x, write_fragments, write_h5mu
from cisoform.data.simulate.regulation.readme import FILES, readme_text
from cisoform.data.simulate.regulation.simulation import Regulation
from cisoform.data.simulate.regulation.tracks import mark_levels
from cisoform.data.simulate.regulation.truth import (
    change_table,
    element_table,
    gene_table,
    knockouts_json,
    link_table,
    site_table,
    tf_link_table,
    tf_table,
    truth,
    variant_table,
)
from cisoform.genome.files import atomic_directory


def write_regulation(
    regulation: Regulation, out: str | os.PathLike[str], *, bgzip: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Write every file into a new folder.

    Args:
        regulation: What to write.
        out: Folder; an existing one that is not empty is an error unless `overwrite`.
        bgzip: Write `genome.fa.gz` instead of `genome.fa`.
        overwrite: Replace an existing folder.

    Returns:
        The content of truth.json.

    Raises:
        InputError: If the folder cannot be written or a package for single-cell files is missing.
    """
    require_writers()
    with atomic_directory(out, overwrite=overwrite) as folder:
        planted = write_truth(regulation, folder)
        write_inputs(regulation, folder, bgzip)
        (folder / "README.txt").write_text(readme_text(regulation, planted))
    return planted


def write_inputs(regulation: Regulation, folder: Path, bgzip: bool) -> None:
    """What a user would bring: genome, annotation, peaks, motifs, tracks, cells, ChIP and tested pairs."""
    levels = mark_levels(
        regulation.config, regulation.roster, regulation.genome, regulation.book, regulation.readout
    )
    files.write_genome(regulation, folder, bgzip)
    texts = {
        "annotation.gtf": files.gtf_lines,
        "peaks.bed": files.peak_lines,
        "blacklist.bed": files.gap_lines,
        "motifs.meme": files.motif_lines,
        "cells.tsv": files.cell_lines,
        "expression.tsv": files.expression_lines,
        "splits.tsv": files.split_lines,
    }
    for name, lines in texts.items():
        files.write_lines(folder / name, lines(regulation))
    files.write_lines(folder / "tfs.txt", (tf.name for tf in regulation.roster.tfs))
    files.write_tracks(regulation, levels, folder)
    files.write_chip(regulation, folder)
    crispr_table(regulation, levels).write_csv(folder / "crispr.tsv", separator="\t")
    write_10x(regulation, folder / "filtered_feature_bc_matrix.h5")
    write_h5mu(regulation, folder / "multiome.h5mu")
    write_fragments(regulation, folder / "atac_fragments.tsv.gz")


def write_truth(regulation: Regulation, folder: Path) -> dict[str, Any]:
    """truth.json, the tables under truth/, the knock-out and knock-in tables, and the variants."""
    (folder / "truth").mkdir()
    links, tf_links = link_table(regulation), tf_link_table(regulation)
    knock_out = knock_all(regulation.book, regulation.readout, 0.0)
    knock_in = knock_all(regulation.book, regulation.readout, 1.0)
    variants = make_variants(
        regulation.config,
        regulation.genome,
        regulation.roster,
        regulation.book,
        regulation.readout,
        regulation.sites,
    )
    tables = {
        "genes": gene_table(regulation),
        "elements": element_table(regulation),
        "sites": site_table(regulation),
        "tfs": tf_table(regulation),
        "links": links,
        "tf_links": tf_links,
        "knockout": change_table(regulation, knock_out),
        "knockin": change_table(regulation, knock_in),
        "variants": variant_table(regulation, variants),
    }
    for name, table in tables.items():
        table.write_parquet(folder / "truth" / f"{name}.parquet")
    files.write_lines(folder / "variants.vcf", files.vcf_lines(regulation, variants))
    planted = truth(regulation, links, tf_links)
    planted["knockout"] = knockouts_json(regulation, knock_out)
    planted["files"] = FILES
    text = json.dumps(planted, indent=1, allow_nan=False)
    (folder / "truth.json").write_text(text + "\n")
    return planted
