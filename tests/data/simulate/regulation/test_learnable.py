"""The preset small can be learnt from motifs and accessibility, and not from accessibility alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cisoform.data.simulate.regulation.config import small
from cisoform.data.simulate.regulation.crispr import crispr_table
from cisoform.data.simulate.regulation.rules import distances
from cisoform.data.simulate.regulation.simulation import simulate_regulation
from cisoform.data.simulate.regulation.tracks import mark_levels
from cisoform.data.simulate.regulation.truth import attainable, observed_log1p, per_gene_pearson
from tests.data.simulate.regulation import naive


@pytest.fixture(scope="module")
def problem():
    regulation = simulate_regulation(small())
    cells = regulation.cells
    cuts = np.zeros((len(regulation.group_names), cells.atac.shape[1]))
    np.add.at(cuts, cells.group, cells.atac.toarray())
    cpm = (cuts / cuts.sum(1, keepdims=True)).T
    access = np.minimum(cpm / np.quantile(cpm, 0.9), 1.0)
    return regulation, access, distances(regulation.genome), observed_log1p(regulation)


def score(features, regulation, observed):
    predicted = naive.leave_chromosome_out(features, observed, regulation.genome.gene_chrom)
    return per_gene_pearson(predicted, observed).mean()


def test_accessibility_alone_stays_far_below_what_is_attainable(problem):
    regulation, access, distance, observed = problem
    promoter = {e.gene: number for number, e in enumerate(regulation.genome.elements) if e.kind == "promoter"}
    rows = [promoter[gene] for gene in range(len(observed))]
    features = np.hstack([naive.decayed_sums(access, distance), access[rows].reshape(-1, 1)])
    assert score(features, regulation, observed) < 0.35
    assert attainable(regulation)["per_gene_pearson_mean"] > 0.9


def test_motifs_and_accessibility_reach_the_goal_on_held_out_chromosomes(problem):
    regulation, access, distance, observed = problem
    strength = np.minimum(regulation.book.strength, 4)
    net = np.sign(strength @ regulation.book.sign)
    answer = np.repeat(regulation.book.answer, observed.shape[1])[:, None]
    both = [naive.decayed_sums((net == sign)[:, None] * access, distance) for sign in (1, -1)]
    by_sign = np.hstack([part * answer for part in both] + [answer])
    assert score(by_sign, regulation, observed) > 0.7
    by_motif = [
        naive.decayed_sums(strength[:, [tf]] * access, distance, (2e4,)) for tf in range(strength.shape[1])
    ]
    assert score(np.hstack([*(part * answer for part in by_motif), answer]), regulation, observed) > 0.6


def test_simple_scores_of_the_tested_pairs_stay_well_below_the_truth(problem):
    regulation = problem[0]
    parts = (regulation.config, regulation.roster, regulation.genome, regulation.book, regulation.readout)
    pairs = crispr_table(regulation, mark_levels(*parts))
    regulated = (pairs["Regulated"] == "TRUE").to_numpy()
    near = np.maximum(pairs["distanceToTSS"].to_numpy(), 5000.0) ** -0.87
    access, marked = pairs["DHS.RPM"].to_numpy(), pairs["H3K27ac.RPM"].to_numpy()
    assert 0.04 < regulated.mean() < 0.15
    assert average_precision_score(regulated, near) < 0.5
    assert average_precision_score(regulated, access * near) < 0.5
    assert 0.5 < average_precision_score(regulated, np.sqrt(access * marked) * near) < 0.75
