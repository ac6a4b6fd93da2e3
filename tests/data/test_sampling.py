import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cisoform.data.sampling import BatchLimits, SampleLengths, plan_batches


def random_lengths(rng, n, n_starts, window=50):
    start = rng.integers(-1, n_starts, size=n)
    return SampleLengths(
        dna=np.where(start >= 0, window, 0),
        rna=rng.integers(0, 90, size=n),
        protein=rng.integers(0, 30, size=n),
        start=start,
    )


def tokens(lengths, batch):
    starts = lengths.start[batch]
    dna = len(set(starts[starts >= 0].tolist())) * lengths.dna.max(initial=0)
    return dna + len(batch) * (lengths.rna[batch].max() + lengths.protein[batch].max())


@settings(max_examples=40)
@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 20), st.integers(0, 3), st.booleans())
def test_every_sample_is_in_one_batch_within_the_limits(n, n_starts, batch_size, seed, shuffle):
    lengths = random_lengths(np.random.default_rng(seed), n, n_starts)
    limits = BatchLimits(batch_size=batch_size, token_budget=700, pool_batches=3)
    batches = plan_batches(lengths, limits, seed, epoch=1, shuffle=shuffle)
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))
    for batch in batches:
        assert len(batch) <= batch_size
        assert tokens(lengths, batch) <= 700 or len(batch) == 1


@settings(max_examples=40)
@given(st.integers(2, 200), st.integers(1, 60), st.integers(0, 3))
def test_transcripts_of_a_start_stay_together_where_they_fit(n, n_starts, seed):
    lengths = random_lengths(np.random.default_rng(seed), n, n_starts)
    batch_size = int(np.bincount(lengths.start + 1)[1:].max(initial=1)) + 2
    batches = plan_batches(lengths, BatchLimits(batch_size=batch_size), seed)
    batch_of = np.empty(n, dtype=int)
    for number, batch in enumerate(batches):
        batch_of[batch] = number
    for start in set(lengths.start[lengths.start >= 0].tolist()):
        assert len(set(batch_of[lengths.start == start].tolist())) == 1


def test_a_start_with_more_transcripts_than_a_batch_holds_is_cut():
    lengths = SampleLengths(*(np.full(7, value) for value in (10, 5, 2, 0)))
    assert [len(batch) for batch in plan_batches(lengths, BatchLimits(batch_size=3), shuffle=False)] == [
        3,
        3,
        1,
    ]


def test_a_budget_counts_shared_dna_once():
    # Four transcripts of one start: 100 DNA + 4 * (10 + 5) = 160 tokens.
    together = SampleLengths(np.full(4, 100), np.full(4, 10), np.full(4, 5), np.zeros(4, int))
    apart = SampleLengths(np.full(4, 100), np.full(4, 10), np.full(4, 5), np.arange(4))
    limits = BatchLimits(token_budget=160)
    assert len(plan_batches(together, limits)) == 1
    assert len(plan_batches(apart, limits)) == 4


def test_order_is_a_function_of_seed_and_epoch():
    lengths = random_lengths(np.random.default_rng(0), 300, 100)
    limits = BatchLimits(batch_size=8)

    def plan(**how):
        return [batch.tolist() for batch in plan_batches(lengths, limits, **how)]

    assert plan(seed=1, epoch=2) == plan(seed=1, epoch=2)
    assert plan(seed=1, epoch=2) != plan(seed=1, epoch=3)
    assert plan(seed=1, epoch=2) != plan(seed=2, epoch=2)
    assert plan(shuffle=False, epoch=1) == plan(shuffle=False, epoch=2, seed=3)


def test_pools_trade_padding_for_randomness():
    rng = np.random.default_rng(0)
    n = 2000
    rna = np.exp(rng.normal(7, 1, size=n)).astype(int)
    lengths = SampleLengths(np.zeros(n, int), rna, np.zeros(n, int), np.full(n, -1))

    def waste(pool):
        batches = plan_batches(lengths, BatchLimits(batch_size=16, pool_batches=pool))
        return sum(len(batch) * rna[batch].max() for batch in batches) / rna.sum() - 1

    assert waste(1) > 1.0
    assert waste(16) < 0.5
    assert waste(10**6) < 0.1


def test_no_samples_make_no_batches():
    empty = np.empty(0, dtype=int)
    assert plan_batches(SampleLengths(empty, empty, empty, empty), BatchLimits()) == []


@pytest.mark.parametrize("name", ["batch_size", "pool_batches", "token_budget"])
def test_limits_are_positive(name):
    with pytest.raises(ValueError, match=f"{name}=0 is below 1"):
        BatchLimits(**{name: 0})
