"""Knock-outs against peaks encoded anew, and the controls, intervals and weights that stand beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import predict
from cisoform.analysis.knockin import OpenProfiles, dosed, insert_peaks
from cisoform.analysis.perturbation import EditedPeaks, SignalEdit, apply_edit, contact, matched_slots
from cisoform.analysis.reader import Reader
from cisoform.data.locus_text import Locus
from cisoform.errors import InputError
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.perturbation import edited_slots, perturb, screen, touched_genes
from cisoform.jobs.perturbation_tables import half_width, p_value
from cisoform.jobs.readings import open_reader
from cisoform.tokens.peaks import dna_tokens, signal_tokens
from tests.data.gene_sets import build_small, save_creformer

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=[False, True], ids=["levels", "coverage"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    root = tmp_path_factory.mktemp("perturbed")
    dataset = build_small(root, fragments=request.param, n_cells=8)
    model = CREformerModel.load(save_creformer(root / "model"))
    every = np.arange(dataset.groups.height), np.arange(dataset.genes.height)
    return open_reader(model, dataset, *every, cache=root / "cache")


def everything(reader: Reader) -> tuple[Grouping, np.ndarray]:
    groups = np.arange(reader.groups.height)
    return Grouping.by_itself(reader.groups, groups), np.arange(reader.genes.height)


def from_scratch(reader: Reader, inputs: Any, edit: SignalEdit) -> np.ndarray:
    """Predictions of edited samples with every peak tokenised and encoded again."""
    mask = inputs.mask
    signal = reader.base_signal(inputs, mask)
    peaks = inputs.peak[mask].numpy()
    chosen = np.flatnonzero(np.isin(peaks, edit.peaks))
    signal[chosen] = edit.apply(signal[chosen], peaks[chosen], np.searchsorted(edit.peaks, peaks[chosen]))
    dna = torch.from_numpy(dna_tokens(reader.windows(inputs, mask)).astype(np.int32))
    tokens = torch.from_numpy(signal_tokens(signal, reader.dataset.edges))
    vectors = reader.model.encode_peaks(dna, {"atac": tokens})
    return predict(reader.model, reader.link, inputs.replaced(mask, vectors)).numpy()


def halves(reader: Reader, peaks: np.ndarray) -> np.ndarray:
    bases = np.zeros((len(peaks), 1029), dtype=bool)
    bases[:, 515:] = True
    return bases


@pytest.mark.parametrize("mode", ["zero", "scale", "raise", "half", "open"])
@torch.no_grad()
def test_an_edit_equals_all_peaks_encoded_anew(reader: Reader, mode: str) -> None:
    peaks = np.arange(0, reader.dataset.n_peaks, 2)
    edit = {
        "zero": SignalEdit(peaks),
        "scale": SignalEdit(peaks, factor=0.1),
        "raise": SignalEdit(peaks, factor=1.0, least=40.0),
        "half": SignalEdit(peaks, bases=halves(reader, peaks)),
        "open": SignalEdit(peaks, opened=OpenProfiles(reader.dataset)),
    }[mode]
    edited = EditedPeaks(reader, edit)
    changed = 0
    for inputs in reader.batches(np.arange(reader.groups.height), np.arange(reader.genes.height)):
        effect = apply_edit(edited, inputs, *edited_slots(inputs, peaks))
        np.testing.assert_allclose(effect.after, from_scratch(reader, inputs, edit), atol=2e-5)
        still = effect.n_changed == 0
        assert (effect.after[still] == effect.before[still]).all()
        changed += int((effect.after != effect.before).sum())
    assert changed > 10


@torch.no_grad()
def test_edits_of_the_whole_window_written_in_three_ways(reader: Reader) -> None:
    peaks = np.arange(reader.dataset.n_peaks)
    whole = np.ones((len(peaks), 1029), dtype=bool)
    inputs = next(reader.batches(np.arange(reader.groups.height), np.arange(3)))
    zero, masked, same = (
        apply_edit(EditedPeaks(reader, edit), inputs, *edited_slots(inputs, peaks))
        for edit in (SignalEdit(peaks), SignalEdit(peaks, bases=whole), SignalEdit(peaks, factor=1.0))
    )
    np.testing.assert_allclose(zero.after, masked.after, atol=1e-5)
    np.testing.assert_allclose(zero.accessibility, masked.accessibility, atol=1e-4)
    assert (same.after == same.before).all() and not same.n_changed.any() and not same.accessibility.any()
    signal = (inputs.accessibility * inputs.mask).numpy() * contact(inputs.distance_bp.numpy())
    np.testing.assert_allclose(zero.accessibility, -signal.sum(axis=1), rtol=1e-4, atol=1e-5)


def test_a_screen_of_one_peak_is_its_knock_out(reader: Reader) -> None:
    grouping, genes = everything(reader)
    for peak in (1, 4):
        edit = SignalEdit(np.array([peak]))
        alone = perturb(reader, grouping, genes, edit, n_controls=3).table
        every = screen(reader, grouping, genes, SignalEdit(np.arange(reader.dataset.n_peaks)))
        row = reader.peaks.row(peak)
        one = every.filter((every["chrom"] == row[0]) & (every["start"] == row[1]))
        joined = alone.join(one, on=["gene_id", "group"])
        assert joined.height == alone.height == one.height > 0
        np.testing.assert_allclose(joined["after"], joined["after_right"], atol=1e-5)


def test_controls_and_means_over_labels(reader: Reader) -> None:
    grouping, genes = everything(reader)
    edit = SignalEdit(np.arange(0, reader.dataset.n_peaks, 3))
    single = perturb(reader, grouping, genes, edit, n_controls=4, seed=1).table
    types = reader.groups["cell_type"].to_list()
    named = Grouping.by_label("cell_type", types, grouping.groups)
    joint = perturb(reader, named, genes, edit, n_controls=4, seed=1)
    of = dict(zip(reader.groups["name"], types, strict=True))
    for row in joint.table.iter_rows(named=True):
        values = single.filter(
            (single["gene_id"] == row["gene_id"])
            & single["group"].is_in([name for name, label in of.items() if label == row["cell_type"]])
        )["difference"].to_numpy()
        assert row["n_groups"] == len(values)
        assert row["difference"] == pytest.approx(values.mean(), abs=1e-6)
        assert row["low"] <= row["difference"] <= row["high"]
    assert single["low"].null_count() == single.height  # one group: no interval
    again = perturb(reader, grouping, genes, edit, n_controls=4, seed=1).table
    assert again.equals(single)
    known = single.drop_nulls("p")
    assert known.height and set(known["p"].round(6)) <= {0.2, 0.4, 0.6, 0.8, 1.0}
    undrawn = perturb(reader, grouping, genes, edit, n_controls=4, n_draws=0, seed=1)
    assert (
        undrawn.table.drop("p").equals(single.drop("p")) and undrawn.table["p"].null_count() == single.height
    )
    assert undrawn.groups["p"].null_count() == undrawn.groups.height
    other = perturb(reader, grouping, genes, edit, n_controls=4, seed=2).table
    assert not other["control_mean"].equals(single["control_mean"])
    assert joint.groups.height == len(named.labels) and joint.groups["genes"].max() <= len(genes)


def test_genes_without_an_edited_peak_are_left_out(reader: Reader) -> None:
    index = reader.dataset.index
    touched = touched_genes(reader, np.arange(reader.genes.height), np.array([2]))
    expected = [
        gene
        for gene in range(reader.genes.height)
        if 0 <= 2 - int(index.first[gene]) < int(index.count[gene])
    ]
    assert touched.tolist() == expected and 0 < len(expected) < reader.genes.height


def test_stand_ins_are_near_free_and_drawn_once() -> None:
    chosen = np.zeros(30, dtype=bool)
    chosen[[3, 20]] = True
    free = np.ones(30, dtype=bool)
    free[29] = False
    signal = distance = np.arange(30.0)
    found = matched_slots(chosen, free, signal, distance, 200, np.random.default_rng(0))
    assert found is not None and found.shape == (200, 2)
    assert set(found[:, 0]) == {1, 2, 4, 5, 0} | ({6} & set(found[:, 0]))
    assert set(found[:, 1]) <= {17, 18, 19, 21, 22, 23}
    assert (found[:, 0] != found[:, 1]).all() and not np.isin(found, [3, 20, 29]).any()
    assert matched_slots(~chosen, free, signal, distance, 5, np.random.default_rng(0)) is None


@pytest.mark.parametrize(("n_peaks", "n_edited"), [(12, 1), (12, 3), (12, 5), (40, 3), (40, 10)])
def test_p_values_of_peaks_chosen_at_random_are_not_too_small(n_peaks: int, n_edited: int) -> None:
    # One or two peaks of a gene do nearly all: against controls without them up to 0.38 of p are at most 0.05.
    rng = np.random.default_rng(3)
    p = np.empty(500)
    for number in range(len(p)):
        effect = -(rng.exponential(size=n_peaks) ** 2)
        chosen = np.isin(np.arange(n_peaks), rng.choice(n_peaks, n_edited, replace=False))
        slots = matched_slots(
            chosen, np.ones(n_peaks, dtype=bool), rng.random(n_peaks), rng.normal(size=n_peaks), 20, rng, True
        )
        assert slots is not None and all(len(set(row)) == n_edited for row in slots.tolist())
        p[number] = p_value(effect[chosen].sum(), effect[slots].sum(axis=1))
    for level in (0.05, 0.1, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level / len(p))


def test_an_edit_is_one_of_the_draws_behind_its_p_value(reader: Reader) -> None:
    # Six like peaks at most can stand for the one that is edited, so its p is at least about one sixth.
    grouping, _ = everything(reader)
    gene = np.array([int(np.argmax(reader.dataset.index.count))])
    by_peak = screen(reader, grouping, gene, SignalEdit(np.arange(reader.dataset.n_peaks)))
    strongest = by_peak.sort(by_peak["difference"].abs(), descending=True)["peak"][0]
    table = perturb(reader, grouping, gene, SignalEdit(np.array([strongest])), n_controls=200).table
    moved = table.drop_nulls("p").filter(table.drop_nulls("p")["difference"].abs() > 1e-4)
    assert moved.height and moved["p"].min() > 0.1


def testp_values_intervals_and_contact_by_hand() -> None:
    assert p_value(-2.0, np.array([1.0, -2.0, 3.0])) == 0.75
    assert p_value(9.0, np.array([1.0, -2.0, 3.0])) == 0.25
    values = np.array([1.0, 2.0, 4.0])
    half = half_width(np.array([3, 1]), np.array([values.mean(), 1.0]), np.array([(values**2).sum(), 1.0]))
    assert half[0] == pytest.approx(4.302653 * values.std(ddof=1) / np.sqrt(3), rel=1e-5)
    assert np.isnan(half[1])
    np.testing.assert_allclose(contact(np.array([0.0, -5000, 50_000])), [1, 1, 10**-0.87])


def test_a_knock_out_of_the_wrong_shape_of_peaks_is_refused(reader: Reader) -> None:
    grouping, _ = everything(reader)
    far = np.flatnonzero(reader.dataset.index.first > 0)[-1:]
    with pytest.raises(InputError, match="none of the chosen genes has one of the chosen peaks"):
        perturb(reader, grouping, far, SignalEdit(np.array([0])))


def test_an_open_profile_is_the_mean_where_the_peak_is_open(reader: Reader) -> None:
    dataset = reader.dataset
    profiles = OpenProfiles(dataset)
    checked = 0
    for peak in range(dataset.n_peaks):
        states = np.array([dataset.group_states(group)[peak] for group in range(dataset.groups.height)])
        states = states[states >= 2 * dataset.n_peaks]
        if len(states):
            signal = dataset.observed.signal(states.astype(np.int64) - 2 * dataset.n_peaks)
            level = signal.mean(axis=1)
            expected = signal[level >= level.mean() - 1e-5].mean(axis=0)
            np.testing.assert_allclose(profiles(np.array([peak]))[0], expected, rtol=1e-5)
            checked += 1
    assert checked > 5


def test_a_closed_peak_opens_and_an_open_one_stays() -> None:
    profile = np.zeros(1029, dtype=np.float32)
    profile[400:600] = 8.0
    edit = SignalEdit(np.array([0]), opened=lambda peaks: np.stack([profile] * len(peaks)))
    low, half = np.zeros(1029, dtype=np.float32), profile * np.float32(0.5)
    low[0] = 3.0
    after = edit.apply(np.stack([low, half]), np.array([0, 0]), np.array([0, 0]))
    assert after[0, 0] == 3.0 and (after[0, 400:600] == 8.0).all()
    np.testing.assert_array_equal(after[1], half)


def test_a_higher_dose_opens_what_a_lower_one_does() -> None:
    sites = [dosed(11, dose, 3) for dose in (0.01, 0.3, 0.5, 1.0)]
    assert [one.sum() for one in sites] == [1, 4, 6, 11]
    assert all((low <= high).all() for low, high in zip(sites, sites[1:], strict=False))


def locus_of(*mids: int, chrom: str = "chr1") -> Locus:
    ids = [f"{chrom}_{mid - 100}_{mid + 100}" for mid in mids]
    codes = np.array([[mid % 4] * 1029 for mid in mids], dtype=np.uint8)
    return Locus(ids, codes, np.array([[float(mid)] * 1029 for mid in mids]))


def test_inserted_peaks_come_in_order_and_the_farthest_go() -> None:
    locus, added = locus_of(1000, 5000, 9000), locus_of(6000, 2000)
    whole, tss = insert_peaks(locus, added, 1, 10)
    assert whole.signal[:, 0].tolist() == [1000, 2000, 5000, 6000, 9000] and tss == 2
    assert whole.dna[:, 0].tolist() == [mid % 4 for mid in (1000, 2000, 5000, 6000, 9000)]
    short, tss = insert_peaks(locus, added, 1, 3)
    assert short.signal[:, 0].tolist() == [2000, 5000, 6000] and tss == 1
    for other, message in (
        (locus_of(5000), "is there already"),
        (locus_of(6000, chrom="chr2"), "is not on chr1"),
        (locus_of(90_000), "at most 3, and every peak to insert lies farther"),
        (Locus(["p1"], added.dna[:1], added.signal[:1]), "'p1' has no coordinates"),
    ):
        with pytest.raises(InputError, match=message):
            insert_peaks(locus, other, 1, 3)
