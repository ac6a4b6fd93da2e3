import hashlib
import json
import resource
import shutil

import numpy as np
import pytest

from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import Column, IsoformDataset
from cisoform.errors import InputError
from cisoform.genome.annotation import read_annotation
from cisoform.genome.fasta import Genome
from cisoform.genome.interval import Interval
from cisoform.genome.transcripts import build_transcripts


def build(toy, out, **changes):
    given = {"genome": toy.genome, "annotation": toy.annotation, "expression": toy.expression, "out": out}
    return build_isoform_dataset(**{**given, **changes})


def edited(path, tmp_path, edit):
    copy = tmp_path / path.name
    copy.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
    return copy


def file_hashes(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_a_data_set_holds_what_the_files_say(toy, built):
    dataset, summary = built.dataset, built.summary
    samples = dataset.samples
    whole = build_transcripts(read_annotation(toy.annotation), Genome.open(toy.genome))
    assert samples.transcript_ids == whole.table["transcript_id"].to_list()
    for row in range(samples.n):
        assert np.array_equal(samples.rna[row], whole.rna[row])
        assert np.array_equal(samples.junctions[row], whole.junctions[row])
        protein = int(samples.protein_row[row])
        assert (protein < 0) == (whole.protein_row[row] < 0)
        if protein >= 0:
            assert np.array_equal(samples.protein[protein], whole.protein[int(whole.protein_row[row])])
    assert summary.n_transcripts == samples.n == dataset.expression.shape[0]
    assert summary.n_coding == int((samples.protein_row >= 0).sum()) < samples.n
    assert summary.hash == dataset.hash
    assert sum(part["transcripts"] for part in summary.splits.values()) == samples.n


def test_windows_are_those_of_the_genome(toy, dataset):
    genome = Genome.open(toy.genome)
    samples = dataset.samples
    for length, shift in ((501, 0), (64, -7), (40_000, 5)):
        windows = samples.dna.window(samples.dna_row[:40], length, shift)
        for row, window in enumerate(windows):
            one = samples.table.row(row, named=True)
            if one["strand"] == "+":
                start = one["tss"] - length // 2 + shift
            else:
                start = one["tss"] + length // 2 - shift - length + 1
            expected = genome.fetch(Interval(one["chrom"], start, start + length, one["strand"]))
            assert np.array_equal(window, expected)


def test_the_rna_begins_at_the_middle_of_the_window(dataset):
    samples = dataset.samples
    windows = samples.dna.window(samples.dna_row, 64)
    for row, window in enumerate(windows):
        first_exon = int(min([*samples.junctions[row], samples.rna.lengths[row], 32]))
        assert np.array_equal(window[32 : 32 + first_exon], samples.rna[row][:first_exon])


def test_transcripts_with_one_start_share_a_window(dataset):
    table = dataset.samples.table
    starts = table.select("chrom", "strand", "tss").rows()
    row = dataset.samples.dna_row.tolist()
    assert len(set(zip(starts, row, strict=True))) == len(set(starts)) == len(set(row)) < len(row)


def test_labels_stand_at_their_transcript_and_gene(toy, dataset):
    lines = [line.split("\t") for line in toy.expression.read_text().splitlines()]
    of_transcript = {line[0]: np.array(line[2:], dtype=np.float32) for line in lines[1:]}
    lines = [line.split("\t") for line in toy.gene_expression.read_text().splitlines()]
    of_gene = {line[0]: np.array(line[1:], dtype=np.float32) for line in lines[1:]}
    names = [column.name for column in dataset.columns]
    assert names == toy.tissues + [f"{name} (gene)" for name in toy.tissues]
    assert [column.level for column in dataset.columns] == ["transcript"] * 3 + ["gene"] * 3
    for row, (transcript, gene) in enumerate(
        zip(dataset.samples.transcript_ids, dataset.samples.gene_ids, strict=True)
    ):
        assert np.array_equal(dataset.expression[row], [*of_transcript[transcript], *of_gene[gene]])


def test_genes_missing_from_the_gene_table_have_no_label(toy, tmp_path):
    fewer = edited(toy.gene_expression, tmp_path, lambda lines: lines[:20])
    build(toy, tmp_path / "out", gene_expression=fewer)
    dataset = IsoformDataset.open(tmp_path / "out")
    known = {line.split("\t")[0] for line in fewer.read_text().splitlines()[1:]}
    missing = np.array([gene not in known for gene in dataset.samples.gene_ids])
    assert np.isnan(dataset.expression[missing, 3:]).all() and missing.any()
    assert np.isfinite(dataset.expression[~missing]).all() and np.isfinite(dataset.expression[:, :3]).all()


def test_tissues_choose_the_targets_and_the_rest_is_kept_aside(toy, tmp_path):
    chosen = [toy.tissues[2], toy.tissues[0]]
    summary = build(toy, tmp_path / "out", tissues=chosen)
    dataset = IsoformDataset.open(tmp_path / "out")
    assert dataset.columns == summary.columns == [Column(name) for name in chosen]
    assert [column.name for column in dataset.extra_columns] == [toy.tissues[1]]
    assert dataset.extra_expression.shape == (dataset.samples.n, 1)
    assert dataset.column_index(chosen[0]) == 0
    with pytest.raises(InputError, match=f"no tissue \\(column\\) '{chosen[0][:-1]}'; perhaps {chosen[0]}"):
        dataset.column_index(chosen[0][:-1])


def test_the_same_inputs_give_the_same_bytes(toy, built, tmp_path):
    elsewhere = tmp_path / "moved"
    shutil.copytree(toy.folder, elsewhere)
    out = tmp_path / "out"
    build_isoform_dataset(
        elsewhere / "genome.fa",
        elsewhere / "annotation.gtf",
        elsewhere / "expression.tsv",
        gene_expression=elsewhere / "gene_expression.tsv",
        splits=elsewhere / "splits.tsv",
        window=501,
        out=out,
    )
    assert file_hashes(out) == file_hashes(built.path)
    assert str(tmp_path) not in (out / "manifest.json").read_text()


@pytest.mark.parametrize("split_by", ["gene", "chromosome", "family"])
def test_no_gene_is_in_two_parts(toy, tmp_path, split_by):
    summary = build(toy, tmp_path / "out", split_by=split_by)
    dataset = IsoformDataset.open(tmp_path / "out")
    pairs = set(zip(dataset.samples.gene_ids, dataset.split.tolist(), strict=True))
    assert len(pairs) == len(set(dataset.samples.gene_ids))
    unit = {"gene": "genes", "chromosome": "chromosomes", "family": "families"}[split_by]
    leaks = {(leak.kind, leak.held_out): leak for leak in summary.leakage if leak.known == "train"}
    for part in ("valid", "test"):
        assert leaks["genes", part].n_shared == leaks[unit, part].n_shared == 0
        assert len(dataset.rows(part)) > 0
    if split_by == "chromosome":
        assert leaks["overlapping DNA", "test"].share == 0


def test_a_split_file_leaves_out_what_it_does_not_name(toy, tmp_path):
    fewer = edited(toy.splits, tmp_path, lambda lines: [lines[0], *lines[3:]])
    summary = build(toy, tmp_path / "out", splits=fewer)
    assert len(summary.warnings) == 1
    assert "transcripts are left out" in summary.warnings[0] and "splits.tsv" in summary.warnings[0]
    dataset = IsoformDataset.open(tmp_path / "out")
    named = {line.split("\t")[0] for line in fewer.read_text().splitlines()[1:]}
    assert set(dataset.samples.gene_ids) <= named
    assert dataset.samples.n == summary.n_transcripts == len(dataset.samples.rna)
    assert len(dataset.samples.protein) == dataset.samples.protein_row.max() + 1


def test_transcripts_without_expression_are_left_out_and_counted(toy, tmp_path):
    fewer = edited(toy.expression, tmp_path, lambda lines: lines[:60])
    summary = build(toy, tmp_path / "out", expression=fewer)
    assert summary.n_transcripts == 59
    assert any(line.startswith("59 of ") for line in summary.matching)


def test_odd_cds_are_flagged_and_kept(toy, tmp_path):
    # Break one start codon in the genome: flagged, not fatal.
    transcripts = build_transcripts(read_annotation(toy.annotation), Genome.open(toy.genome))
    table, junctions = transcripts.table, transcripts.junctions
    first = next(
        row
        for row in range(len(transcripts))
        if table["strand"][row] == "+" and -1 < table["cds_start"][row] < min([*junctions[row], 10**9]) - 3
    )
    one = table.row(first, named=True)
    text = toy.genome.read_text().split(">")
    names = [record.split("\n")[0].split()[0] if record else "" for record in text]
    number = names.index(one["chrom"])
    header, *lines = text[number].split("\n")
    letters = list("".join(lines))
    position = one["tss"] + one["cds_start"]
    assert "".join(letters[position : position + 3]).upper() == "ATG"
    letters[position : position + 3] = "CCC"
    text[number] = header + "\n" + "".join(letters) + "\n"
    genome = tmp_path / "genome.fa"
    genome.write_text(">".join(text))
    summary = build(toy, tmp_path / "out", genome=genome)
    assert summary.flags["no_start"] >= 1
    assert any("no_start" in line and "kept and flagged" in line for line in summary.warnings)


def test_the_summary_is_plain_json_and_progress_is_told(toy, tmp_path):
    steps = []
    summary = build(toy, tmp_path / "out", progress=lambda text, share: steps.append((text, share)))
    assert json.loads(json.dumps(summary.to_json()))["n_transcripts"] == summary.n_transcripts
    shares = [share for _, share in steps]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tissues": ["brainn"]}, r"expression.tsv has no tissue \(column\) 'brainn'; perhaps brain"),
        ({"window": 0}, "--window 0"),
        ({"genome": "missing.fa"}, "missing.fa: no such file"),
        ({"splits": "missing.tsv"}, "missing.tsv: no such file"),
        ({"code_table": 99}, "genetic code 99"),
    ],
)
def test_nothing_is_left_under_the_final_name_after_an_error(toy, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        build(toy, tmp_path / "out", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing_behind(toy, tmp_path):
    # A limit on the size of files stands in for a full disk; Python ignores the signal and sees the error.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(InputError, match="out: cannot be written: File too large"):
            build(toy, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_build_leaves_nothing_behind(toy, tmp_path):
    def interrupt(text, share):
        if share >= 0.7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(toy, tmp_path / "out", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_no_transcript_level_target_is_an_error(toy, tmp_path):
    only_genes = edited(
        toy.gene_expression, tmp_path, lambda lines: [lines[0].replace(toy.tissues[0], "other"), *lines[1:]]
    )
    with pytest.raises(InputError, match="none of --tissues other is a transcript-level column"):
        build(toy, tmp_path / "out", gene_expression=only_genes, tissues=["other"])


def test_an_existing_data_set_is_not_overwritten_unasked(toy, tmp_path):
    build(toy, tmp_path / "out")
    before = file_hashes(tmp_path / "out")
    with pytest.raises(InputError, match="already exists"):
        build(toy, tmp_path / "out", seed=1)
    assert file_hashes(tmp_path / "out") == before
    build(toy, tmp_path / "out", seed=1, overwrite=True)
    assert file_hashes(tmp_path / "out") != before


@pytest.mark.pack
def test_the_yeast_pack_becomes_a_data_set(yeast_pack, tmp_path):
    summary = build_isoform_dataset(
        yeast_pack / "genome.fa.gz",
        yeast_pack / "isoforms.gtf.gz",
        yeast_pack / "expression_isoform.tsv.gz",
        gene_expression=yeast_pack / "expression_gene.tsv.gz",
        tissues=["WT", "diamide"],
        splits=yeast_pack / "splits.tsv.gz",
        window=2000,
        out=tmp_path / "yeast",
    )
    assert {name: part["transcripts"] for name, part in summary.splits.items()} == {
        "train": 5764,
        "valid": 792,
        "test": 560,
    }
    leaks = {leak.kind: leak for leak in summary.leakage if (leak.known, leak.held_out) == ("train", "test")}
    assert leaks["families"].n_shared == leaks["identical proteins"].n_shared == 0
    # The pack's README: 71 % of the test windows of +-1 kb overlap a train window.
    assert round(leaks["overlapping DNA"].share, 2) == pytest.approx(0.71, abs=0.011)
    assert [column.name for column in summary.extra_columns if column.name.startswith("WT")] == [
        f"WT_rep{number}" for number in (1, 2, 3)
    ]
    assert summary.warnings == []
