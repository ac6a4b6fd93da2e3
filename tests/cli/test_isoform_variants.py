"""`cisoform isoform variants`: rows of a small project against `isoform predict` on an edited genome, and reports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.cli.bad_runs import Trained
from tests.cli.bad_vcfs import FILES, GENOTYPES, GOOD, OPTIONS, TEXTS
from tests.cli.mini import MiniProject, Transcript, fasta_text, gtf_text, write_mini_project
from tests.cli.variant_files import HEADER, snv, write_vcf

Cli = Callable[..., Any]
CliError = Callable[..., str]
TISSUES = ["Brain", "Liver", "Whole Blood"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Trained:
    """A project, its data set, and two models that answer every change: weights of a short run, made larger by chance."""
    from cisoform.jobs.isoform_model import IsoformModel

    root = tmp_path_factory.mktemp("variants")
    made = Trained(write_mini_project(root / "project"), root / "data", root / "run")
    for line in (made.project.build_words(made.data), made.train(out=root / "short")):
        ran(cli, *line)
    for seed, name in enumerate(("run", "run2")):
        model = IsoformModel.load(root / "short")
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in model.model.parameters():
                value += 0.2 * torch.randn(value.shape, generator=generator)
        model.save(root / name)
    return made


def words(t: Trained, vcf: Path, out: Path, *more: object, runs: tuple[str, ...] = ("run",)) -> list[object]:
    folders = [t.run.with_name(name) for name in runs]
    files = ["--genome", t.project.genome, "--annotation", t.project.annotation, "--vcf", vcf, "--out", out]
    return ["isoform", "variants", *folders, *files, "--device", "cpu", *more]


def ran(cli: Cli, *line: object) -> Any:
    result = cli(*line)
    assert result.exit_code == 0, result.stderr
    return result


def read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", infer_schema_length=None)


def middles(project: MiniProject, number: int) -> list[tuple[Transcript, int]]:
    """Transcripts with the middle of their longest exon."""
    found = []
    for transcript in project.transcripts[:: max(1, len(project.transcripts) // number)]:
        start, end = max(transcript.exons, key=lambda exon: exon[1] - exon[0])
        found.append((transcript, (start + end) // 2))
    return found


def test_alternatives_are_what_predict_makes_of_the_edited_genome(
    trained: Trained, cli: Cli, tmp_path: Path
) -> None:
    project = trained.project
    places = [(transcript.chrom, at) for transcript, at in middles(project, 8)]
    write_vcf(tmp_path / "v.vcf", [snv(project, chrom, at) for chrom, at in places])
    ran(cli, *words(trained, tmp_path / "v.vcf", tmp_path / "e.tsv"))
    # A stop that is gained is one that the annotation of the edited genome does not know.
    table = read(tmp_path / "e.tsv").filter(
        pl.col("changed") != "", ~pl.col("consequence").str.contains("stop")
    )
    assert set(table["changed"]) >= {"rna", "rna,protein"}
    assert table["difference.Brain"].abs().min() > 1e-3  # far above what is taken for equal
    seen = set(table.select("chrom", "pos").iter_rows())
    known = [(chrom, at) for chrom, at in places if (chrom, at + 1) in seen]
    assert len(known) > 3
    for chrom, at in known[:4]:
        edited = dict(project.chromosomes)
        edited[chrom] = edited[chrom][:at] + snv(project, chrom, at)[3] + edited[chrom][at + 1 :]
        (tmp_path / "edited.fa").write_text(fasta_text(edited))
        _agree(cli, trained, tmp_path, table.filter(chrom=chrom, pos=at + 1), tmp_path / "edited.fa")


def _agree(
    cli: Cli, trained: Trained, folder: Path, rows: pl.DataFrame, genome: Path, annotation: Path | None = None
) -> None:
    """Alternatives of rows are predictions on another genome; references those on the project's own."""
    assert rows.height
    places = {
        "alternative": (genome, annotation or trained.project.annotation),
        "reference": (trained.project.genome, trained.project.annotation),
    }
    for side, (fasta, gtf) in places.items():
        out = folder / "predicted.tsv"
        line = ["isoform", "predict", trained.run, "--genome", fasta, "--annotation", gtf, "--out", out]
        ran(cli, *line, "--device", "cpu")
        predicted = pl.read_csv(out, separator="\t", comment_prefix="#")
        both = rows.join(predicted, on="transcript_id", how="left")
        for tissue in TISSUES:
            wanted = both[f"{side}.{tissue}"].to_numpy()
            np.testing.assert_allclose(both[tissue].to_numpy(), wanted, atol=2e-5)
        out.unlink()


def test_a_deletion_moves_everything_behind_it(trained: Trained, cli: Cli, tmp_path: Path) -> None:
    project = trained.project
    spliced = [t for t in project.transcripts if len(t.exons) > 1 and t.exons[1][1] - t.exons[1][0] > 30]
    for name, strand in (("plus", "+"), ("minus", "-")):
        transcript = next(t for t in spliced if t.strand == strand and t.cds)
        start, end = transcript.exons[1]
        at, size = (start + end) // 2, 3
        bases = project.chromosomes[transcript.chrom]
        record = (transcript.chrom, at, bases[at : at + 1 + size], bases[at])
        write_vcf(tmp_path / f"{name}.vcf", [record])
        ran(cli, *words(trained, tmp_path / f"{name}.vcf", tmp_path / f"{name}.tsv"))
        edited = dict(project.chromosomes) | {transcript.chrom: bases[: at + 1] + bases[at + 1 + size :]}
        (tmp_path / "edited.fa").write_text(fasta_text(edited))
        moved = [_moved(one, transcript.chrom, at + 1, size) for one in project.transcripts]
        (tmp_path / "edited.gtf").write_text(gtf_text(moved))
        rows = read(tmp_path / f"{name}.tsv").filter(pl.col("changed") != "")
        assert transcript.id in rows["transcript_id"].to_list()
        # A stop that moves is one that the annotation of the edited genome does not know.
        whole = rows.filter(~pl.col("consequence").str.contains("stop|start_lost"))
        _agree(cli, trained, tmp_path, whole, tmp_path / "edited.fa", tmp_path / "edited.gtf")


def _moved(transcript: Transcript, chrom: str, at: int, size: int) -> Transcript:
    def span(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
        def move(x: int) -> int:
            return x - size if x >= at + size else min(x, at)

        return [(move(a), move(b)) for a, b in pieces]

    if transcript.chrom != chrom:
        return transcript
    pieces = [span(p) for p in (transcript.exons, transcript.cds, transcript.stop_codon)]
    return Transcript(transcript.id, transcript.gene_id, chrom, transcript.strand, *pieces)


def test_every_allele_is_reported_and_the_rest_goes_on(trained: Trained, cli: Cli, tmp_path: Path) -> None:
    project = trained.project
    transcript, at = middles(project, 8)[0]
    chrom, position, ref, alt = snv(project, transcript.chrom, at)
    other = next(base for base in "ACGT" if base not in (ref, alt))
    length = len(project.chromosomes[chrom])
    lines = [
        f"{chrom.removeprefix('chr')}\t{position + 1}\tgood\t{ref}\t{alt},<DEL>,{ref}N,*,{ref}",
        f"{chrom}\t{position + 1}\tagain\t{ref}\t{alt}",
        f"{chrom}\t{position + 1}\twrong\t{other}\t{ref}",
        "chrQ\t9\t.\tA\tC",
        f"{chrom}\t{length}\t.\t{project.chromosomes[chrom][-1]}A\tC",
        "chr2\t1\t.\tA\tA[chr1:5[",
    ]
    (tmp_path / "v.vcf").write_text(HEADER + "\n".join(lines) + "\n")
    line = words(trained, tmp_path / "v.vcf", tmp_path / "e.parquet", "--json")
    found = json.loads(ran(cli, *line).stdout)
    records = pl.read_parquet(tmp_path / "e.records.parquet")
    assert records["status"].to_list() == [
        "scored",
        "symbolic allele",
        "unknown base",
        "symbolic allele",
        "no change",
        "repeated",
        "REF mismatch",
        "unknown chromosome",
        "beyond the chromosome",
        "symbolic allele",
    ]
    assert records["line"].to_list() == [3, 3, 3, 3, 3, 4, 5, 6, 7, 8]
    assert records["detail"][6] == f"REF has {other} at {position + 1}, the reference {ref}"
    assert found["alleles"] == dict(records["status"].value_counts().iter_rows())
    effects = pl.read_parquet(tmp_path / "e.parquet")
    assert set(effects["variant"]) == {"good"} and effects.height == found["n_rows"] > 0
    assert found["nmd"] in (True, False) and found["models"][0]["recipe"] == "tiny"
    assert records["n_transcripts"].to_list() == [effects.height, *[0] * 9]


def test_an_ensemble_has_means_and_intervals(trained: Trained, cli: Cli, tmp_path: Path) -> None:
    project = trained.project
    write_vcf(tmp_path / "v.vcf", [snv(project, t.chrom, at) for t, at in middles(project, 4)])
    names = {"one": ("run",), "two": ("run2",), "both": ("run", "run2")}
    tables = {}
    for name, runs in names.items():
        ran(cli, *words(trained, tmp_path / "v.vcf", tmp_path / f"{name}.tsv", runs=runs))
        tables[name] = read(tmp_path / f"{name}.tsv")
    assert "low.Brain" not in tables["one"].columns
    for tissue in TISSUES:
        one, two, both = (tables[name][f"difference.{tissue}"].to_numpy() for name in names)
        np.testing.assert_allclose(both, (one + two) / 2, atol=3e-6)
        low, high = (tables["both"][f"{end}.{tissue}"].to_numpy() for end in ("low", "high"))
        # Student's t with one degree of freedom at 97.5 % is 12.706; half the spread is the standard error of two.
        np.testing.assert_allclose((high - low) / 2, 12.7062 * np.abs(one - two) / 2, atol=3e-4)


def test_haplotypes_stand_together(trained: Trained, cli: Cli, tmp_path: Path) -> None:
    project = trained.project
    transcript, at = middles(project, 8)[0]
    rows = [snv(project, transcript.chrom, at + 2 * i) for i in range(4)]
    calls = ["0|1\t1|1", "0|1\t0|0", "1|0\t0|1", "0/1\t0/0"]
    write_vcf(tmp_path / "v.vcf", rows, samples=["S1", "S2"], calls=calls)
    ran(cli, *words(trained, tmp_path / "v.vcf", tmp_path / "e.tsv", "--haplotypes"))
    records = read(tmp_path / "e.records.tsv")
    assert records["status"].to_list() == ["scored"] * 3 + ["unphased"]
    mine = read(tmp_path / "e.tsv").filter(transcript_id=transcript.id)
    groups = dict(zip(mine["variant"].to_list(), mine["carriers"].to_list(), strict=True))
    name = [f"{c}:{p + 1}:{r}:{a}" for c, p, r, a in rows]
    assert groups == {
        f"{name[0]};{name[1]}": "S1|2",
        name[2]: "S1|1",
        name[0]: "S2|1",
        f"{name[0]};{name[2]}": "S2|2",
    }
    edited = dict(project.chromosomes)
    text = list(edited[transcript.chrom])
    for _, position, _, alt in (rows[0], rows[1]):
        text[position] = alt
    edited[transcript.chrom] = "".join(text)
    (tmp_path / "edited.fa").write_text(fasta_text(edited))
    _agree(cli, trained, tmp_path, mine.filter(carriers="S1|2"), tmp_path / "edited.fa")


@pytest.mark.parametrize("haplotypes", [False, True])
def test_the_size_of_blocks_changes_nothing(trained: Trained, tmp_path: Path, haplotypes: bool) -> None:
    from cisoform.jobs.isoform_expression import ModelExpression
    from cisoform.jobs.isoform_model import IsoformModel
    from cisoform.jobs.isoform_variants import IsoformVariants, VariantOptions

    project = trained.project
    rng = np.random.default_rng(1)
    rows = []
    for chrom, bases in project.chromosomes.items():
        places = np.sort(rng.choice(len(bases) - 1, 40, replace=False)).tolist()
        rows += [snv(project, chrom, at) for at in places]
    calls = ["0|1" if n % 3 else "1|1" for n in range(len(rows))]
    write_vcf(tmp_path / "v.vcf", rows, samples=["S"], calls=calls)
    files = project.genome, project.annotation, tmp_path / "v.vcf"
    found = []
    for size in (1, 7, 2000):
        options = VariantOptions(haplotypes=haplotypes, block=size)
        work = IsoformVariants.open(ModelExpression([IsoformModel.load(trained.run)]), *files, options)
        parts = list(work.parts())
        found.append([pl.concat([getattr(part, name) for part in parts]) for name in ("effects", "records")])
        assert (len(parts) > 1) == (size < 2000)
    for effects, records in found[:2]:
        assert records.equals(found[2][1])
        numbers = [name for name, kind in effects.schema.items() if kind == pl.Float64]
        assert effects.drop(numbers).equals(found[2][0].drop(numbers))
        np.testing.assert_allclose(
            effects.select(numbers).to_numpy(), found[2][0].select(numbers).to_numpy(), atol=1e-5
        )


def test_a_lost_splice_site_can_be_respliced(trained: Trained, cli: Cli, tmp_path: Path) -> None:
    project = trained.project
    spliced = [t for t in project.transcripts if len(t.exons) == 3 and t.strand == "+" and t.cds]
    transcript = next(t for t in spliced if t.exons[1][1] - t.exons[1][0] > 12)
    write_vcf(tmp_path / "v.vcf", [snv(project, transcript.chrom, transcript.exons[1][1])])
    found = {}
    for mode in ((), ("--resplice", "skip"), ("--resplice", "retain")):
        ran(cli, *words(trained, tmp_path / "v.vcf", tmp_path / "e.tsv", "--overwrite", "--nmd", "on", *mode))
        found[mode[-1:]] = read(tmp_path / "e.tsv").filter(transcript_id=transcript.id).row(0, named=True)
    plain, skipped, kept = found.values()
    assert {row["consequence"] for row in found.values()} == {"splice_donor_variant"}
    assert plain["lost_splice_sites"] == "donor 2" and plain["changed"] in (None, "dna")
    assert skipped["resplicing"] == "exon 2 skipped" and kept["resplicing"] == "intron 2 kept"
    assert "rna" in skipped["changed"] and "rna" in kept["changed"]
    assert skipped["difference.Brain"] != kept["difference.Brain"]


def filled(text: str, project: MiniProject) -> str:
    """Placeholders of `bad_vcfs` as bases."""
    ref = project.chromosomes["chr1"][499]
    alt, wrong, _ = (base for base in "ACGT" if base != ref)
    return text.replace("{ref}", ref).replace("{alt}", alt).replace("{wrong}", wrong)


def check_refused(cli_error: CliError, line: list[object], needles: list[str], work: Path) -> None:
    before = sorted(work.iterdir())
    said = cli_error(*line)
    missing = [needle for needle in needles if needle not in said]
    assert not missing, f"{missing} not in: {said}"
    assert sorted(work.iterdir()) == before, "something was left behind"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.parametrize("name", TEXTS)
def test_a_wrong_vcf_file_is_one_line(name: str, trained: Trained, cli_error: CliError, work: Path) -> None:
    text, needles = TEXTS[name]
    (work / "v.vcf").write_text(filled(text, trained.project))
    wanted = [filled(needle, trained.project) for needle in needles]
    check_refused(cli_error, words(trained, Path("v.vcf"), Path("e.tsv")), wanted, work)


@pytest.mark.parametrize("name", GENOTYPES)
def test_wrong_genotypes_are_one_line(name: str, trained: Trained, cli_error: CliError, work: Path) -> None:
    text, needles = GENOTYPES[name]
    (work / "v.vcf").write_text(filled(text, trained.project))
    line = words(trained, Path("v.vcf"), Path("e.tsv"), "--haplotypes")
    check_refused(cli_error, line, needles, work)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_one_line(
    name: str, trained: Trained, cli_error: CliError, work: Path
) -> None:
    spoil, needles = FILES[name]
    copy = MiniProject(work.parent / "project", trained.project.chromosomes)
    shutil.copytree(trained.project.root, copy.root)
    (work / "v.vcf").write_text(filled(HEADER + GOOD, trained.project))
    spoil(work / "v.vcf", copy)
    line = words(Trained(copy, trained.data, trained.run), Path("v.vcf"), Path("e.tsv"))
    check_refused(cli_error, line, needles, work)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_option_is_one_line(name: str, trained: Trained, cli_error: CliError, work: Path) -> None:
    more, needles = OPTIONS[name]
    (work / "v.vcf").write_text(filled(HEADER + GOOD, trained.project))
    check_refused(cli_error, words(trained, Path("v.vcf"), Path("e.tsv"), *more), needles, work)


def test_nothing_is_overwritten_unasked(trained: Trained, cli_error: CliError, work: Path) -> None:
    (work / "v.vcf").write_text(filled(HEADER + GOOD, trained.project))
    for name in ("e.tsv", "e.records.tsv"):
        (work / name).write_text("mine")
        check_refused(cli_error, words(trained, Path("v.vcf"), Path("e.tsv")), [name, "--overwrite"], work)
        assert (work / name).read_text() == "mine"
        (work / name).unlink()


def test_runs_of_other_tissues_make_no_ensemble(trained: Trained, cli_error: CliError, work: Path) -> None:
    from dataclasses import replace

    from cisoform.jobs.isoform_model import IsoformModel

    model = IsoformModel.load(trained.run)
    other = replace(model.normaliser, columns=("Heart", *model.normaliser.columns[1:]))
    replace(model, normaliser=other).save(work.parent / "run3")
    (work / "v.vcf").write_text(filled(HEADER + GOOD, trained.project))
    line = words(trained, Path("v.vcf"), Path("e.tsv"))
    check_refused(cli_error, [*line[:3], work.parent / "run3", *line[3:]], ["different tissues"], work)
