from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from cisoform.data.simulate.regulation.config import RULES, RegulationConfig, preset, small, tiny
from cisoform.data.simulate.regulation.edits import knock_all, silence
from cisoform.data.simulate.regulation.genome import LEAST_SPACING_BP
from cisoform.data.simulate.regulation.motifs import Motif, make_roster, scan, site_strength
from cisoform.data.simulate.regulation.rules import (
    binding,
    link_effects,
    log1p_cp10k,
    read_out,
    set_activity,
)
from cisoform.data.simulate.regulation.simulation import simulate_regulation
from cisoform.data.simulate.regulation.truth import link_table, summary
from cisoform.errors import InputError
from tests.data.simulate.regulation import naive


def tables(regulated, *names):
    return [pl.read_parquet(regulated.out / "truth" / f"{name}.parquet") for name in names]


def columns_of(regulation, *groups):
    return [regulation.group_names.index(name) for name in groups]


def test_expression_recomputed_from_the_written_tables_is_the_same(regulated):
    genes, elements, sites, tfs = tables(regulated, "genes", "elements", "sites", "tfs")
    by_tf = {row["tf"]: row for row in tfs.to_dicts()}
    of_peak = {
        key: list(zip(part["tf"], part["strength"], strict=True)) for (key,), part in sites.group_by("peak")
    }
    peaks = elements.to_dicts()
    for group in regulated.regulation.group_names:
        states = [naive.peak_state(peak, of_peak.get(peak["peak"], []), by_tf, group) for peak in peaks]
        np.testing.assert_allclose([a for a, _ in states], elements[f"accessibility.{group}"], atol=1e-9)
        np.testing.assert_allclose([e for _, e in states], elements[f"effect.{group}"], atol=1e-9)
        rates = [naive.log_rate(gene, peaks, [e for _, e in states]) for gene in genes.to_dicts()]
        np.testing.assert_allclose(rates, genes[f"log_rate.{group}"], atol=1e-9)
        share = np.exp(rates) / np.exp(rates).sum()
        np.testing.assert_allclose(np.log1p(1e4 * share), genes[f"expected_log1p_cp10k.{group}"], atol=1e-9)


def test_sites_are_those_a_plain_scan_of_the_written_genome_finds(regulated):
    elements, sites, tfs = tables(regulated, "elements", "sites", "tfs")
    motifs = naive.read_meme(regulated.out / "motifs.meme")
    assert len(motifs) == tfs.height >= 40
    binding_tfs = tfs.filter(pl.col("role") != "decoy")["tf"].to_list()
    for peak in elements.to_dicts()[:: max(1, elements.height // 12)]:
        sequence = regulated.dna[peak["chrom"]][peak["mid"] - 300 : peak["mid"] + 300]
        for tf in binding_tfs:
            want = naive.site_strengths(sequence, motifs[tf])
            got = sites.filter((pl.col("peak") == peak["peak"]) & (pl.col("tf") == tf))["strength"].to_list()
            np.testing.assert_allclose(sorted(got), sorted(want), atol=1e-4)


def test_links_sum_to_the_rate_and_tf_parts_sum_to_the_links(regulated):
    genes, links = tables(regulated, "genes", "links")
    group = regulated.regulation.group_names[0]
    sums = links.group_by("gene_id").agg(pl.col(f"effect.{group}").sum().alias("sum"))
    joined = genes.join(sums, on="gene_id")
    assert joined.height == genes.height
    np.testing.assert_allclose(joined["level"] + joined["sum"], joined[f"log_rate.{group}"], atol=1e-9)
    book, readout = regulated.regulation.book, regulated.regulation.readout
    bound = binding(book)
    share = bound / np.maximum(bound.sum(1, keepdims=True), 1e-300)
    parts = readout.opened[:, None] * share * book.sign[None, :, None]
    np.testing.assert_allclose(parts.sum(1), readout.effect, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_is_off_has_exactly_no_effect_and_moves_no_base(regulated, rule):
    config = replace(regulated.config, rules=frozenset(RULES) - {rule})
    other = simulate_regulation(config)
    full = regulated.regulation
    for name, codes in full.genome.chromosomes.items():
        assert np.array_equal(codes, other.genome.chromosomes[name])
    before = [gene.steady for gene in full.genome.genes]
    if rule == "activation":
        assert other.readout.effect.max() == 0 and full.readout.effect.max() > 0.5
    elif rule == "repression":
        assert other.readout.effect.min() == 0 and full.readout.effect.min() < -0.5
    elif rule == "distal":
        own = [e.gene if e.kind == "promoter" else -1 for e in other.genome.elements]
        for element, gene in enumerate(own):
            moved = np.flatnonzero(link_effects(other.book, other.readout, element).any(1))
            assert set(moved.tolist()) <= {gene}
    elif rule == "core":
        assert np.array_equal(other.book.level, full.genome.level + 4.0 * np.array(before))
    elif rule == "steady":
        assert np.all(other.book.answer == 1) and full.book.answer.min() == 0.3
    else:
        rest, moved = columns_of(other, "type04", "type04_stimulated")
        assert np.array_equal(other.readout.log_rate[:, rest], other.readout.log_rate[:, moved])
        assert np.abs(full.readout.log_rate[:, rest] - full.readout.log_rate[:, moved]).max() > 0.5


def test_with_all_rules_off_expression_is_the_same_in_all_groups():
    other = simulate_regulation(replace(tiny(), rules=frozenset()))
    assert np.ptp(other.readout.log_rate, axis=1).max() == 0
    assert np.ptp(other.readout.accessibility, axis=1).max() > 0.5  # open chromatin still differs
    assert all(np.abs(change.log_rate).max() == 0 for change in knock_all(other.book, other.readout, 0.0))


def test_signs_of_knock_outs_follow_the_roles_and_decoys_do_nothing(regulated):
    full = regulated.regulation
    for tf, change in zip(full.roster.binding, knock_all(full.book, full.readout, 0.0), strict=True):
        pure = change.log_rate[np.abs(change.log_rate) > 0.1]
        if tf.role in ("activator", "repressor", "ubiquitous", "driver"):
            assert len(pure) and (np.sign(pure) == -tf.sign).mean() > 0.8  # mixed elements shift the rest
        else:
            assert np.abs(change.log_rate).max() < 0.5
    frame = pl.read_parquet(regulated.out / "truth" / "knockout.parquet")
    assert set(frame["tf"]) == {tf.name for tf in full.roster.binding}


def test_a_knock_out_is_the_rules_applied_without_the_sites_of_the_tf(regulated):
    full = regulated.regulation
    tf = next(number for number, item in enumerate(full.roster.binding) if item.role == "activator")
    strength = full.book.strength.copy()
    strength[:, tf] = 0
    without = read_out(replace(full.book, strength=strength))
    np.testing.assert_allclose(
        read_out(set_activity(full.book, tf, 0.0)).log_rate, without.log_rate, atol=1e-12
    )
    frame = pl.read_parquet(regulated.out / "truth" / "knockout.parquet").filter(
        pl.col("tf") == full.roster.binding[tf].name
    )
    want = (without.log_rate - full.readout.log_rate).reshape(-1)
    np.testing.assert_allclose(frame["delta_log_rate"], want, atol=1e-12)
    total = np.exp(full.readout.log_rate).sum(0)
    shift = log1p_cp10k(without.log_rate, total) - log1p_cp10k(full.readout.log_rate)
    np.testing.assert_allclose(frame["delta_log1p_cp10k"], shift.reshape(-1), atol=1e-12)


def test_silencing_an_element_removes_its_link(regulated):
    full = regulated.regulation
    element = int(np.abs(full.readout.effect).max(1).argmax())
    effect = full.readout.effect.copy()
    effect[element] = 0
    rate = full.book.level[:, None] + full.book.answer[:, None] * 1.5 * (full.book.weight.T @ effect)
    want = np.exp(rate - full.readout.log_rate) - 1
    np.testing.assert_allclose(silence(full.book, full.readout, element), want, atol=1e-9)


def test_variants_change_what_a_rescan_of_the_changed_genome_says(regulated):
    full = regulated.regulation
    frame = pl.read_parquet(regulated.out / "truth" / "variants.parquet")
    assert {"core", "flank", "beside"} <= set(frame["kind"])
    rows = [
        line.split("\t")
        for line in (regulated.out / "variants.vcf").read_text().splitlines()
        if line[0] != "#"
    ]
    assert all(regulated.dna[chrom][int(at) - 1] == ref != alt for chrom, at, _, ref, alt, *_ in rows)
    group = full.group_names[0]
    beside = frame.filter(pl.col("kind") == "beside")
    assert beside[f"effect.{group}"].abs().max() < 0.2  # a new site by chance at most
    signs = {tf.name: tf.sign for tf in full.roster.tfs}
    core = frame.filter((pl.col("kind") == "core") & (pl.col(f"effect.{group}").abs() > 0.05))
    right = [np.sign(e) == -signs[tf] for e, tf in zip(core[f"effect.{group}"], core["tf"], strict=True)]
    assert len(right) > 5 and np.mean(right) > 0.9


def test_the_motif_scan_finds_a_site_on_either_strand():
    matrix = np.full((4, 4), 0.01)
    matrix[[0, 1, 2, 3], [0, 0, 1, 2]] = 0.97  # AACG
    codes = np.array([[3, 3, 0, 0, 1, 2, 3, 4, 1, 2, 3, 3, 0]], np.uint8)  # TTAACGTNCGTTA
    sites = scan(codes, [Motif("m", matrix)])
    assert sorted(zip(sites.offset.tolist(), sites.reverse.tolist(), strict=True)) == [(2, False), (8, True)]
    assert site_strength(np.array([7.0], np.float32), 10.0).tolist() == [0.0]


def test_motifs_are_distinct_and_names_do_not_tell_the_role():
    roster = make_roster(tiny())
    assert len({tf.motif.consensus for tf in roster.tfs}) == len(roster.tfs) == 44
    assert sum(tf.role == "decoy" for tf in roster.tfs) > len(roster.tfs) / 2
    drivers = {make_roster(replace(tiny(), seed=seed)).of_role("driver")[0].name for seed in (1, 2, 3)}
    assert len(drivers) > 1
    assert sum(tf.shadows is not None for tf in roster.tfs) == 9


def test_elements_keep_their_distance(regulated):
    genome = regulated.regulation.genome
    for chrom in range(len(genome.names)):
        gaps = np.diff(genome.mids[genome.element_chrom == chrom])
        assert gaps.min() >= LEAST_SPACING_BP


def test_the_preset_is_as_hard_as_it_says():
    regulation = simulate_regulation(small())
    counts = summary(regulation, link_table(regulation))
    assert counts["targets_that_are_not_the_nearest_gene"] > 0.15
    assert counts["repressing_share_of_links"] > 0.3
    assert counts["atac_nonzero_share"] < 0.25 and counts["rna_nonzero_share"] < 0.75
    assert counts["elements"]["bare"] + counts["elements"]["decoy"] + counts["elements"]["neutral"] > 100
    assert counts["n_peaks"] * counts["n_groups"] <= 10_000 and 2e6 <= counts["n_bases"] <= 5e6


def test_stimulated_groups_differ_by_the_driver_and_what_follows_it(regulated):
    activity, roster = regulated.regulation.activity, regulated.regulation.roster
    driver = roster.of_role("driver")[0].name
    assert activity.masters["type04_stimulated"].count(driver) == 1
    rest, moved = columns_of(regulated.regulation, "type04", "type04_stimulated")
    changed = np.flatnonzero(np.abs(activity.values[:, rest] - activity.values[:, moved]) > 0)
    shadow = next(tf.name for tf in roster.tfs if tf.shadows == driver)
    assert {roster.tfs[number].name for number in changed} == {driver, shadow}
    assert all(1 <= len(names) <= 3 for names in activity.masters.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_genes": 20}, "n_genes=20"),
        ({"n_cells": 3}, "n_cells=3"),
        ({"n_types": 1}, "n_types=1"),
        ({"chromosome_bp": 20_000}, "chromosome_bp=20000"),
        ({"n_distal": 10}, "n_distal=10"),
        ({"rules": frozenset({"magic"})}, "'magic' is unknown"),
    ],
)
def test_sizes_that_cannot_be_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        RegulationConfig(**change)


def test_an_unknown_preset_is_refused():
    with pytest.raises(InputError, match="'big' is unknown"):
        preset("big")
