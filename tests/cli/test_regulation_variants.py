"""`cisoform regulation variants`: tables, a report of every allele, and one line for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cisoform.genome.sequence import decode_dna
from tests.data.gene_sets import build_small, save_creformer

Cli = Callable[..., Any]
CliError = Callable[..., str]
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a model, and a file with alleles of every fate: 2 are scored."""
    folder = tmp_path_factory.mktemp("variants")
    dataset = build_small(folder, fragments=True, n_cells=5)
    save_creformer(folder / "model")
    chrom, start, end = dataset.peaks.row(1)
    middle = (start + end) // 2
    base = decode_dna(dataset.windows(np.array([1]))[0, 510:520])
    other = "ACGT".replace(base[4], "")
    plain = chrom.removeprefix("chr")
    lines = [
        f"{plain}\t{middle + 1}\tgood\t{base[4]}\t{other[0]},{base[4]}GG,<DEL>,{other[0]}N,{base[4]}",
        f"{chrom}\t{middle + 1}\tbad\t{other[1]}\t{base[4]}",
        f"{chrom}\t2\t.\tA\tC",
        "chrQ\t9\t.\tA\tC",
    ]
    (folder / "v.vcf").write_text(HEADER + "\n".join(lines) + "\n")
    (folder / "none.vcf").write_text(HEADER + "\n".join(lines[1:]) + "\n")
    (folder / "damaged.vcf").write_text(HEADER + f"{lines[0]}\nchr1\t1e3\t.\tA\tC\n")
    (folder / "text.vcf").write_text("chr1 5 A C\n")
    (folder / "other.fa").write_text(">chr1\n" + "ACGTT" * 12_000 + "\n")
    save_creformer(folder / "short", positions="rank", max_peaks=4)
    rng = np.random.default_rng(3)
    peaks = []
    for mid in (1_000, 5_000, 9_000):
        bases = decode_dna(rng.integers(0, 4, 1029).astype(np.uint8))
        peaks += [f">chr1_{mid - 100}_{mid + 100}", bases, " ".join(map(str, rng.integers(0, 9, 1029)))]
    (folder / "locus.txt").write_text("\n".join(peaks) + "\n")
    (folder / "unplaced.txt").write_text("\n".join([">p1", *peaks[1:]]) + "\n")
    here = peaks[4][514]
    (folder / "locus.vcf").write_text(f"{HEADER}chr1\t5001\t.\t{here}\t{'ACGT'.replace(here, '')[0]}\n")
    return folder


def words(root: Path, *more: object) -> list[object]:
    base = ["regulation", "variants", root / "model", "--data", root / "genes", "--cache", root / "cache"]
    return [*base, "--device", "cpu", *more]


def test_every_allele_is_reported_and_the_rest_goes_on(
    root: Path, cli: Cli, cli_error: CliError, tmp_path: Path
) -> None:
    line = words(
        root, "--vcf", root / "v.vcf", "--controls", 2, "--out", tmp_path / "o", "--group-by", "cell_type"
    )
    result = cli(*line)
    assert result.exit_code == 0, result.stderr
    for text in (
        "1 allele not scored, reference mismatch; the first is line 4, bad: REF has",
        "2 alleles not scored, outside all peaks; the first is line 5, chr1:2:A:C: the nearest window is",
        "1 allele not scored, symbolic allele; the first is line 3, good: ALT <DEL>",
        "1 allele not scored, unknown base",
        "1 allele not scored, no change",
    ):
        assert text in result.stderr
    assert "2 scored" in result.stdout
    about = json.loads((tmp_path / "o" / "variants.json").read_text())
    assert about["alleles"]["scored"] == 2 and about["seed"] == 0 and about["dataset_hash"]
    table = pl.read_parquet(tmp_path / "o" / "variants.parquet")
    assert table.height == 8 and table["line"].to_list() == [3, 3, 3, 3, 3, 4, 5, 6]
    assert table["detail"][7] == "no peak in reach of the chosen genes is on chrQ"
    assert table.filter(pl.col("status") != "scored")["n_genes"].sum() == 0
    effects = pl.read_parquet(tmp_path / "o" / "effects.parquet")
    assert set(effects["variant"]) == {"good"} and effects["alt"].n_unique() == 2
    assert (effects["difference"] != 0).any() and set(effects["n_controls"]) == {2}
    assert effects["cell_type"].n_unique() > 1
    assert "already exists" in cli_error(*line)
    assert (tmp_path / "o" / "effects.svg").stat().st_size > 1000
    told = json.loads(cli(*line, "--overwrite", "--json").stdout)
    assert told["rows"] == effects.to_dicts() and told["variants"] == table.to_dicts()
    assert told["tables"]["rows"]["file"] == str(tmp_path / "o" / "effects.parquet")
    found = json.loads(cli(*words(root, "--vcf", root / "v.vcf", "--controls", 0, "--json")).stdout)
    assert len(found["variants"]) == 8 and "p" not in found["rows"][0]
    assert found["accessibility"] == "fixed"


def test_a_locus_is_read_like_data(root: Path, cli: Cli) -> None:
    line = ["regulation", "variants", root / "short", "--locus-text", root / "locus.txt", "--tss-peak", 1]
    line += ["--strand", "-", "--device", "cpu", "--vcf", root / "locus.vcf", "--controls", 0, "--json"]
    found = json.loads(cli(*line).stdout)
    (row,) = found["rows"]
    said = cli("regulation", "predict", root / "short", *line[3:11], "--json")
    assert row["reference"] == pytest.approx(json.loads(said.stdout)["expression"], abs=1e-5)
    assert row["difference"] != 0 and row["distance_bp"] == 0


def test_accessibility_is_predicted_anew(root: Path, cli: Cli, pretrained: Path) -> None:
    line = words(root, "--vcf", root / "v.vcf", "--elementary", pretrained, "--controls", 0, "--json")
    result = cli(*line)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert all(np.isfinite(row["difference_accessibility_predicted"]) for row in found["rows"])
    ratio = [row["accessibility_log2_ratio"] for row in found["variants"] if row["status"] == "scored"]
    assert len(ratio) == 2 and all(value != 0 for value in ratio)


@pytest.fixture(scope="module")
def pretrained(root: Path) -> Path:
    """An Elementary that has learned nothing but is sure of itself: its bins differ much from allele to allele."""
    from dataclasses import asdict

    import torch

    from cisoform.data.region_loader import RegionLoaderConfig
    from cisoform.jobs import elementary
    from cisoform.models.creformer.pretraining import ElementaryPretraining
    from cisoform.recipes_regulation import elementary_recipe
    from cisoform.tokens.peaks import RELEASED_EDGES
    from cisoform.weights.store import save_model
    from tests.data.gene_sets import TINY

    torch.manual_seed(1)
    counts = {name: {"tokens": [1] * 38, "bins": [1] * 38} for name in TINY.tracks}
    files = {
        elementary.LOADER_FILE: asdict(RegionLoaderConfig()),
        elementary.LOSS_FILE: asdict(elementary_recipe("tiny").loss),
        elementary.TOKENS_FILE: {
            "edges": {name: list(RELEASED_EDGES) for name in TINY.tracks},
            "level_counts": counts,
        },
        elementary.ABOUT_FILE: {"kind": elementary.KIND},
    }
    model = ElementaryPretraining(TINY)
    torch.nn.init.normal_(model.bin_heads.get_parameter("atac.weight"), std=30.0)
    save_model(root / "pretrained", model.state_dict(), asdict(TINY), files)
    return root / "pretrained"


BAD: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "no file": (("--vcf", "no.vcf"), ["no.vcf", "no such file"]),
    "no VCF": (("--vcf", "text.vcf"), ["text.vcf: line 1", "#CHROM header"]),
    "a damaged record": (("--vcf", "damaged.vcf"), ["damaged.vcf: line 4", "'1e3'"]),
    "nothing to score": (
        ("--vcf", "none.vcf"),
        ["none of 3 alleles", "1 reference mismatch", "2 outside all peaks", "line 3", "REF has"],
    ),
    "another genome": (("--vcf", "v.vcf", "--genome", "other.fa"), ["other.fa", "not those of the data"]),
    "no genome": (("--vcf", "v.vcf", "--genome", "no.fa"), ["no.fa", "no such file"]),
    "no Elementary": (("--vcf", "v.vcf", "--elementary", "genes"), ["genes"]),
    "a CREformer as Elementary": (
        ("--vcf", "v.vcf", "--elementary", "model"),
        ["not a pre-trained Elementary"],
    ),
    "an unknown gene": (("--vcf", "v.vcf", "--genes", "ENSG0"), ["--genes 'ENSG0'"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_line(
    name: str, root: Path, cli_error: CliError, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, needles = BAD[name]
    monkeypatch.chdir(root)
    said = cli_error(*words(root, *more))
    for needle in needles:
        assert needle in said


def test_a_locus_without_coordinates_has_no_variants(root: Path, cli_error: CliError) -> None:
    line = ["regulation", "variants", root / "short", "--locus-text", root / "unplaced.txt", "--tss-peak", 0]
    said = cli_error(*line, "--strand", "+", "--device", "cpu", "--vcf", root / "locus.vcf")
    assert "locus.vcf" in said and "no coordinates" in said
