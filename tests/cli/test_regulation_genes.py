"""`build-genes` on generated files, and every wrong input told in one line with nothing left behind."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.data.multiome_files import MiniMultiome, write_10x, write_h5ad, write_h5mu, write_multiome

Cli = Callable[..., Any]
CliError = Callable[..., str]


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> MiniMultiome:
    return write_multiome(tmp_path_factory.mktemp("valid") / "files")


@pytest.fixture
def mini(valid: MiniMultiome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MiniMultiome:
    """A copy that a test may spoil; the current folder is empty."""
    shutil.copytree(valid.root, tmp_path / "files")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return MiniMultiome(
        tmp_path / "files",
        *(
            getattr(valid, name)
            for name in ("genes", "peaks", "cells", "types", "counts", "open", "fragments")
        ),
    )


def words(mini: MiniMultiome, **changes: object) -> list[str]:
    options: dict[str, object] = {"genome": mini.genome, "annotation": mini.annotation, "out": "made"}
    options |= {name.replace("_", "-"): value for name, value in changes.items()}
    found = ["regulation", "build-genes"]
    for name, value in options.items():
        found += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return found


def test_a_10x_file_becomes_a_data_set(mini: MiniMultiome, cli: Cli):
    result = cli(*words(mini, multiome=mini.h5))
    assert result.exit_code == 0, result.stderr
    assert "made: 23 groups of 23 cells x 40 genes, 21.7 of 80 peaks a gene" in result.stdout
    assert "40 of 40 features are in genes.gtf, by id" in result.stderr
    assert "already exists" in cli(*words(mini, multiome=mini.h5)).stderr
    again = cli(*words(mini, multiome=mini.h5, json=True, overwrite=True))
    made = json.loads(again.stdout)
    assert made["n_samples"] == 477 and made["signal"] == "levels" and made["tss_enrichment"] > 2


def test_fragments_pools_and_held_out_types(mini: MiniMultiome, cli: Cli):
    files = {"rna": mini.rna, "fragments": mini.fragment_file, "peaks": mini.bed}
    settings = {
        "pool": "pseudobulk:cell_type",
        "cell_types": "cell_type",
        "test_cell_types": "T",
        "valid_cell_types": "B",
    }
    result = cli(*words(mini, **files, **settings, json=True))
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    assert made["signal"] == "coverage" and made["n_groups"] == 4
    assert [made["splits"][part]["groups"] for part in ("train", "valid", "test")] == [2, 1, 1]


def test_edges_are_those_of_a_run_of_stage_1(mini: MiniMultiome, cli: Cli):
    from cisoform.data.genes import GenesDataset

    edges = [float(number) for number in range(1, 35)]
    (mini.root / "run" / "model").mkdir(parents=True)
    kept = {"edges": {"h3k27ac": edges[::-1], "atac": edges}}
    (mini.root / "run" / "model" / "tokens.json").write_text(json.dumps(kept))
    result = cli(*words(mini, multiome=mini.h5, edges=mini.root / "run"))
    assert result.exit_code == 0, result.stderr
    assert GenesDataset.open("made").edges == tuple(edges)


def test_a_full_disk_is_told_and_the_build_goes_on_later(
    mini: MiniMultiome, cli: Cli, cli_error: CliError, monkeypatch: pytest.MonkeyPatch
):
    flush, left = os.fsync, [9]

    def fail(descriptor: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        assert "space" in cli_error(*words(mini, multiome=mini.h5))
    assert [path.name for path in Path().iterdir()] == ["made.partial"]
    result = cli(*words(mini, multiome=mini.h5, resume=True))
    assert result.exit_code == 0 and "work of an interrupted build was kept" in result.stderr
    assert [path.name for path in Path().iterdir()] == ["made"]


def test_two_builds_at_once_are_refused(mini: MiniMultiome, cli_error: CliError):
    from cisoform.data.partial import partial_folder

    with partial_folder("made", {}) as other:
        assert "another process is building made" in cli_error(*words(mini, multiome=mini.h5))
        other.discard()


# --- bad input: name of the case -> (words, what the line must hold) ----------------------------------------------------

Case = Callable[[MiniMultiome], tuple[list[str], list[str]]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__.removeprefix("bad_")] = function
    return function


@case
def bad_no_cells_at_all(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini), ["--multiome", "--rna with --atac"]


@case
def bad_both_kinds_of_input(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.h5, rna=mini.rna), ["either --multiome"]


@case
def bad_rna_alone(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, rna=mini.rna, fragments=mini.fragment_file), ["--fragments together with --peaks"]


@case
def bad_missing_file(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.root / "no.h5"), ["no.h5", "no such file"]


@case
def bad_h5_without_peaks(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    write_10x(mini.h5, mini, ("Gene Expression", "Antibody Capture"))
    return words(mini, multiome=mini.h5), ["no 'Peaks' features", "Antibody Capture"]


@case
def bad_h5_that_is_no_hdf5(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.fragment_file), ["fragments.tsv.gz", "not an HDF5 file"]


@case
def bad_truncated_h5(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.h5.write_bytes(mini.h5.read_bytes()[:3000])
    return words(mini, multiome=mini.h5), ["cannot be read as HDF5", "truncated"]


@case
def bad_single_h5ad_as_multiome(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.rna), ["one .h5ad", "--rna and --atac"]


@case
def bad_h5mu_without_atac(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    write_h5mu(mini.h5mu, mini, ("rna", "peaks"))
    return words(mini, multiome=mini.h5mu), ["no modality 'atac'", "peaks, rna"]


@case
def bad_float_counts(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    write_h5ad(mini.rna, np.log1p(mini.counts), mini.cells, [gene[0] for gene in mini.genes])
    return words(mini, rna=mini.rna, atac=mini.atac), ["rna.h5ad (X)", "whole counts", "--allow-normalised"]


@case
def bad_negative_counts(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    write_h5ad(mini.atac, mini.open - 1.0, mini.cells, mini.peak_names)
    return words(mini, rna=mini.rna, atac=mini.atac, allow_normalised=True), ["value -1", "at least 0"]


@case
def bad_layer(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, rna=mini.rna, atac=mini.atac, layer="raw"), ["layers/raw", "layers: none"]


@case
def bad_other_barcodes(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    cells = [f"CELL{number}" for number in range(len(mini.cells))]
    write_h5ad(mini.atac, mini.open, cells, mini.peak_names)
    return words(mini, rna=mini.rna, atac=mini.atac), ["no barcode agrees", mini.cells[0], "CELL0"]


@case
def bad_repeated_barcode(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    write_h5ad(mini.atac, mini.open, [mini.cells[0], mini.cells[0], *mini.cells[2:]], mini.peak_names)
    return words(mini, rna=mini.rna, atac=mini.atac), [f"barcode '{mini.cells[0]}' stands twice"]


@case
def bad_repeated_gene(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    names = [gene[0] for gene in mini.genes]
    write_h5ad(mini.rna, mini.counts, mini.cells, [names[1], *names[1:]])
    return words(mini, rna=mini.rna, atac=mini.atac), [f"feature '{names[1]}' stands twice"]


@case
def bad_names_of_peaks(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    write_h5ad(mini.atac, mini.open, mini.cells, [f"peak{number}" for number in range(len(mini.peaks))])
    return words(mini, rna=mini.rna, atac=mini.atac), ["'peak0'", "chr:start-end"]


@case
def bad_rna_and_atac_swapped(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, rna=mini.atac, atac=mini.rna), ["ENSG00000000000", "chr:start-end"]


@case
def bad_peak_beyond_the_end(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.bed.write_text(mini.bed.read_text() + "chr4\t29000\t31000\n")
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed), [
        "chr4:29000-31000",
        "beyond the end",
    ]


@case
def bad_peak_line(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.bed.write_text("chr1 5 9\n")
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed), [
        "line 1",
        "1 tab-separated columns",
    ]


@case
def bad_overlapping_peaks(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.bed.write_text("".join(f"chr1\t{500 + i}\t{900 + i}\n" for i in range(9)))
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed), [
        "8 of 9 peaks overlap",
        "merge",
    ]


@case
def bad_peaks_that_are_none_of_the_matrix(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.bed.write_text("chr1\t5\t900\n")
    return words(mini, rna=mini.rna, atac=mini.atac, peaks=mini.bed), ["none of its peaks (chr1:5-900)"]


@case
def bad_chromosomes(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.bed.write_text("scaffold_9\t5\t900\n")
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed), [
        "scaffold_9",
        "chr1, chr2",
    ]


@case
def bad_assembly(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    names = [f"{chrom}:{start - 1700}-{end - 1700}" for chrom, start, end in mini.peaks]
    write_h5ad(mini.atac, mini.open, mini.cells, names)
    return words(mini, rna=mini.rna, atac=mini.atac), ["times as accessible", "different assemblies"]


@case
def bad_genes_of_another_annotation(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.annotation.write_text(mini.annotation.read_text().replace("ENSG", "FBgn").replace("SYM", "dm"))
    return words(mini, multiome=mini.h5), ["ENSG00000000000", "FBgn00000000000", "annotations or organisms"]


@case
def bad_gene_beyond_the_end(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.annotation.write_text(
        mini.annotation.read_text().replace("\t27001\t27900\t", "\t47001\t47900\t", 99)
    )
    mini.annotation.write_text(mini.annotation.read_text().replace("chr1\t", "chr4\t"))
    return words(mini, multiome=mini.h5), ["chr4", "30,000 bases", "different assemblies"]


@case
def bad_no_gene_has_a_peak(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.bed.write_text("chr4\t29500\t29800\n")
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed, reach=500), [
        "none of its 40 genes",
        "--reach",
    ]


@case
def bad_truncated_fragments(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.fragment_file.write_bytes(mini.fragment_file.read_bytes()[:-200])
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed), [
        "fragments.tsv.gz",
        "truncated",
    ]


@case
def bad_damaged_fragments(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    data = bytearray(mini.fragment_file.read_bytes())
    data[600:640] = bytes(40)
    mini.fragment_file.write_bytes(data)
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed), [
        "fragments.tsv.gz",
        "damaged",
    ]


@case
def bad_fragment_line(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.fragment_file.write_bytes(gzip.compress(b"chr1\t5\t50\tAAAC-1\t1\nchr1\tfive\t9\tAAAC-1\t1\n"))
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed), ["line 2", "'five'"]


@case
def bad_fragments_of_other_cells(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    text = "".join(f"chr1\t{i}\t{i + 50}\tOTHER{i}\t1\n" for i in range(50))
    mini.fragment_file.write_bytes(gzip.compress(text.encode()))
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed), [
        "0% of the barcodes",
        "OTHER0",
    ]


@case
def bad_fragments_beyond_the_end(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.fragment_file.write_bytes(gzip.compress(f"chr1\t59990\t60001\t{mini.cells[0]}\t1\n".encode()))
    return words(mini, rna=mini.rna, fragments=mini.fragment_file, peaks=mini.bed), [
        "line 1",
        "different assemblies",
    ]


@case
def bad_pool(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.h5, pool="knn:none"), ["'knn:none'", "knn:K"]


@case
def bad_column(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, rna=mini.rna, atac=mini.atac, pool="pseudobulk:leiden"), [
        "'leiden'",
        "columns: cell_type",
    ]


@case
def bad_column_of_10x(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.h5, cell_types="cell_type"), ["no column 'cell_type'", "--cells"]


@case
def bad_cell_table(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    mini.cell_table.write_text(mini.cell_table.read_text() + "one\ttoo\tmany\n")
    return words(mini, multiome=mini.h5, cells=mini.cell_table, cell_types="cell_type"), [
        "cells.tsv: line 25",
        "3 columns",
    ]


@case
def bad_cell_type(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, rna=mini.rna, atac=mini.atac, cell_types="cell_type", test_cell_types="Neuron"), [
        "'Neuron'",
        "B, Mono, NK, T",
    ]


@case
def bad_cell_type_held_out_twice(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    options = {"cell_types": "cell_type", "test_cell_types": "T", "valid_cell_types": "T"}
    return words(mini, rna=mini.rna, atac=mini.atac, **options), ["'T'", "both for test and for validation"]


@case
def bad_test_chromosome(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.h5, test_chromosomes="chr8"), ["no chromosome 'chr8'", "chr1"]


@case
def bad_all_chromosomes_held_out(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.h5, test_chromosomes="chr1,chr2", valid_chromosomes="chr3,chr4"), [
        "no gene is left"
    ]


@case
def bad_edges(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    path = mini.root / "edges.json"
    path.write_text("[1, 2, 3]")
    return words(mini, multiome=mini.h5, edges=path), ["--edges", "34"]


@case
def bad_damaged_matrix(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    with h5py.File(mini.h5, "r+") as file:
        file["matrix/indptr"][3] = 10**6
    return words(mini, multiome=mini.h5), ["damaged", "row pointers"]


@case
def bad_output_that_is_a_file(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.h5, out=mini.bed), ["peaks.bed", "is a file"]


@case
def bad_expression_without_tracks(mini: MiniMultiome) -> tuple[list[str], list[str]]:
    return words(mini, multiome=mini.h5, expression=mini.cell_table), ["--expression goes with --tracks"]


@pytest.mark.parametrize("name", CASES)
def test_build_genes_refuses(name: str, mini: MiniMultiome, cli_error: CliError):
    asked, needles = CASES[name](mini)
    line = cli_error(*asked)
    missing = [needle for needle in needles if needle not in line]
    assert not missing, f"{missing} not in: {line}"
    assert list(Path().iterdir()) == [], "something was left behind"
