"""Knock-outs and knock-ins through the command line, the released example, and one line for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cisoform.data.genes import GenesDataset
from cisoform.genome.sequence import decode_dna
from tests.data.gene_sets import build_small, save_creformer

Cli = Callable[..., Any]
CliError = Callable[..., str]


def meme(*motifs: tuple[str, str]) -> str:
    """A MEME file of certain words."""
    text = "MEME version 4\n\nALPHABET= ACGT\n"
    for name, word in motifs:
        rows = "".join(" ".join("1" if base == one else "0" for one in "ACGT") + "\n" for base in word)
        text += f"\nMOTIF {name}_M1 {name}\nletter-probability matrix: alength= 4 w= {len(word)}\n{rows}"
    return text


def write_locus(path: Path, *mids: int) -> None:
    lines = []
    for mid in mids:
        rng = np.random.default_rng(mid)
        bases = decode_dna(rng.integers(0, 4, 1029).astype(np.uint8))
        lines += [f">chr1_{mid - 100}_{mid + 100}", bases, " ".join(map(str, rng.integers(0, 9, 1029)))]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set and a model; TFA binds a word of peak 1, TFN a word that is nowhere."""
    folder = tmp_path_factory.mktemp("perturb")
    dataset = build_small(folder, fragments=True, n_cells=8)
    save_creformer(folder / "model")
    word = decode_dna(dataset.windows(np.array([1]))[0, 500:514])
    (folder / "motifs.meme").write_text(meme(("TFA", word), ("TFN", "ACGTACGTACGTACGTACGT")))
    lines = (folder / "motifs.meme").read_text().splitlines()
    (folder / "damaged.meme").write_text("\n".join(lines[:-3]))
    (folder / "dimer.jaspar").write_text(">MA1 TFB\nA [1 2]\nC [1 2]\nG [1 2 3]\nT [1 2]\n")
    chrom, start, end = dataset.peaks.row(1)
    (folder / "hit.bed").write_text(f"{chrom}\t{start + 5}\t{end - 5}\n")
    (folder / "miss.bed").write_text(f"{chrom}\t{start}\t{end}\n{chrom}\t1\t2\n")
    (folder / "other.bed").write_text("chrZ\t1\t2\n")
    (folder / "damaged.bed").write_text(f"{chrom}\t5\tx\n")
    (folder / "file").write_text("taken")
    save_creformer(folder / "short", positions="rank", max_peaks=4)
    write_locus(folder / "four.txt", 1000, 3000, 6000, 9000)
    write_locus(folder / "three.txt", 1000, 3000, 9000)
    write_locus(folder / "one.txt", 6000)
    write_locus(folder / "far.txt", 90_000)
    return folder


def words(root: Path, *more: object, command: str = "knockout") -> list[object]:
    base = ["regulation", command, root / "model", "--data", root / "genes", "--cache", root / "cache"]
    return [*base, "--device", "cpu", *more]


def rows(result: Any) -> pl.DataFrame:
    assert result.exit_code == 0, result.stderr
    return pl.DataFrame(json.loads(result.stdout)["rows"])


def test_by_motif_and_by_interval_are_the_same_peak(root: Path, cli: Cli, tmp_path: Path) -> None:
    motif = ("--tf", "TFA", "--motifs", root / "motifs.meme", "--motif-p", 1e-7)
    table = rows(cli(*words(root, *motif, "--controls", 3, "--json")))
    other = rows(cli(*words(root, "--intervals", root / "hit.bed", "--controls", 3, "--json")))
    assert table.equals(other) and (table["difference"] != 0).any()
    assert (table["accessibility_change"] <= 0).all()
    around = rows(cli(*words(root, *motif, "--mode", "around-motif", "--controls", 0, "--json")))
    assert (around["accessibility_change"] >= table["accessibility_change"]).all()
    assert around["accessibility_change"].sum() > table["accessibility_change"].sum()
    half = rows(cli(*words(root, *motif, "--mode", "scale=0.5", "--controls", 0, "--json")))
    np.testing.assert_allclose(half["accessibility_change"], table["accessibility_change"] / 2, rtol=1e-4)


def test_tables_of_a_knock_out_and_a_screen(
    root: Path, cli: Cli, cli_error: CliError, tmp_path: Path
) -> None:
    gene = GenesDataset.open(root / "genes").genes["gene_id"][0]
    line = words(
        root, "--peaks-of", gene, "--out", tmp_path / "o", "--group-by", "cell_type", "--controls", 2
    )
    result = cli(*line)
    assert result.exit_code == 0 and "effects.tsv" in result.stdout, result.stderr
    assert "already exists" in cli_error(*line)
    table = pl.read_parquet(tmp_path / "o" / "effects.parquet")
    assert table["cell_type"].n_unique() > 1 and gene in table["gene_id"].to_list()
    about = json.loads((tmp_path / "o" / "perturbation.json").read_text())
    assert about["dataset_hash"] and about["seed"] == 0 and about["mode"] == "zero"
    assert pl.read_parquet(tmp_path / "o" / "peaks.parquet").height == about["n_peaks"]
    assert all((tmp_path / "o" / f"effects.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))
    told = json.loads(cli(*line, "--overwrite", "--json").stdout)
    assert told["rows"] == table.to_dicts() and told["tables"]["rows"] == {
        "n_rows": table.height,
        "file": str(tmp_path / "o" / "effects.parquet"),
        "printed": True,
    }
    alone = words(root, "--peaks-of", gene, "--genes", gene, "--each", "--out", tmp_path / "e")
    assert cli(*alone).exit_code == 0 and (tmp_path / "e" / "screen.png").stat().st_size > 1000
    each = rows(cli(*words(root, "--peaks-of", gene, "--genes", gene, "--each", "--json")))
    assert each["start"].n_unique() == about["n_peaks"]


def test_signal_changes_round_the_motif_alone(root: Path, cli: Cli) -> None:
    motif = ("--tf", "TFA", "--motifs", root / "motifs.meme", "--motif-p", 1e-7, "--controls", 0, "--json")

    def lost(mode: str) -> np.ndarray:
        return rows(cli(*words(root, *motif, "--mode", mode)))["accessibility_change"].to_numpy()

    near = lost("around-motif")
    assert near.any() and (lost("zero@motif") == near).all()
    np.testing.assert_allclose(lost("scale=0.25@motif"), 0.75 * near, rtol=1e-4)
    floor, everywhere = lost("raise=1e6@motif"), lost("raise=1e6")
    assert (floor > 0).all()
    # 151 of 1,029 bases rise to a million, where they were far below it.
    np.testing.assert_allclose(floor / everywhere, 151 / 1029, rtol=0.02)


def test_an_interrupted_screen_goes_on(
    root: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cisoform.jobs import perturbation

    monkeypatch.setattr(perturbation, "SLOTS_AT_ONCE", 20)
    batch, calls = perturbation._screen_batch, [0]

    def counted(*args: Any) -> pl.DataFrame:
        calls[0] += 1
        if calls[0] == stop:
            raise KeyboardInterrupt
        return batch(*args)

    monkeypatch.setattr(perturbation, "_screen_batch", counted)
    gene = GenesDataset.open(root / "genes").genes["gene_id"][0]
    line = words(root, "--peaks-of", gene, "--each", "--out")
    stop = 0
    assert cli(*line, tmp_path / "whole").exit_code == 0
    n_batches = calls[0]
    assert n_batches > 4
    calls[0], stop = 0, 4
    assert cli(*line, tmp_path / "cut").exit_code == 130
    assert not (tmp_path / "cut").exists()
    calls[0], stop = 0, 0
    assert cli(*line, tmp_path / "cut").exit_code == 0
    assert calls[0] == n_batches - 3 and not (tmp_path / "cut.partial").exists()
    whole, cut = (pl.read_parquet(tmp_path / name / "effects.parquet") for name in ("whole", "cut"))
    assert whole.equals(cut) and (tmp_path / "cut" / "perturbation.json").exists()
    tracks = [
        pl.read_csv(path, separator="\t", has_header=False)
        for path in (tmp_path / "cut").glob("screen.*.bedgraph")
    ]
    strongest = pl.concat(tracks).to_series(3).abs().max()
    assert strongest == pytest.approx(whole["difference"].abs().max(), rel=1e-6)
    # Other settings begin anew.
    calls[0], stop = 0, 4
    assert cli(*line, tmp_path / "again").exit_code == 130
    calls[0], stop = 0, 0
    assert cli(*line, tmp_path / "again", "--mode", "scale=0.5").exit_code == 0
    assert calls[0] == n_batches


@pytest.mark.golden
def test_the_released_knock_out_is_the_knock_out_of_that_peak(
    golden_dir: Path, cli: Cli, tmp_path: Path
) -> None:
    line = ("weights", "convert", "creformer", golden_dir / "creformer_small.safetensors", tmp_path / "m")
    made = cli(*line, "--vocab", golden_dir / "creformer_vocab.txt", "--heads", 4)
    assert made.exit_code == 0, made.stderr
    (tmp_path / "e.bed").write_text("chrX\t48761672\t48762478\n")
    locus = ("--tss-peak", 20, "--strand", "+", "--device", "cpu", "--json")
    wild, shipped = golden_dir / "gata1_wild_type.txt.gz", golden_dir / "gata1_enhancer_knockout.txt.gz"
    edit = ("--intervals", tmp_path / "e.bed")
    found = rows(cli("regulation", "knockout", tmp_path / "m", "--locus-text", wild, *locus, *edit)).row(
        0, named=True
    )
    for key, path in (("before", wild), ("after", shipped)):
        said = cli("regulation", "predict", tmp_path / "m", "--locus-text", path, *locus)
        assert found[key] == pytest.approx(json.loads(said.stdout)["expression"], abs=1e-5)
    assert found["difference"] != 0 and found["edited_peaks"] == 1 and 0 < found["p"] <= 1
    screened = rows(cli("regulation", "knockout", tmp_path / "m", "--locus-text", wild, *locus, "--each"))
    assert screened.height == 44
    one = screened.filter(pl.col("peak_id") == "chrX_48761672_48762478")
    assert one["after"][0] == pytest.approx(found["after"], abs=1e-5)


def test_knock_ins_open_what_is_closed_by_dose(root: Path, cli: Cli) -> None:
    gene = GenesDataset.open(root / "genes").genes["gene_id"][0]
    chosen = ("--peaks-of", gene, "--controls", 2, "--json")
    whole = rows(cli(*words(root, *chosen, command="knockin")))
    part = rows(cli(*words(root, *chosen, "--dose", 0.3, command="knockin")))
    assert (whole["accessibility_change"] >= 0).all() and (whole["difference"] != 0).any()
    joined = whole.join(part, on=["gene_id", "group"])
    assert (joined["edited_peaks"] >= joined["edited_peaks_right"]).all()
    assert part["edited_peaks"].sum() < whole["edited_peaks"].sum()
    line = ("--tf", "TFA", "--motifs", root / "motifs.meme", "--motif-p", 1e-7, "--json", "--controls", 0)
    one = rows(cli(*words(root, *line, command="knockin")))
    assert set(one["edited_peaks"]) <= {0.0, 1.0}


def test_rounds_follow_factors_from_gene_to_peak(root: Path, cli: Cli, tmp_path: Path) -> None:
    dataset = GenesDataset.open(root / "genes")
    word, other = (decode_dna(dataset.windows(np.array([peak]))[0, 500:514]) for peak in (1, 4))
    (tmp_path / "m.meme").write_text(meme(("TFA", word), (dataset.genes["gene_name"][0], other)))
    line = ("--tf", "TFA", "--motifs", tmp_path / "m.meme", "--motif-p", 1e-7, "--controls", 0, "--rounds", 2)
    result = json.loads(cli(*words(root, *line, "--json")).stdout)
    table = pl.DataFrame(result["rounds_rows"])
    assert result["rounds"] == 2 and set(table["round"]) == {1, 2}
    assert table.height == 2 * dataset.genes.height * dataset.groups.height
    done = cli(*words(root, *line, "--group-by", "cell_type", "--out", tmp_path / "o", command="knockin"))
    assert done.exit_code == 0, done.stderr
    assert pl.read_parquet(tmp_path / "o" / "rounds.parquet")["cell_type"].n_unique() == 4


def locus_words(root: Path, command: str, text: str, tss: int, *more: object) -> list[object]:
    base = ["regulation", command, root / "short", "--locus-text", root / text, "--tss-peak", tss]
    return [*base, "--strand", "-", "--device", "cpu", *more]


def test_inserting_a_peak_that_was_left_out_gives_the_whole_locus(root: Path, cli: Cli) -> None:
    more = ("--insert", root / "one.txt", "--json")
    table = rows(cli(*locus_words(root, "knockin", "three.txt", 2, *more)))
    whole = json.loads(cli(*locus_words(root, "predict", "four.txt", 3, "--json")).stdout)["expression"]
    part = json.loads(cli(*locus_words(root, "predict", "three.txt", 2, "--json")).stdout)["expression"]
    drawn = cli(*locus_words(root, "knockin", "three.txt", 2, *more, "--out", root / "inserted"))
    assert drawn.exit_code == 0 and (root / "inserted" / "effects.png").is_file(), drawn.stderr
    assert table["after"][0] == pytest.approx(whole, abs=1e-5) and table["tss_peak"][0] == 3
    assert table["before"][0] == pytest.approx(part, abs=1e-5) and abs(whole - part) > 1e-6


BAD_KNOCKINS: dict[str, tuple[Callable[[Path], list[object]], list[str]]] = {
    "no dose": (
        lambda r: words(r, "--intervals", "hit.bed", "--dose", 0, command="knockin"),
        ["--dose 0"],
    ),
    "too high a dose": (
        lambda r: words(r, "--intervals", "hit.bed", "--dose", 2, command="knockin"),
        ["--dose 2"],
    ),
    "nothing to open": (lambda r: words(r, command="knockin"), ["--tf", "none"]),
    "inserting into data": (
        lambda r: words(r, "--insert", "one.txt", command="knockin"),
        ["--insert goes with --locus-text"],
    ),
    "past the most peaks": (
        lambda r: locus_words(r, "knockin", "four.txt", 1, "--insert", "far.txt"),
        ["far.txt", "at most 4", "farther"],
    ),
    "inserted twice": (
        lambda r: locus_words(r, "knockin", "four.txt", 1, "--insert", "one.txt"),
        ["'chr1_5900_6100'", "there already"],
    ),
    "inserting no peaks": (
        lambda r: locus_words(r, "knockin", "four.txt", 1, "--insert", "motifs.meme"),
        ["motifs.meme", "lines"],
    ),
}


@pytest.mark.parametrize("name", BAD_KNOCKINS)
def test_what_is_wrong_with_a_knock_in_is_one_line(
    name: str, root: Path, cli_error: CliError, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, needles = BAD_KNOCKINS[name]
    monkeypatch.chdir(root)
    said = cli_error(*make(root))
    for needle in needles:
        assert needle in said


MOTIFS = ("--motifs", "motifs.meme")
BAD: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "nothing chosen": ((), ["--tf", "--intervals", "none"]),
    "two choices": (("--intervals", "hit.bed", "--peaks-of", "x"), ["--intervals, --peaks-of"]),
    "a factor without motifs": (("--tf", "TFA"), ["--motifs go together"]),
    "motifs without a factor": (("--intervals", "hit.bed", *MOTIFS), ["--motifs go together"]),
    "an unknown factor": (("--tf", "tfa", *MOTIFS), ["'tfa' has no motif", "did you mean TFA"]),
    "a factor that has no motif": (("--tf", "QQQ", *MOTIFS), ["'QQQ' has no motif", "another --motifs"]),
    "a motif that matches nothing": (
        ("--tf", "TFN", *MOTIFS, "--motif-p", "1e-9"),
        ["--tf TFN", "matches none", "--motif-p"],
    ),
    "an empty factor": (("--tf", "TFA,,TFN", *MOTIFS), ["empty item"]),
    "a damaged motif file": (("--tf", "TFN", "--motifs", "damaged.meme"), ["line", "row of 4 probab"]),
    "a damaged JASPAR file": (("--tf", "TFB", "--motifs", "dimer.jaspar"), ["line 4", "3 counts"]),
    "no motif file": (("--tf", "TFA", "--motifs", "no.meme"), ["no.meme", "no such file"]),
    "a p-value above 1": (("--tf", "TFA", *MOTIFS, "--motif-p", "2"), ["--motif-p 2"]),
    "a mode that is none": (("--intervals", "hit.bed", "--mode", "halve"), ["'halve'", "scale=F"]),
    "a place that is none": (("--intervals", "hit.bed", "--mode", "zero@peak"), ["'zero@peak'"]),
    "a floor without a number": (("--intervals", "hit.bed", "--mode", "raise"), ["'raise'"]),
    "a negative factor": (("--intervals", "hit.bed", "--mode", "scale=-1"), ["'scale=-1'"]),
    "rounds without factors": (("--intervals", "hit.bed", "--rounds", "2"), ["--rounds 2 needs"]),
    "rounds that reach no gene": (("--tf", "TFA", *MOTIFS, "--rounds", "2"), ["no other factor"]),
    "around what motif": (("--intervals", "hit.bed", "--mode", "around-motif"), ["needs --tf"]),
    "an interval beside the peaks": (("--intervals", "miss.bed"), [":1-2", "overlaps no peak", "nearest"]),
    "an interval elsewhere": (("--intervals", "other.bed"), ["chrZ:1-2", "none of their peaks"]),
    "a damaged BED": (("--intervals", "damaged.bed"), ["line 1", "'x'"]),
    "an unknown gene": (("--peaks-of", "G0"), ["--peaks-of 'G0' is not in"]),
    "an unknown group": (("--intervals", "hit.bed", "--groups", "cell"), ["--groups 'cell'"]),
    "no such column": (("--intervals", "hit.bed", "--group-by", "donor"), ["'donor'", "cell_type"]),
    "a file as folder": (("--intervals", "hit.bed", "--out", "file"), ["is a file"]),
    "a TSS peak of data": (("--intervals", "hit.bed", "--tss-peak", "3"), ["--tss-peak has no effect"]),
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
