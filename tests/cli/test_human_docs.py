"""Every command of docs/human.md, run in order on small files of the same names and formats."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.mini import expression_rows, fasta_text, gtf_text, write_mini_project
from tests.documents import commands

GCT = "GTEx_Analysis_2017-06-05_v8_RSEMv1.3.0_transcript_tpm.gct.gz"
ATTRIBUTES = "GTEx_Analysis_v8_Annotations_SampleAttributesDS.txt"
GTF = "gencode.v26.annotation.gtf.gz"
FASTA = "GRCh38.primary_assembly.genome.fa.gz"
TISSUES = ("Brain", "Liver", "Whole Blood")
# Added to keep the test short: a narrow model and one step. The commands are otherwise as written.
SETTINGS = (
    *("train.max_steps=1", "train.epochs=1", "train.bf16=false", "loader.dna_window=1024"),
    *("model.dna.widths=[8,8,8,8,8,8,8]", "model.dna.heads=2", "model.dna.transformer_layers=1"),
    *("model.rna.widths=[8,8]", "model.rna.heads=2", "model.rna.transformer_layers=1"),
    *("model.protein.widths=[8]", "model.protein.heads=2", "model.protein.transformer_layers=1"),
    "model.aggregator.heads=2",
)
SHORT = {
    "train": [word for setting in SETTINGS for word in ("--set", setting)],
    "evaluate": ["--draws", "10"],
}


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The four files of the page, as they come: gzip without index, GCT 1.2, one line per sample."""
    project = write_mini_project(tmp_path / "project")
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / FASTA).write_bytes(gzip.compress(fasta_text(project.chromosomes).encode()))
    header = (
        "##description: evidence-based annotation of the human genome (GRCh38), version 26\n##format: gtf\n"
    )
    (folder / GTF).write_bytes(gzip.compress((header + gtf_text(project.transcripts)).encode()))
    samples = [f"GTEX-1117F-{number:04d}-SM-5GZZ7" for number in range(7)]
    names, rows = expression_rows(random.Random(1), project.transcripts, samples)
    lines = ["#1.2", f"{len(rows)}\t{len(samples)}", "\t".join(names), *("\t".join(row) for row in rows)]
    (folder / GCT).write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    table = ["SAMPID\tSMATSSCR\tSMCENTER\tSMPTHNTS\tSMRIN\tSMTS\tSMTSD"]
    for number, sample in enumerate(samples):
        tissue = TISSUES[number % 3]
        table.append(f"{sample}\t\tB1\t2 pieces, 15% vessel\t6.8\t{tissue}\t{tissue} - Cortex")
    table.append("GTEX-1117F-9999-SM-NORNA\t\tB1\t\t\tBone Marrow\tCells")  # a sample that has no column
    (folder / ATTRIBUTES).write_text("".join(f"{line}\n" for line in table))
    monkeypatch.chdir(folder)
    return folder


def test_every_command_runs_on_files_of_the_same_form(cli: Callable[..., Any], downloads: Path) -> None:
    scores = {}
    for words in commands("docs/human.md"):
        assert words[:2] == ["cisoform", "isoform"], words
        result = cli(*words[1:], *SHORT.get(words[2], []))
        assert result.exit_code == 0, f"{' '.join(words)}\n{result.stderr}"
        if words[2] == "evaluate":
            scores = json.loads(result.stdout)
    assert list(scores["tissues"]) == list(TISSUES)

    import polars

    predictions = polars.read_parquet(downloads / "predictions.parquet")
    assert predictions.columns == ["transcript_id", "gene_id", *TISSUES]
    assert predictions.height == 31


def test_the_page_names_the_files_that_the_test_makes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "human.md").read_text()
    for name in (GCT, ATTRIBUTES, GTF, FASTA):
        assert page.count(f"`{name}`") == 1 and page.count(name) >= 2, name
