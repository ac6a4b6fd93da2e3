"""From data to pages: what is drawn is what was scored, and the tables beside the page hold the same numbers."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch

from cisoform.benchmark.elementary import EvaluationConfig, parts_of, pearson
from cisoform.benchmark.locus import choose_region, read_locus
from cisoform.benchmark.regulatory import PartPredictions
from cisoform.data.region_build import build_regions
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.regions import RegionDataset
from cisoform.errors import InputError
from cisoform.jobs import elementary, elementary_report, regulatory_report
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.landmarks import Landmarks
from cisoform.jobs.records import plain
from cisoform.jobs.regulation_predict import EvaluationConfig as GeneEvaluation
from cisoform.jobs.regulation_predict import evaluate
from tests.data import region_files as files
from tests.data.gene_sets import build_small, save_creformer

torch.set_num_threads(1)
GTF = """c3\tx\ttranscript\t101\t400\t.\t+\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ONE";
c3\tx\texon\t101\t200\t.\t+\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ONE";
c3\tx\texon\t301\t400\t.\t+\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ONE";
c3\tx\ttranscript\t101\t200\t.\t+\t.\tgene_id "G1"; transcript_id "T2"; gene_name "ONE";
c3\tx\texon\t101\t200\t.\t+\t.\tgene_id "G1"; transcript_id "T2"; gene_name "ONE";
c1\tx\ttranscript\t101\t200\t.\t-\t.\tgene_id "G2"; transcript_id "T3"; gene_name "TWO";
c1\tx\texon\t101\t200\t.\t-\t.\tgene_id "G2"; transcript_id "T3"; gene_name "TWO";
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Regions of three samples and an Elementary without training."""
    root = tmp_path_factory.mktemp("stage1")
    files.write_genome(root)
    files.write_tracks(root)
    config = RegionBuildConfig(window=512, test_chromosomes=("c3",), test_samples=("skin",))
    build_regions(root / "genome.fa", root / "tracks.tsv", root / "regions", config)
    dataset = RegionDataset.open(root / "regions")
    run = elementary.prepare(dataset, elementary.choose_recipe("tiny", ("loader.lengths=[256,512]",)), "tiny")
    run.task.model.eval()
    about = {"recipe": "tiny", "seed": 0, "dataset_hash": dataset.hash}
    model = elementary.ElementaryModel(run.task, run.recipe.loader, dataset.edges, about, root)
    config = EvaluationConfig(length=512, tokens=10**6, hiding=model.loader.hiding, anchor="atac")
    return root, dataset, model, elementary.evaluate(model, dataset, "test", config)


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """Genes in cells and a CREformer without training, evaluated under an observer that knows the truth."""
    root = tmp_path_factory.mktemp("stage2")
    dataset = build_small(root, n_cells=40)
    model = CREformerModel.load(save_creformer(root / "model"))
    everything = dataset.expression_matrix(dataset.group_rows("all"), dataset.gene_rows("all"))
    observer = regulatory_report.Observer(dataset, everything)
    config = GeneEvaluation(depth=False, max_groups=30)
    result = evaluate(model, dataset, "test", config, cache=root / "cache", observe=observer)
    return root, dataset, model, result, observer


def test_what_is_drawn_along_a_locus_is_what_was_scored(first):
    _, dataset, model, result = first
    part = "unseen chromosome, unseen sample"
    rows = parts_of(dataset, "test")[part]
    found = [read_locus(model.task, dataset, row, 0, 512, ["atac"], 512) for row in rows.tolist()]
    assert all(set(item.predicted) == {"h3k4me3"} == set(item.training_mean) for item in found)
    observed, predicted, mean = (
        np.concatenate([getattr(item, name)["h3k4me3"] for item in found])
        for name in ("observed", "predicted", "training_mean")
    )
    scored = result["parts"][part]["preserved"]["h3k4me3"]["anchor_alone"]["pearson_arcsinh_where_mean"]
    assert scored["model"] == pytest.approx(pearson(observed, predicted), abs=1e-5)
    assert scored["training_mean"] == pytest.approx(pearson(observed, mean), abs=1e-5)


def test_a_locus_of_several_windows_is_their_parts_end_to_end(first):
    _, dataset, model, _ = first
    row = int(parts_of(dataset, "test")["unseen chromosome, seen sample"][0])
    whole = read_locus(model.task, dataset, row, 0, 512, [], 256)
    halves = [read_locus(model.task, dataset, row, at, 256, [], 256) for at in (0, 256)]
    for name in dataset.tracks:
        joined = np.concatenate([half.predicted[name] for half in halves])
        np.testing.assert_allclose(whole.predicted[name], joined, atol=1e-6)
    # The mean at the place is over the other training samples: this one is liver or brain, skin is held out.
    sample, chrom, start = dataset.regions.select("sample", "chrom", "start").row(row)
    other = {"liver": "brain", "brain": "liver"}[sample]
    at = dataset.regions.select("sample", "chrom", "start").rows().index((other, chrom, start))
    np.testing.assert_allclose(
        whole.training_mean["atac"], np.arcsinh(dataset.means(at, 0, 512)[0]), rtol=1e-5
    )


def test_the_locus_is_chosen_by_its_signal(first):
    _, dataset, _, _ = first
    rows = dataset.rows("test")
    region, start = choose_region(dataset, rows, "atac", 256)
    sums = {
        (row, at): float(np.arcsinh(dataset.means(row, at, 256)[0]).sum())
        for row in rows.tolist()
        for at in (0, 128, 256)
    }
    assert (region, start) == max(sums, key=lambda key: sums[key])


def test_landmarks_are_those_of_the_stretch(tmp_path):
    (tmp_path / "a.gtf").write_text(GTF)
    (tmp_path / "p.bed").write_text("c3\t50\t120\nc3\t500\t600\nc1\t100\t150\n")
    found = Landmarks.read(files.CHROMS, tmp_path / "a.gtf", tmp_path / "p.bed")
    (gene,) = found.genes_at("c3", 90, 350)
    assert (gene.name, gene.strand, list(gene.exons)) == ("ONE", "+", [(100, 200), (300, 400)])
    assert found.genes_at("c3", 400, 500) == [] and found.peaks_at("c3", 90, 350) == [(50, 120)]
    assert found.peaks_at("c2", 0, 9000) == [] and Landmarks().peaks_at("c3", 0, 9) is None
    with pytest.raises(InputError, match="elsewhere"):
        (tmp_path / "q.bed").write_text("elsewhere\t5\t9\n")
        Landmarks.read(files.CHROMS, peaks=tmp_path / "q.bed")


def test_scores_of_the_first_stage_are_written_with_a_page(first, tmp_path):
    root, dataset, model, result = first
    (tmp_path / "a.gtf").write_text(GTF.replace("c1", "c3"))
    landmarks = Landmarks.read(files.CHROMS, tmp_path / "a.gtf")
    elementary_report.write_scores(tmp_path / "scores", result, model, dataset, root, landmarks)
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["evaluation.json", "report.html"]
    assert json.loads((tmp_path / "scores/evaluation.json").read_text()) == plain(result)
    text = (tmp_path / "scores/report.html").read_text()
    for part in result["parts"].values():
        assert f"{part['hidden']['bases']['accuracy']['model']:.3f}" in text
        assert f"{part['preserved']['h3k4me3']['anchor_alone']['pearson_where_mean']['model']:.3f}" in text
    assert dataset.hash in text and "Along a locus" in text and "How it learned" not in text


def test_scores_of_the_second_stage_are_written_with_a_page(second, tmp_path):
    root, dataset, model, result, observer = second
    regulatory_report.write_scores(tmp_path / "scores", result, observer, model, dataset, root)
    assert json.loads((tmp_path / "scores/evaluation.json").read_text()) == plain(result)
    text = (tmp_path / "scores/report.html").read_text()
    table = pl.read_csv(tmp_path / "scores/genes.tsv", separator="\t")
    assert set(table["part"]) == set(result["parts"])
    for part, found in result["parts"].items():
        rows = table.filter(pl.col("part") == part)
        assert rows.height == found["n_genes"]
        for name in ("model", "ridge"):
            score = found["scores"][name]["gene_pearson"]
            assert rows[name].cast(pl.Float64).mean() == pytest.approx(score, abs=1e-5)
            assert f"{score:.3f}" in text
    assert dataset.hash in text and "Sequencing depth" not in text


def test_the_truth_itself_reaches_the_ceiling(second):
    _, _, _, result, observer = second
    assert set(observer.ceiling_scores) == set(result["parts"])
    for part, found in observer.ceiling_scores.items():
        assert found["mse"] == 0 and found["gene_pearson"] == pytest.approx(1), part
        known = observer.per_gene[part]["ceiling"]
        np.testing.assert_allclose(known[np.isfinite(known)], 1)


def test_genes_are_drawn_by_their_truth_across_means_of_types(second):
    _, dataset, _, _, observer = second
    drawing = observer.drawing
    assert drawing.part == "unseen chromosomes, all cell types" and list(drawing.predicted)[0] == "model"
    genes = dataset.gene_rows("test")
    groups = dataset.group_rows("all")
    truth = dataset.expression_matrix(groups, genes)
    part = PartPredictions("p", groups, genes, truth, {"model": truth * 2})
    assert len(groups) > regulatory_report.GROUPS_DRAWN
    drawn = regulatory_report.draw_genes(dataset, part, part.per_gene())
    types = dataset.groups["cell_type"].to_list()
    assert drawn.groups == sorted(set(types))
    most = int(truth.std(axis=0).argmax())
    assert drawn.names[0] == dataset.genes["gene_name"][int(genes[most])]
    of_type = np.array([name == drawn.groups[1] for name in types])[groups]
    np.testing.assert_allclose(drawn.observed[1, 0], truth[of_type, most].mean(), rtol=1e-5)
    np.testing.assert_allclose(drawn.predicted["model"], 2 * drawn.observed, rtol=1e-5)
    few = PartPredictions("p", groups[:5], genes, truth[:5], {"model": truth[:5]})
    names = regulatory_report.draw_genes(dataset, few, few.per_gene()).groups
    assert names == dataset.groups["name"].to_list()[:5]


def test_numbers_that_json_lacks_are_null():
    value = {"a": np.float32(1.5), "b": [float("nan"), np.int64(3), (float("inf"),)], 4: "x"}
    assert plain(value) == {"a": 1.5, "b": [None, 3, [None]], "4": "x"}
