"""Attention by region: shares by hand, a planted attention that is found, nulls, and what the tests say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel

from cisoform.analysis.isoform_attention import (
    REGIONS,
    attention_received,
    attention_shares,
    attention_table,
    paired_t,
    permutation_p,
    region_of_bases,
    region_shares,
    same_weights,
    turned,
)
from cisoform.batches import Tokens
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.loader import IsoformLoader, LoaderConfig
from cisoform.genome.ragged import Ragged
from cisoform.models.encoders import ConvConfig, NtV2Config, TinyConfig, build_encoder
from cisoform.models.encoders.attention import encoder_attention, has_attention
from cisoform.models.encoders.rotary import RotaryEncoder, nt_v2_network
from cisoform.tokens.kmer import kmer_ids
from cisoform.tokens.rna import region_ids
from tests.cli.mini import mini_dataset

KMERS = LoaderConfig(rna_tokens="kmers", modalities=("rna",))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IsoformDataset:
    return mini_dataset(tmp_path_factory.mktemp("mini"))


def coding(dataset: IsoformDataset) -> np.ndarray:
    return np.flatnonzero(dataset.samples.cds_start > 0)


def spelled(dataset: IsoformDataset) -> IsoformDataset:
    """The data set with RNAs that spell their regions: A in the 5'UTR, C in the CDS, G in the 3'UTR."""
    samples = dataset.samples
    rows = []
    for row in range(samples.n):
        start, end = int(samples.cds_start[row]), int(samples.cds_end[row])
        codes = np.full(int(samples.lengths("rna")[row]), 2, dtype=np.uint8)
        if start >= 0:
            codes[:end], codes[:start] = 1, 0
        rows.append(codes)
    rna = Ragged.from_rows(rows, np.uint8)
    return replace(dataset, samples=replace(samples, rna=rna, rna_row=np.arange(samples.n, dtype=np.int32)))


def looking_at(letter: int) -> RotaryEncoder:
    """An encoder whose first head reads 6-mers of one letter, and whose second attends to all alike."""
    torch.manual_seed(0)
    encoder = build_encoder(NtV2Config(network=nt_v2_network(16, 1, 2)))
    assert isinstance(encoder, RotaryEncoder)
    attention = encoder.network.layers[0].attention
    with torch.no_grad():
        (token,) = kmer_ids(np.full(6, letter, dtype=np.uint8), cls=False).tolist()
        encoder.network.embedding.weight.zero_()
        encoder.network.embedding.weight[:, 5] = 1.0
        encoder.network.embedding.weight[token, 0] = 50.0
        for name in ("query", "key"):
            getattr(attention, name).weight.zero_()
            getattr(attention, name).bias.zero_()
        # Of the first head's 8 dimensions the 4th turns slowest with the position.
        attention.query.bias[3] = 4.0
        attention.key.weight[3, 0] = 1.0
    return encoder.eval()


def test_received_by_hand() -> None:
    # Two real positions after a special one; the special row and column do not count.
    weights = np.array([[[[0.2, 0.4, 0.4], [0.5, 0.1, 0.4], [0.0, 0.7, 0.3]]]])
    real = np.array([False, True, True])
    # Inner weights 0.1 0.4 / 0.7 0.3, mean 0.375: above it 0.4 on the second and 0.7 on the first.
    np.testing.assert_allclose(attention_received(weights, real), [[[0.7 / 1.1, 0.4 / 1.1]]])
    even = np.full((1, 1, 3, 3), 1 / 3)
    assert np.isnan(attention_received(even, real)).all()


def test_regions_of_tokens_by_hand() -> None:
    # 4 bases of 5'UTR, 9 of CDS, 3 of 3'UTR, an exon border inside the CDS.
    region = region_of_bases(region_ids(16, 4, 13, np.array([8])))
    assert region.tolist() == [0] * 4 + [1] * 9 + [2] * 3
    token = np.array([1] * 6 + [2] * 6 + [3, 4, 5, 6])
    shares, real = region_shares(region, token, 8)
    assert real.tolist() == [False, *[True] * 6, False]
    np.testing.assert_allclose(shares[1:4], [[4 / 6, 2 / 6, 0], [0, 1, 0], [0, 1, 0]])
    assert region_of_bases(region_ids(5, -1, -1, np.array([2]))).tolist() == [-1] * 5


def test_a_planted_attention_is_found(dataset: IsoformDataset) -> None:
    planted = spelled(dataset)
    before, after = looking_at(0), looking_at(2)
    found = attention_shares(
        before, after, planted.samples, coding(planted), planted.family, KMERS, draws=99, seed=1
    )
    # Whole tokens of a letter lie within its region, so the first head looks nowhere else.
    np.testing.assert_allclose(found.before[:, 0, 0], [[1, 0, 0]] * len(found.families), atol=1e-9)
    np.testing.assert_allclose(found.after[:, 0, 0], [[0, 0, 1]] * len(found.families), atol=1e-9)
    assert np.isnan(found.after[:, 0, 1]).all()
    rows = {(row["head"], row["region"]): row for row in attention_table(found).to_dicts()}
    first = [rows[1, region] for region in REGIONS]
    assert [row["difference"] for row in first] == pytest.approx([-1, 0, 1], abs=1e-9)
    assert first[2]["p"] < 1e-12 and first[2]["fdr"] < 1e-12 and first[2]["p_null_difference"] == 0.01
    assert first[0]["fdr"] < 1e-12
    # Turned round, a region gets about its share of the transcript.
    for row in first:
        assert abs(row["null_after"] - row["share_of_bases"]) < 0.1
        assert 0 < row["share_of_bases"] < 1
    assert rows[2, "CDS"]["n_families"] == 0 and np.isnan(rows[2, "CDS"]["p_null_after"])


def test_equal_encoders_differ_nowhere(dataset: IsoformDataset) -> None:
    torch.manual_seed(3)
    encoder = build_encoder(NtV2Config(network=nt_v2_network(16, 2, 2))).eval()
    found = attention_shares(
        encoder, encoder, dataset.samples, coding(dataset), dataset.family, KMERS, draws=5
    )
    assert same_weights(encoder, encoder)
    np.testing.assert_array_equal(found.before, found.after)
    np.testing.assert_allclose(found.before.sum(axis=-1), 1.0)
    np.testing.assert_allclose(found.null_before.sum(axis=-1), 1.0)
    table = attention_table(found)
    assert (table["difference"] == 0).all() and table["p"].is_nan().all()
    assert (table["p_null_difference"] == 1).all()


def test_families_are_units(dataset: IsoformDataset) -> None:
    """Isoforms of a gene are averaged: showing one of them twice as its own transcript changes no mean."""
    torch.manual_seed(3)
    encoder, other = (build_encoder(NtV2Config(network=nt_v2_network(16, 1, 2))).eval() for _ in range(2))
    rows = coding(dataset)
    one_each = [
        next(row for row in rows if dataset.family[row] == name)
        for name in sorted(set(dataset.family))
        if any(dataset.family[row] == name for row in rows)
    ]
    single = np.array(one_each)
    args = (dataset.samples, single, dataset.family, KMERS)
    once = attention_shares(encoder, other, *args, draws=3)
    twin = dataset.samples.take(np.concatenate([single, single[:4]]))
    family = [dataset.family[row] for row in [*single, *single[:4]]]
    twice = attention_shares(encoder, other, twin, np.arange(twin.n), family, KMERS, draws=3)
    assert once.families == twice.families and twice.n_transcripts == once.n_transcripts + 4
    np.testing.assert_allclose(once.after, twice.after)
    np.testing.assert_allclose(once.bases, twice.bases)


def test_attention_is_that_of_the_encoder(dataset: IsoformDataset) -> None:
    loader = replace(KMERS, rna_tokens="bases")
    batch = IsoformLoader(dataset.samples, coding(dataset)[:3], loader, shuffle=False).batch(0, 0)
    assert batch.rna is not None
    conv = build_encoder(
        ConvConfig(ids=5, channels=16, widths=(8, 8), bins=(4, 2), heads=2, transformer_layers=3)
    )
    weights = encoder_attention(conv.eval(), batch.rna.tokens)
    n = batch.rna.tokens.ids.shape[1]
    assert weights.shape[:3] == (3, 3, 2) and weights.shape[3] == -(-n // 8)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
    found = attention_shares(
        conv, conv, dataset.samples, coding(dataset)[:3], dataset.family, loader, draws=2
    )
    np.testing.assert_allclose(found.after.sum(axis=-1), 1.0)
    tiny = build_encoder(TinyConfig(ids=5, channels=16))
    assert not has_attention(tiny)
    with pytest.raises(ValueError, match="TinyEncoder has no attention"):
        encoder_attention(
            tiny, Tokens(torch.zeros(1, 3, dtype=torch.int8), torch.ones(1, 3, dtype=torch.bool))
        )


def test_turned_regions_keep_their_amounts() -> None:
    shares = np.random.default_rng(0).random((7, 3))
    found = turned(shares, np.array([0, 3, 6]))
    np.testing.assert_array_equal(found[0], shares)
    np.testing.assert_array_equal(found[1, 0], shares[3])
    np.testing.assert_allclose(found.sum(axis=1), np.tile(shares.sum(axis=0), (3, 1)))


def test_paired_t_is_scipys() -> None:
    rng = np.random.default_rng(2)
    before, after = rng.normal(size=30), rng.normal(0.3, 1, size=30)
    row, scipys = paired_t(before, after), ttest_rel(after, before)
    assert row["t"] == pytest.approx(scipys.statistic) and row["p"] == pytest.approx(scipys.pvalue)
    low, high = scipys.confidence_interval()
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))
    with_gap = paired_t(np.append(before, np.nan), np.append(after, 1.0))
    assert with_gap == row
    alone = paired_t(np.array([0.1]), np.array([0.4]))
    assert alone["n_families"] == 1 and np.isnan(alone["p"])


def test_permutation_p_by_hand() -> None:
    draws = np.array([-1.0, 0.0, 1.0])
    # Mean 0: of three draws two are as far as 1, none as far as 2; the observed value counts too.
    assert permutation_p(1.0, draws) == 3 / 4 and permutation_p(-2.0, draws) == 1 / 4
    assert np.isnan(permutation_p(1.0, np.empty(0)))


def test_same_weights_needs_all_of_them() -> None:
    one, two = looking_at(0), looking_at(0)
    assert same_weights(one, two)
    with torch.no_grad():
        two.network.norm.bias[0] += 1e-6
    assert not same_weights(one, two)
