"""Permuted answers and motifs with shuffled positions: links, knock-outs, networks and masters fall to chance.

What is planted is known without a motif scanner: a factor acts in the peaks that hold its word. Beside every null
stands the same reading of what is true, which finds it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy.sparse import csr_matrix

from cisoform.analysis.grn import Factors, edges, evidence
from cisoform.analysis.grn_evaluate import average_precision
from cisoform.analysis.grn_scores import make_chunk
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.master_agreement import judge
from cisoform.analysis.masters import MasterConfig, rank_masters
from cisoform.analysis.motif_activity import motif_activity, motif_deviations
from cisoform.analysis.perturbation import SignalEdit
from cisoform.analysis.reader import Reader
from cisoform.benchmark.planted import rank_agreement
from cisoform.data.genes import GenesDataset
from cisoform.genome.motif_sites import find_sites, shuffled
from cisoform.genome.motifs import Motif
from cisoform.genome.sequence import decode_dna, encode_dna, reverse_complement
from cisoform.jobs.chosen_peaks import choose_by_motifs, peaks_of_genes
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.perturbation import perturb, screen
from cisoform.jobs.readings import open_reader
from tests.cli.test_regulation_links_model import imagined
from tests.data.gene_sets import build_small, save_creformer
from tests.data.pair_files import write_pairs

torch.set_num_threads(1)
Cli = Callable[..., Any]
LONG = ("ACGTTAG", "GATTACC", "TTGCACA", "CAGGATC", "TACCGTC", "GGTAACT", "AGCTCAA", "CTTGGAC")
SHORT = ("ACGTTA", "GATTAC", "TTGCAC", "CAGGAC", "TACCGT")


def exact(word: str) -> Motif:
    return Motif(word, word, np.eye(4)[encode_dna(word)], 1000.0)


def shuffle(word: str, rng: np.random.Generator) -> Motif:
    """Its positions in another order, without four neighbours of a true word, which would lie beside it."""
    known = [decode_dna(one) for true in (*SHORT, word) for one in both_strands(true)]
    for _ in range(1000):
        found = shuffled(exact(word), rng)
        bases = decode_dna(found.probability.argmax(axis=1).astype(np.uint8))
        if not any(bases[at : at + 4] in one for at in range(len(bases) - 3) for one in known):
            return found
    raise AssertionError(f"no order of {word} is far from the true words")


def both_strands(word: str) -> list[np.ndarray]:
    return [encode_dna(word), reverse_complement(encode_dna(word))]


def holds(windows: np.ndarray, word: str) -> np.ndarray:
    """Whether each window holds the word on either strand."""
    words = [decode_dna(one) for one in both_strands(word)]
    return np.array([any(one in decode_dna(row) for one in words) for row in windows])


# --- a model without training, whose own answers are the truth -------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nulls")
    build_small(folder, n_cells=8)
    save_creformer(folder / "model")
    return folder


@pytest.fixture(scope="module")
def reader(root: Path) -> Reader:
    dataset = GenesDataset.open(root / "genes")
    every = np.arange(dataset.groups.height), np.arange(dataset.genes.height)
    return open_reader(CREformerModel.load(root / "model"), dataset, *every, cache=root / "cache")


def test_links_with_permuted_answers(root: Path, cli: Cli) -> None:
    base = ("regulation", "links", root / "model", "--data", root / "genes", "--cache", root / "cache")
    line = (*base, "--group-by", "cell_type", "--normalise", "none", "--device", "cpu", "--json")
    table = pl.DataFrame(json.loads(cli(*line).stdout)["rows"]).filter(pl.col("cell_type") == "T")
    limit = table["score"].quantile(0.75)
    acts = {
        (gene, start)
        for gene, start, score in table.select("gene_id", "start", "score").rows()
        if score > limit
    }
    rows = imagined(GenesDataset.open(root / "genes"))
    answer = [(row["measuredGeneEnsemblId"], int(row["chromStart"]) - 5) in acts for row in rows]
    share = np.mean(answer)
    rng = np.random.default_rng(0)

    def evaluated(regulated: list[bool]) -> dict[str, Any]:
        given = [{**row, "Regulated": str(one).upper()} for row, one in zip(rows, regulated, strict=True)]
        path = write_pairs(root / "pairs.tsv", given)
        result = cli(*line, "--evaluate", path, "--draws", 50)
        assert result.exit_code == 0, result.stderr
        found: dict[str, Any] = json.loads(result.stdout)["predictors"]["ablation"]
        return found

    real = evaluated(answer)
    assert real["auprc"] > 0.99 and real["permuted"]["low"] < share < real["permuted"]["high"]
    null = [evaluated(rng.permutation(answer).tolist()) for _ in range(4)]
    assert np.mean([one["auprc"] for one in null]) == pytest.approx(share, abs=0.06)
    assert np.mean([one["auroc"] for one in null]) == pytest.approx(0.5, abs=0.06)


def knocked_out(reader: Reader, motif: Motif, grouping: Grouping, n_controls: int = 0) -> pl.DataFrame:
    genes = np.arange(reader.genes.height)
    peaks = choose_by_motifs(reader, {motif.tf: [motif]}, peaks_of_genes(reader, genes), 7e-5)
    return perturb(reader, grouping, genes, SignalEdit(peaks.peaks), n_controls=n_controls).table


def test_knock_outs_of_shuffled_motifs(reader: Reader) -> None:
    genes, groups = np.arange(reader.genes.height), np.arange(reader.groups.height)
    whole = Grouping("all", ("all",), groups, np.zeros(len(groups), dtype=np.int64))
    closed = screen(reader, whole, genes, SignalEdit(np.arange(reader.dataset.n_peaks)))
    windows, rng = reader.dataset.windows(np.arange(reader.dataset.n_peaks)), np.random.default_rng(1)
    planted, read, null = [], [], []
    for word in LONG:
        own = closed.filter(pl.Series(holds(windows, word)[closed["peak"].to_numpy()]))
        found = [own, *(knocked_out(reader, motif, whole) for motif in (exact(word), shuffle(word, rng)))]
        sums = [dict(one.group_by("gene_id").agg(pl.col("difference").sum()).iter_rows()) for one in found]
        for values, of in zip((planted, read, null), sums, strict=True):
            values.extend(of.get(gene, 0.0) for gene in reader.genes["gene_id"])
    truth = np.array(planted)
    assert rank_agreement(truth, np.array(read), above_noise=False) > 0.95
    assert abs(rank_agreement(truth, np.array(null), above_noise=False)) < 3 / np.sqrt(len(truth))
    permuted = [rank_agreement(rng.permutation(truth), np.array(read), above_noise=False) for _ in range(20)]
    assert abs(np.mean(permuted)) < 0.05


def test_p_values_of_shuffled_motifs_are_those_of_chance(reader: Reader) -> None:
    groups, rng = np.arange(reader.groups.height), np.random.default_rng(2)
    whole = Grouping("all", ("all",), groups, np.zeros(len(groups), dtype=np.int64))
    tables = [knocked_out(reader, shuffle(word, rng), whole, n_controls=20) for word in LONG[:4]]
    p = pl.concat(tables)["p"].drop_nulls().to_numpy()
    assert len(p) > 60
    for level in (0.05, 0.1, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level / len(p))


# --- effects and openness planted in peaks with words ----------------------------------------------------------------


class World:
    """660 peaks of 60 genes; factor f acts where its word lies, by its expression; only 0 (raises) and 1 (lowers) do."""

    n_genes, per_gene, n_labels = 60, 11, 7

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.n_peaks = self.n_genes * self.per_gene
        self.windows = rng.integers(0, 4, (self.n_peaks, 160)).astype(np.uint8)
        self.has = np.stack([holds(self.windows, word) for word in SHORT], axis=1)
        self.expression = rng.random((self.n_labels, len(SHORT)))
        self.effect = rng.normal(0, 0.15, (self.n_peaks, self.n_labels))
        acts = np.array([0.6, -0.6, 0.0, 0.0, 0.0])
        self.effect += np.einsum("pf,f,lf->pl", self.has, acts, self.expression)
        self.block = rng.integers(0, 3, self.n_peaks)
        gene = np.repeat(np.arange(self.n_genes), self.per_gene)
        self.chunk = make_chunk(
            gene, np.arange(self.n_peaks), np.zeros(self.n_peaks, np.float32), self.effect[:, :, None]
        )
        reached = self.has[:, :2].T.reshape(2, self.n_genes, self.per_gene).any(axis=2)
        self.truth = np.concatenate([reached, np.zeros((3, self.n_genes), dtype=bool)])

    def sites(self, motifs: list[Motif]) -> np.ndarray:
        """Peaks with sites of each motif (peaks, factors)."""
        every, first = np.arange(self.n_peaks), np.zeros(self.n_peaks, dtype=np.int64)
        found = find_sites(motifs, lambda rows: self.windows[rows], every, first, first + 160, p_value=2.6e-4)
        has = np.zeros((self.n_peaks, len(motifs)), dtype=bool)
        has[found.peak, found.motif] = True
        return has


@pytest.mark.parametrize("seed", range(3))
def test_networks_of_shuffled_motifs(seed: int) -> None:
    world, rng = World(seed), np.random.default_rng(seed)

    def network(motifs: list[Motif], fdr: float) -> tuple[list[bool], np.ndarray]:
        factors = Factors(SHORT, np.arange(5), csr_matrix(world.sites(motifs).astype(np.int64)))
        found = evidence(factors, world.effect, world.expression, world.block)
        column = np.arange(world.n_genes)
        score = edges(factors, [world.chunk], column, world.n_genes, found.called(fdr), found.sign, 0.3).score
        return found.called(0.05).tolist(), score

    called, score = network([exact(word) for word in SHORT], 0.05)
    assert called == [True, True, False, False, False]
    share = world.truth[:2].mean()
    real = average_precision(world.truth[:2].reshape(-1), score[:2].reshape(-1))
    assert real > share + 0.3
    null = []
    for _ in range(8):
        called, kept = network([shuffle(word, rng) for word in SHORT], 1.0)
        assert sum(called) <= 1
        null.append(average_precision(world.truth[:2].reshape(-1), kept[:2].reshape(-1)))
    # Genes with planted peaks have higher scores in any network: a little above the share, far below the real one.
    assert share - 0.1 < np.mean(null) < share + 0.1


@pytest.mark.parametrize("reading", ["activity", "deviations"])
def test_masters_of_shuffled_motifs(reading: str) -> None:
    world, rng = World(0), np.random.default_rng(5)
    n_cells, n_labels = 75, len(SHORT)
    label = rng.permutation(np.arange(n_cells) % n_labels)
    # In the cells of label f the peaks with the word of factor f are open, and matter.
    stronger = world.has[:, label].T
    signal = rng.poisson(1.0 + 1.5 * stronger).astype(np.float64)
    effects = rng.normal(0, 1, signal.shape) + 1.0 * stronger
    gc = np.isin(world.windows, (1, 2)).mean(axis=1)

    def recall(motifs: list[Motif], n_permutations: int = 1) -> tuple[float, float]:
        has = world.sites(motifs)
        values = motif_activity(effects, has) if reading == "activity" else motif_deviations(signal, has, gc)
        config = MasterConfig(k=1, n_bootstrap=0, n_permutations=n_permutations, seed=1)
        ranking = rank_masters(values, label, n_labels, config)
        found = judge(ranking, {one: [one] for one in range(n_labels)}, config.k)
        return float(found["recall"]), float(found["permuted_recall"])

    real, permuted = recall([exact(word) for word in SHORT], 20)
    assert real == 1.0 and permuted == pytest.approx(1 / n_labels, abs=0.1)
    null = [recall([shuffle(word, rng) for word in SHORT])[0] for _ in range(12)]
    assert np.mean(null) == pytest.approx(1 / n_labels, abs=0.17)
