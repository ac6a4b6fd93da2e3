"""Rules on hand-made sequences, and the arithmetic of shares, noise and ceilings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cisoform.data.simulate.config import RULES, Shares, SimulateConfig, preset
from cisoform.data.simulate.expression import ceiling, ceiling_on, modality_ceilings, simulate_expression
from cisoform.data.simulate.genes import background
from cisoform.data.simulate.rules import (
    UPSTREAM_BP,
    Sequences,
    count_uorfs,
    favoured_codons,
    find_uorfs,
    match_strength,
    promoter_sites,
    protein_scores,
    utr3_sites,
)
from cisoform.data.simulate.simulation import simulate
from cisoform.errors import InputError
from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import encode_dna

MOTIF = "TGACTCATCA"


def one(rna, cds):
    """Sequences of one transcript without promoter."""
    rows = Ragged.from_rows([encode_dna(rna)], np.uint8)
    return Sequences(np.full((1, UPSTREAM_BP), 4, dtype=np.uint8), rows, np.array([cds]))


def promoter(distance, site=MOTIF):
    codes = np.zeros((1, UPSTREAM_BP), dtype=np.uint8)
    codes[0, UPSTREAM_BP + distance : UPSTREAM_BP + distance + len(site)] = encode_dna(site)
    return promoter_sites(codes, [MOTIF])[0, 0]


def test_a_mismatch_halves_a_site_and_two_silence_it():
    text = "AC" + MOTIF + "CC" + MOTIF[:-1] + "C" + "CC" + "C" + MOTIF[1:-1] + "C"
    strength = match_strength(encode_dna(text), MOTIF)
    assert {start: value for start, value in enumerate(strength.tolist()) if value} == {2: 1.0, 14: 0.5}


def test_n_never_matches():
    assert match_strength(encode_dna(MOTIF[:-1] + "N"), MOTIF).tolist() == [0.5]


@pytest.mark.parametrize(
    ("distance", "weight"), [(-255, 0), (-225, 0.5), (-200, 1), (-150, 1), (-30, 1), (-20, 0.5), (-10, 0)]
)
def test_promoter_sites_act_by_their_distance(distance, weight):
    # From 250 to 200 bp before the TSS the weight climbs over 50 bp, from 30 to 10 it falls over 20.
    assert promoter(distance) == pytest.approx(weight)


def test_promoter_sites_act_on_one_strand():
    assert promoter(-100, "TGATGAGTCA") == 0


@pytest.mark.parametrize(
    ("utr", "starts"),
    [
        ("CCCACCATGGCTTAACC", [6]),  # A at -3, G at +4, stop in frame
        ("CCCCCCATGGCTTAACC", []),  # C at -3
        ("CCCACCATGCCTTAACC", []),  # C at +4
        ("CCCACCATGGCTCTAAC", []),  # stop out of frame
        ("CCCACCATGGCTTA", []),  # the stop codon ends outside the 5'UTR
        ("ACCATGGTGA", []),  # GTG A: no stop in frame
        ("ACCATGGTTTGAACCATGGTTTGA", [3, 15]),
        ("ATGGCTTAA", []),  # no base at -3
    ],
)
def test_uorfs_need_context_and_a_stop(utr, starts):
    assert find_uorfs(encode_dna(utr)) == starts


def test_a_uorf_counts_in_the_5utr_only():
    uorf = "CCCACCATGGCTTAACC"
    start = len(uorf)
    assert count_uorfs(one(uorf + "ATGTAA" + uorf, (start, start + 6))).tolist() == [[1]]
    assert count_uorfs(one(uorf, (-1, -1))).tolist() == [[0]]


def test_3utr_sites_must_lie_behind_the_stop_codon():
    site = "TTATTTATT"
    sequences = one("CC" + site + "ATG" + "TAA" + "CC" + site + site, (11, 17))
    assert utr3_sites(sequences, [site])[0, 0] >= 2
    # The stop codon's last base would be the first of the site: TTATTTATT starts at the final T of no stop.
    assert utr3_sites(one("ATGCCCTAG" + "C" + site, (0, 9)), [site])[0, 0] == 1
    assert utr3_sites(one(site + "ATGCCCTAGCCCC", (9, 18)), [site])[0, 0] == 0


def test_codon_and_protein_scores_of_a_hand_worked_cds():
    # M | F(TTC, favoured) V(GTT, not) M(no choice) A(GCA, favoured) | stop: 2 of 3 favoured;
    # composition F +1, V -1 over 4 residues = 0; presequence: A of 4.
    sequences = one("GG" + "ATG" + "TTC" + "GTT" + "ATG" + "GCA" + "TAA" + "CC", (2, 20))
    assert favoured_codons(sequences)[0, 0] == pytest.approx(2 / 3)
    assert protein_scores(sequences)[0].tolist() == pytest.approx([0.0, 0.25])


def test_background_has_its_gc_and_few_cpg():
    rng = np.random.default_rng(0)
    low, high = background(rng, 60_000, 0.3), background(rng, 60_000, 0.6)
    gc = [np.isin(codes, (1, 2)).mean() for codes in (low, high)]
    assert 0.25 < gc[0] < 0.31 and 0.5 < gc[1] < 0.6
    pairs = ((high[:-1] == 1) & (high[1:] == 2)).mean(), ((high[:-1] == 2) & (high[1:] == 1)).mean()
    assert pairs[0] < 0.7 * pairs[1]


def test_shares_set_the_variance_of_each_rule(simulated):
    expression, shares = simulated.simulation.expression, simulated.config.shares
    for rule in RULES:
        variance = expression.contributions[rule].var(axis=0).mean()
        assert variance == pytest.approx(shares.of_rule(rule))
    assert sum(shares.of_rule(name) for name in (*RULES, "noise")) == pytest.approx(1)
    assert Shares(promoter=3.0, utr=2.0, codon=0.0, protein=0.0, noise=5.0).of_rule("uorf") == pytest.approx(
        0.1
    )


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_switched_off_contributes_zero_and_changes_nothing_else(simulated, rule):
    off = simulate(replace(simulated.config, rules=frozenset(set(RULES) - {rule}), n_variants=12))
    on = simulated.simulation
    assert all((off.genome.chromosomes[c] == on.genome.chromosomes[c]).all() for c in on.genome.chromosomes)
    assert (off.expression.contributions[rule] == 0).all()
    for other in set(RULES) - {rule}:
        assert (off.expression.contributions[other] == on.expression.contributions[other]).all()
    difference = on.expression.noise_free - off.expression.noise_free
    np.testing.assert_allclose(difference, on.expression.contributions[rule], atol=1e-12)


def test_rules_do_not_apply_to_noncoding_transcripts(simulated):
    noncoding = ~simulated.simulation.genome.sequences().coding
    assert noncoding.any()
    for rule in RULES:
        acts = (simulated.simulation.expression.contributions[rule][noncoding] != 0).any()
        assert acts == (rule == "promoter")


def test_the_ceiling_is_the_r2_of_the_noise_free_values(simulated):
    # 40 draws of the noise: mean R2 of the noise-free values against the noisy table.
    on = simulated.simulation
    draws = []
    for seed in range(40):
        config = replace(simulated.config, seed=1000 + seed)
        drawn = simulate_expression(config, on.expression.contributions)
        draws.append(ceiling_on(drawn, np.arange(len(drawn.tpm))))
    draws = np.array(draws)
    error = draws.std(axis=0) / np.sqrt(len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - ceiling(on.expression)), 4 * error + 0.003)


def test_replicates_show_the_ceiling(simulated):
    # Reliability of the mean of k replicates from their correlation r: k r / (1 + (k - 1) r) (Spearman-Brown).
    config = replace(simulated.config, n_genes=300, n_variants=0, shares=Shares(noise=0.4))
    expression = simulate(config).expression
    for tissue in range(config.n_tissues):
        r = np.corrcoef(np.log1p(expression.replicates[:, :, tissue]))
        r = r[np.triu_indices(len(r), 1)].mean()
        k = config.replicates
        assert k * r / (1 + (k - 1) * r) == pytest.approx(ceiling(expression)[tissue], abs=0.04)


def test_modalities_explain_parts_of_the_ceiling(simulated):
    parts = modality_ceilings(simulated.simulation.expression)
    whole = ceiling(simulated.simulation.expression)
    np.testing.assert_allclose(parts["dna+rna+protein"], whole, atol=1e-9)
    for name in ("dna", "rna", "protein"):
        assert (parts[name] > 0.03).all() and (parts[name] < whole).all()


def test_no_noise_means_a_ceiling_of_one():
    config = SimulateConfig(n_genes=12, n_variants=0, shares=Shares(noise=0.0))
    expression = simulate(config).expression
    np.testing.assert_allclose(ceiling(expression), 1)
    np.testing.assert_allclose(np.log1p(expression.tpm), expression.noise_free)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: preset("huge"), "'huge' is unknown; choose from tiny, small"),
        (lambda: SimulateConfig(rules=frozenset({"enhancer"})), "'enhancer'"),
        (lambda: SimulateConfig(n_genes=3), "n_genes=3"),
        (lambda: SimulateConfig(n_tissues=99), "n_tissues=99"),
        (lambda: Shares(codon=-0.5), "codon=-0.5"),
        (lambda: Shares(noise=float("nan")), "noise=nan"),
        (lambda: Shares(promoter=0.0, utr=0.0, codon=0.0, protein=0.0, noise=0.0), "all shares are 0"),
    ],
)
def test_a_wrong_setting_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
