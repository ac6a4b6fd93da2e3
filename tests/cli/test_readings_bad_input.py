"""Wrong inputs of every zero-shot reading: one line that names the flag or file and the value, and nothing written."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.cli.reading_files import write_all

torch.set_num_threads(1)
CliError = Callable[..., str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readings")
    write_all(folder)
    return folder


ON_DATA = "model --data genes --cache cache"
LOCUS = "short --locus-text {} --tss-peak 1 --strand +"
ENDS = "--group-by cell_type --source B --target T --motifs motifs.meme --cells 2 --top-genes 4"
SICK = ENDS.replace("--source", "--disease").replace("--target", "--normal")
TYPES = "--group-by cell_type --tfs SYM3,SYM4"
TF = "--tf SYM3 --motifs motifs.meme"

# What: the command after `cisoform regulation` ("@" stands for model, data and cache), and what the line must say.
BAD: dict[str, tuple[str, list[str]]] = {
    # What all readings share: model, data, genes, groups, the folder.
    "no model": ("score nowhere --data genes", ["nowhere", "no such folder"]),
    "a folder without a model": ("score full --data genes", ["full", "holds no model"]),
    "a model of another kind": ("score other_kind --data genes", ["other_kind", "'isoform'", "CREformer"]),
    "a damaged model": (
        "knockout broken_model --data genes --intervals hit.bed",
        ["broken_model", "damaged"],
    ),
    "a file as model": ("links file --data genes", ["file", "model"]),
    "no data": ("score model --data nowhere", ["nowhere", "build-genes"]),
    "data of another kind": ("report model --data other_data", ["other_data", "'cisoform-regions'"]),
    "a model as data": ("grn model --data short --motifs motifs.meme", ["short", "build-genes"]),
    "neither data nor locus": ("score model", ["--data", "--locus-text"]),
    "data and locus": ("score @ --locus-text locus.txt", ["--data", "--locus-text"]),
    "an unknown gene": ("score @ --genes SYN3", ["--genes 'SYN3'", "did you mean SYM3"]),
    "a gene without peaks": ("score @ --genes LONELY", ["'LONELY'", "without a peak in reach"]),
    "a gene in other letters": ("score @ --genes sym3", ["'sym3'", "did you mean SYM3"]),
    "a gene named twice": ("links @ --genes SYM3,SYM3", ["--genes", "'SYM3' twice"]),
    "an empty item": ("score @ --genes SYM3,,SYM4", ["--genes 'SYM3,,SYM4'", "empty item"]),
    "no file of genes": ("features @ --genes @gone.txt", ["gone.txt", "no such file"]),
    "a file without genes": ("features @ --genes @names.txt", ["--genes @names.txt", "names nothing"]),
    "an unknown group": ("score @ --groups cell", ["--groups 'cell'"]),
    "an unknown cell type": (
        "variants @ --vcf outside.vcf --cell-types Mona",
        ["'Mona'", "did you mean Mono"],
    ),
    "an unknown split": ("score @ --split tests", ["'tests'", "train, valid, test"]),
    "no such column": ("score @ --group-by donor", ["--group-by 'donor'", "cell_type"]),
    "labels without a column": ("score @ --labels labels.tsv", ["--labels labels.tsv", "--group-by"]),
    "labels that are ragged": ("score @ --group-by size --labels ragged.tsv", ["ragged.tsv", "row 2"]),
    "a group labelled twice": ("score @ --group-by size --labels again.tsv", ["again.tsv", "twice"]),
    "labels of strangers": ("score @ --group-by size --labels strangers.tsv", ["strangers.tsv", "'nobody'"]),
    "labels in an empty file": ("score @ --group-by size --labels nothing.tsv", ["nothing.tsv", "empty"]),
    "labels in a blank file": ("score @ --group-by size --labels blank.tsv", ["blank.tsv", "no labels"]),
    "a folder that holds something": ("score @ --out full", ["--out full", "already exists"]),
    "a network into a full folder": (
        "grn @ --motifs motifs.meme --out full",
        ["--out full", "already exists"],
    ),
    "a page into a full folder": ("report @ --out full", ["--out full", "already exists"]),
    "a file in the place": ("knockin @ --intervals hit.bed --out file", ["--out file", "is a file"]),
    "an unknown device": ("score @ --device tpu", ["'tpu'", "cpu"]),
    # score
    "an unknown variant": ("score @ --variant attention", ["--variant 'attention'", "exact"]),
    "a variant twice": ("score @ --variant exact,exact", ["'exact,exact'", "twice"]),
    "a layer out of range": ("score @ --variant exact --layer 1", ["--layer 1", "1 layers"]),
    "a layer below 0": ("score @ --variant exact --layer -1", ["--layer -1", "0 to 0"]),
    "a layer of what has none": ("score @ --layer 0", ["--layer 0", "--variant exact"]),
    "an unknown query": ("score @ --queries some", ["--queries 'some'"]),
    "all queries of an ablation": ("score @ --queries all", ["--queries all", "exact or rollout"]),
    "a figure of a stranger": ("score @ --genes SYM3 --plot SYM4", ["--plot SYM4", "chosen genes"]),
    "no track": ("score @ --compare gone.bw", ["gone.bw", "no such file"]),
    "a damaged track": ("score @ --compare track.bw", ["track.bw"]),
    "a track without a kind": ("score @ --compare track.txt", ["--compare track.txt", ".bw"]),
    "a track of an unknown label": (
        "score @ --group-by cell_type --compare Mona=hit.bed",
        ["'Mona'", "Mono"],
    ),
    "ChIP of other chromosomes": ("score @ --genes SYM3 --compare elsewhere.bed", ["elsewhere.bed", "chrZ"]),
    "ChIP that is damaged": ("score @ --genes SYM3 --compare damaged.bed", ["damaged.bed: line 1", "end'"]),
    # A locus as text.
    "no locus": (f"score {LOCUS.format('gone.txt')}", ["gone.txt", "no such file"]),
    "a locus cut short": (f"score {LOCUS.format('cut.txt.gz')}", ["cut.txt.gz", "truncated"]),
    "a blank locus": (f"score {LOCUS.format('blank.tsv')}", ["blank.tsv", "no peak"]),
    "a line too few": (f"score {LOCUS.format('lines.txt')}", ["lines.txt", "8 lines"]),
    "a peak without a name": (f"links {LOCUS.format('name.txt')}", ["name.txt: line 1", "'>'"]),
    "a base too few": (f"score {LOCUS.format('bases.txt')}", ["bases.txt: line 2", "1028"]),
    "a letter that is no base": (
        f"knockout {LOCUS.format('letters.txt')} --each",
        ["letters.txt: line 2", "'Z'"],
    ),
    "a signal in words": (f"score {LOCUS.format('signal.txt')}", ["signal.txt: line 3", "'high'"]),
    "a signal value too few": (f"score {LOCUS.format('short.txt')}", ["short.txt: line 3", "1028"]),
    "a peak that stands twice": (f"score {LOCUS.format('repeated.txt')}", ["repeated.txt: line 4", "line 1"]),
    "peaks in another order": (
        f"links {LOCUS.format('turned.txt')}",
        ["turned.txt: line 4", "chr1_900_1100"],
    ),
    "a peak backward": (f"score {LOCUS.format('backward.txt')}", ["backward.txt: line 1", "chr1_1100_900"]),
    "a locus on two chromosomes": (
        f"score {LOCUS.format('two_chromosomes.txt')}",
        ["two_chromosomes.txt: line 4", "chr2_2900_3100", "not on chr1"],
    ),
    "a signal below 0": (f"score {LOCUS.format('negative.txt')}", ["negative.txt: line 3", "-1"]),
    "too many peaks": (f"score {LOCUS.format('five.txt')}", ["5 peaks", "at most 4"]),
    "a TSS peak out of range": (
        "score short --locus-text locus.txt --tss-peak 3 --strand +",
        ["--tss-peak 3", "0 to 2"],
    ),
    "a strand that is none": (
        "score short --locus-text locus.txt --tss-peak 1 --strand f",
        ["--strand 'f'", "+ or -"],
    ),
    "a locus without a strand": ("score short --locus-text locus.txt --tss-peak 1", ["--strand"]),
    "genes of a locus": (f"score {LOCUS.format('locus.txt')} --genes SYM3", ["--genes has no effect"]),
    # links
    "pairs that stand twice": ("links @ --evaluate twice.tsv --draws 0", ["twice.tsv", "already at line 2"]),
    "another assembly": (
        "links @ --evaluate hg19.tsv --group-by cell_type",
        ["hg19.tsv", "different assemblies"],
    ),
    "pairs without answers": ("links @ --evaluate answerless.tsv", ["answerless.tsv", "'Regulated'"]),
    "pairs cut short": ("links @ --evaluate cut.tsv.gz", ["cut.tsv.gz", "truncated"]),
    "an unknown norm": ("links @ --normalise rank", ["--normalise 'rank'", "share"]),
    "an unknown adjustment": ("links @ --adjust abc", ["--adjust 'abc'"]),
    # knockout, knockin
    "a factor without a motif": ("knockout @ --tf SYM9 --motifs motifs.meme", ["'SYM9' has no motif"]),
    "no motif file": ("knockout @ --tf SYM3 --motifs gone.meme", ["gone.meme", "no such file"]),
    "a motif file cut short": ("knockout @ --tf SYM3 --motifs short.meme", ["short.meme: line", "row of 4"]),
    "a motif in words": ("knockout @ --tf SYM3 --motifs words.meme", ["words.meme: line", "x"]),
    "an empty motif file": ("knockout @ --tf SYM3 --motifs empty.meme", ["empty.meme", "empty"]),
    "a motif gzip cut short": ("knockin @ --tf SYM3 --motifs cut.meme.gz", ["cut.meme.gz", "truncated"]),
    "a probability below 0": ("grn @ --motifs below.meme", ["below.meme: line", "-1 is below 0"]),
    "motifs of RNA": ("knockout @ --tf SYM3 --motifs rna.meme", ["rna.meme: line 3", "ACGU"]),
    "a motif that stands twice": ("grn @ --motifs double.meme", ["double.meme", "'SYM3_M1' stands twice"]),
    "a picture as motifs": ("knockin @ --tf SYM3 --motifs image.meme", ["image.meme", "byte 0x89"]),
    "tables as motifs": ("grn @ --motifs labels.tsv", ["labels.tsv", "MEME"]),
    "nothing to knock out": ("knockout @", ["--tf", "--intervals"]),
    "an empty list of factors": ("knockout @ --tf , --motifs motifs.meme", ["--tf ','", "empty item"]),
    "a motif twice as chosen": (f"knockout @ {TF} --intervals hit.bed", ["--tf, --intervals"]),
    "bases round no motif": (
        "knockout @ --intervals hit.bed --mode zero@motif",
        ["--mode zero@motif", "--tf"],
    ),
    "rounds without a factor": ("knockout @ --intervals hit.bed --rounds 2", ["--rounds 2", "--tf"]),
    "a mode that is none": (f"knockout @ {TF} --mode halve", ["--mode", "'halve'"]),
    "an interval with words": ("knockout @ --intervals damaged.bed", ["damaged.bed: line 1", "'end'"]),
    "an interval backward": ("knockout @ --intervals backward.bed", ["backward.bed: line 1"]),
    "an interval beside all peaks": ("knockout @ --intervals beside.bed", ["beside.bed", "overlaps no peak"]),
    "peaks of an unknown gene": ("knockout @ --peaks-of SYN3", ["--peaks-of 'SYN3'", "did you mean"]),
    "a dose of 0": ("knockin @ --intervals hit.bed --dose 0", ["--dose 0"]),
    "a peak past 150": (
        "knockin model --locus-text many.txt --tss-peak 0 --strand + --insert far.txt",
        ["far.txt", "at most 150"],
    ),
    "a peak past 4": (f"knockin {LOCUS.format('four.txt')} --insert afar.txt", ["afar.txt", "at most 4"]),
    "a damaged peak to insert": (
        f"knockin {LOCUS.format('locus.txt')} --insert bases.txt",
        ["bases.txt: line 2"],
    ),
    # variants
    "no VCF": ("variants @ --vcf gone.vcf", ["gone.vcf", "no such file"]),
    "a VCF without a header": ("variants @ --vcf headless.vcf", ["headless.vcf: line 1", "#CHROM"]),
    "a position in words": ("variants @ --vcf word.vcf", ["word.vcf: line 3", "'1e3'"]),
    "a record of two columns": ("variants @ --vcf columns.vcf", ["columns.vcf: line 3"]),
    "a VCF cut short": ("variants @ --vcf cut.vcf.gz", ["cut.vcf.gz", "truncated"]),
    "a VCF without variants": ("variants @ --vcf header.vcf", ["header.vcf", "header alone"]),
    "a symbolic allele": ("variants @ --vcf symbolic.vcf", ["symbolic.vcf", "line 3", "<DEL>"]),
    "no variant in a peak": ("variants @ --vcf outside.vcf", ["outside.vcf", "outside all peaks"]),
    "another genome": (
        "variants @ --vcf outside.vcf --genome other.fa",
        ["other.fa", "not those of the data"],
    ),
    # features, masters
    "an unknown form": ("features @ --form dot", ["--form 'dot'", "centred"]),
    "an AnnData that is none": (
        "features @ --genes SYM3 --adata cells.h5ad",
        ["cells.h5ad", "cannot be read"],
    ),
    "an AnnData of other cells": (
        "features @ --genes SYM3 --adata strangers.h5ad",
        ["strangers.h5ad", "'x' there"],
    ),
    "a reference without labels": ("features @ --reference label", ["--reference label", "--group-by"]),
    "one factor": ("masters @ --tfs SYM3 --group-by cell_type", ["--tfs", "at least two"]),
    "a penalty of 0": (f"masters @ {TYPES} --c 0", ["--c 0", "above 0"]),
    "a group of few cells": (
        "masters @ --tfs SYM3,SYM4 --group-by size --labels labels.tsv",
        ["--group-by size", "'B' has 8 cells", "at least 10"],
    ),
    "one label": ("masters @ --tfs SYM3,SYM4 --group-by same --labels labels.tsv", ["'all'", "two labels"]),
    "an unknown factor": ("masters @ --group-by cell_type --tfs SYM3,SYN4", ["--tfs 'SYN4'", "SYM4"]),
    "blank masters": (f"masters @ {TYPES} --known blank.tsv", ["blank.tsv", "label and tf"]),
    "known masters of nobody": (
        f"masters @ {TYPES} --known known.tsv",
        ["known.tsv: line 2", "'Mona'", "Mono"],
    ),
    # transition, targets
    "target equals source": (f"transition @ {ENDS} --target B", ["'B' is both source and target"]),
    "an unknown source": (f"transition @ {ENDS} --source Mona", ["'Mona' (source)", "did you mean Mono"]),
    "a state of few cells": (
        f"transition @ {ENDS} --group-by size --labels labels.tsv --source few",
        ["few (source) has 9 cells", "at least 10"],
    ),
    "too small a null": (f"transition @ {ENDS} --null 20", ["--null 20", "at least 200"]),
    "genes up that are unknown": (f"transition @ {ENDS} --up SYN1", ["--up 'SYN1'", "did you mean"]),
    "a gene up and down": (f"transition @ {ENDS} --up SYM1 --down SYM2,SYM1", ["'SYM1'", "--up", "--down"]),
    "no other model": (f"transition @ {ENDS} --compare gone.h5ad", ["gone.h5ad", "no such file"]),
    "another model that is none": (
        f"transition @ {ENDS} --compare cells.h5ad",
        ["cells.h5ad", "cannot be read"],
    ),
    "disease equals normal": (f"targets @ {SICK} --normal B", ["'B' is both"]),
    "essentiality in words": (
        f"targets @ {SICK} --essentiality essential.tsv",
        ["essential.tsv: line 2", "'high'"],
    ),
    "essentiality without a number": (
        f"targets @ {SICK} --essentiality endless.tsv",
        ["endless.tsv: line 2", "'nan'"],
    ),
    "essentiality given twice": (
        f"targets @ {SICK} --essentiality essential_twice.tsv",
        ["essential_twice.tsv: line 3", "'SYM3' stands twice"],
    ),
    # grn, report
    "edges of other genes": ("grn @ --motifs motifs.meme --evaluate genes.tsv", ["genes.tsv", "'OTHER1'"]),
    "a table without edges": (
        "grn @ --motifs motifs.meme --evaluate edgeless.tsv",
        ["edgeless.tsv", "no edge"],
    ),
    "a truth that is no JSON": (
        "grn @ --motifs motifs.meme --evaluate broken.json",
        ["broken.json", "line 1"],
    ),
    "two limits of motifs": (
        "grn @ --motifs motifs.meme --motif-fdr 0.1 --motif-p 1e-4",
        ["--motif-fdr 0.1", "--motif-p 0.0001"],
    ),
    "edges of other columns": (
        "grn @ --motifs motifs.meme --evaluate columns.tsv",
        ["columns.tsv", "no column of the gene", "regulated"],
    ),
    "edges of other factors": (
        "grn @ --motifs motifs.meme --evaluate factors.tsv",
        ["factors.tsv", "'SYM33'"],
    ),
    "a sign in words": ("grn @ --motifs motifs.meme --evaluate signs.tsv", ["signs.tsv: row 2", "'up'"]),
    "a careless motif": ("grn @ --motifs motifs.meme --motif-p 0.5", ["--motif-p 0.5"]),
    "two scores of a network": (
        "grn @ --motifs motifs.meme --variant exact,ablation",
        ["--variant exact,ablation", "one score"],
    ),
    "factors without motifs": ("report @ --tfs SYM3", ["--tfs", "--motifs"]),
    "a page of an unknown gene": ("report @ --genes SYN3", ["--genes 'SYN3'", "did you mean SYM3"]),
    "a page with a damaged motif file": ("report @ --motifs short.meme", ["short.meme: line"]),
}


def listing(folder: Path) -> set[str]:
    """All files but those of the cache."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "cache" not in path.parts}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    name: str, root: Path, cli_error: CliError, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command, needles = BAD[name]
    line = shlex.split(command.replace(" @", f" {ON_DATA}", 1))
    line += [] if "--out" in line else ["--out", str(tmp_path / "out")]
    line += [] if "--device" in line else ["--device", "cpu"]
    monkeypatch.chdir(root)
    before = listing(root)
    said = cli_error("regulation", *line)
    for needle in needles:
        assert needle in said
    assert not list(tmp_path.iterdir()) and listing(root) == before
    assert (root / "full" / "notes.txt").read_text() == "of value"


def test_every_reading_is_in_the_table() -> None:
    readings = {command.split()[0] for command, _ in BAD.values()}
    assert readings == {
        *("score", "links", "knockout", "knockin", "variants", "features"),
        *("masters", "transition", "targets", "grn", "report"),
    }
