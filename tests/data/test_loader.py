import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.loader import Augmentation, IsoformLoader, LoaderConfig, fit_normaliser
from cisoform.data.sampling import BatchLimits
from cisoform.data.sequences import samples_from_sequences
from cisoform.data.targets import TargetNormaliser
from cisoform.genome.sequence import reverse_complement
from cisoform.tokens import kmer
from cisoform.tokens.protein import ESM_CLS, ESM_EOS, PROTEIN_PAD
from cisoform.tokens.rna import RNA_PAD

CONFIG = LoaderConfig(dna_window=101, rna_max=300, protein_max=40, limits=BatchLimits(batch_size=7))
EVERYTHING = Augmentation(
    tss_jitter=9,
    reverse_complement=0.5,
    drop_dna=0.3,
    drop_rna=0.3,
    drop_protein=0.3,
    hide_dna=0.1,
    hide_rna=0.1,
    hide_protein=0.1,
    hide_span=3,
)


def equal(left, right):
    """Bit equality of two batches."""
    if left is None or right is None or isinstance(left, torch.Tensor):
        return left is right is None or (left is not None and right is not None and torch.equal(left, right))
    return all(equal(getattr(left, name), getattr(right, name)) for name in vars(left))


def of_sample(batch, place):
    """What a model gets to see of one sample: ids (and channels) without padding, by modality."""
    seen = {}
    for name in ("dna", "rna", "protein"):
        modality = getattr(batch, name)
        if modality is None or not modality.present[place]:
            seen[name] = None
            continue
        row = int(modality.row[place])
        mask = modality.tokens.mask[row]
        channels = modality.tokens.channels
        seen[name] = [
            modality.tokens.ids[row][mask].tolist(),
            None if channels is None else channels[row][mask].tolist(),
        ]
    return seen


def by_transcript(loader, samples, epoch=0):
    return {
        samples.transcript_ids[int(index)]: of_sample(batch, place)
        for batch in loader.epoch(epoch)
        for place, index in enumerate(batch.index)
    }


@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING])
def test_a_batch_is_a_function_of_seed_epoch_and_number(dataset, augmentation):
    config = replace(CONFIG, augmentation=augmentation)
    rows = dataset.rows("train")
    normaliser = fit_normaliser(dataset, rows, config)
    one = IsoformLoader(dataset, rows, config, normaliser, seed=3)
    other = IsoformLoader(dataset, rows, config, normaliser, seed=3)
    whole = list(one.epoch(2))
    list(other.epoch(1))  # what was drawn before does not matter
    rest = list(other.epoch(2, start=4))
    assert len(whole) == one.n_batches(2)
    assert all(equal(left, right) for left, right in zip(whole[4:], rest, strict=True))
    assert not all(equal(left, right) for left, right in zip(whole, one.epoch(3), strict=False))


def test_every_row_comes_once_an_epoch(dataset):
    rows = dataset.rows("train")
    loader = IsoformLoader(dataset, rows, CONFIG, seed=1)
    for epoch in (0, 1):
        seen = torch.cat([batch.index for batch in loader.epoch(epoch)])
        assert sorted(seen.tolist()) == rows.tolist()


def test_batches_hold_the_sequences_of_the_samples(dataset):
    samples = dataset.samples
    seen = by_transcript(IsoformLoader(dataset, None, CONFIG, shuffle=False), samples)
    for row, name in enumerate(samples.transcript_ids):
        rna = samples.rna[row]
        assert seen[name]["rna"] == [rna[-300:].tolist(), samples.regions(row)[-300:].tolist()]
        window = samples.dna.window(samples.dna_row[row : row + 1], 101)[0]
        assert seen[name]["dna"] == [window.tolist(), None]
        protein = int(samples.protein_row[row])
        expected = None if protein < 0 else [samples.protein[protein][:40].tolist(), None]
        assert seen[name]["protein"] == expected


def test_distinct_sequences_stand_in_a_batch_once(dataset):
    loader = IsoformLoader(dataset, None, replace(CONFIG, limits=BatchLimits(batch_size=50)), shuffle=False)
    for batch in loader.epoch():
        starts = dataset.samples.dna_row[batch.index.numpy()]
        assert len(batch.dna.tokens.ids) == len(set(starts.tolist()))
        proteins = dataset.samples.protein_row[batch.index.numpy()]
        assert len(batch.protein.tokens.ids) == len(set(proteins[proteins >= 0].tolist()))
        assert len(batch.rna.tokens.ids) == len(batch)


def test_tokens_are_small_and_padding_is_masked(dataset):
    for batch in IsoformLoader(dataset, None, CONFIG).epoch():
        for modality, pad in ((batch.dna, None), (batch.rna, RNA_PAD), (batch.protein, PROTEIN_PAD)):
            if modality is None:
                continue
            assert modality.tokens.ids.dtype == torch.int8
            if pad is not None:
                assert torch.equal(modality.tokens.ids == pad, ~modality.tokens.mask)
        assert torch.equal(batch.rna.tokens.channels == 0, ~batch.rna.tokens.mask)


def test_what_a_sample_shows_does_not_depend_on_its_batch(dataset):
    small, large = (replace(CONFIG, limits=BatchLimits(batch_size=size, pool_batches=2)) for size in (3, 40))
    seen = [
        by_transcript(IsoformLoader(dataset, None, config, seed=seed), dataset.samples)
        for config, seed in ((small, 1), (large, 2))
    ]
    assert seen[0] == seen[1]


def test_targets_are_those_of_the_normaliser(dataset):
    rows = dataset.rows("train")
    normaliser = fit_normaliser(dataset, rows, CONFIG)
    for batch in IsoformLoader(dataset, dataset.rows("valid"), CONFIG, normaliser).epoch():
        expected = normaliser.transform(dataset.expression[batch.index.numpy()])
        assert np.array_equal(batch.targets.numpy(), expected)
        assert batch.weights is None


def test_only_labels_of_the_given_rows_are_read(dataset):
    rows = dataset.rows("train")
    poisoned = np.array(dataset.expression)
    poisoned[np.setdiff1d(dataset.rows("all"), rows)] = np.nan
    other = replace(dataset, expression=poisoned)
    pairs = []
    for data in (dataset, other):
        normaliser = fit_normaliser(data, rows, CONFIG)
        pairs.append((normaliser, list(IsoformLoader(data, rows, CONFIG, normaliser, seed=4).epoch(1))))
    assert np.array_equal(pairs[0][0].mean, pairs[1][0].mean)
    assert np.array_equal(pairs[0][0].std, pairs[1][0].std)
    assert all(equal(left, right) for left, right in zip(pairs[0][1], pairs[1][1], strict=True))
    assert all(torch.isfinite(batch.targets).all() for batch in pairs[1][1])


def test_gene_level_columns_can_weigh_less_or_be_left_out(dataset):
    rows = dataset.rows("train")
    config = replace(CONFIG, gene_column_weight=0.25)
    normaliser = fit_normaliser(dataset, rows, config)
    batch = next(IsoformLoader(dataset, rows, config, normaliser).epoch())
    assert batch.weights[-1].tolist() == [1, 1, 1, 0.25, 0.25, 0.25]
    alone = fit_normaliser(dataset, rows, replace(CONFIG, use_gene_columns=False))
    assert alone.columns == tuple(column.name for column in dataset.columns[:3])


def test_a_column_the_data_set_lacks_is_missing(dataset):
    name = dataset.columns[1].name
    normaliser = TargetNormaliser(("elsewhere", name), np.zeros(2), np.ones(2))
    batch = next(IsoformLoader(dataset, None, CONFIG, normaliser).epoch())
    assert torch.isnan(batch.targets[:, 0]).all() and torch.isfinite(batch.targets[:, 1]).all()


def test_jitter_moves_windows_and_nothing_else(dataset):
    samples = dataset.samples
    plain = by_transcript(IsoformLoader(dataset, None, CONFIG, shuffle=False), samples)
    jittered = IsoformLoader(dataset, None, CONFIG.for_evaluation(tss_jitter=5), shuffle=False)
    wide = IsoformLoader(dataset, None, replace(CONFIG, dna_window=111), shuffle=False)
    around = by_transcript(wide, samples)
    shifts = set()
    for name, seen in by_transcript(jittered, samples).items():
        assert seen["rna"] == plain[name]["rna"] and seen["protein"] == plain[name]["protein"]
        whole = around[name]["dna"][0]
        fits = [shift for shift in range(11) if whole[shift : shift + 101] == seen["dna"][0]]
        assert fits
        shifts.update(fits)
    assert len(shifts) > 5


def test_the_other_strand_is_the_reverse_complement(dataset):
    config = replace(CONFIG, augmentation=Augmentation(reverse_complement=1.0))
    seen = by_transcript(IsoformLoader(dataset, None, config), dataset.samples)
    plain = by_transcript(IsoformLoader(dataset, None, CONFIG), dataset.samples)
    for name, one in seen.items():
        codes = np.array(plain[name]["dna"][0], dtype=np.uint8)
        assert one["dna"][0] == reverse_complement(codes).tolist()


def test_dropped_modalities_leave_at_least_one(dataset):
    always = replace(CONFIG, augmentation=Augmentation(drop_dna=1.0, drop_rna=1.0, drop_protein=1.0))
    plain = by_transcript(IsoformLoader(dataset, None, CONFIG), dataset.samples)
    assert by_transcript(IsoformLoader(dataset, None, always), dataset.samples) == plain
    often = replace(CONFIG, augmentation=Augmentation(drop_dna=0.4, drop_rna=0.2))
    counts = np.zeros(3)
    seen = [by_transcript(IsoformLoader(dataset, None, often), dataset.samples, epoch) for epoch in range(20)]
    for epoch in seen:
        for name, one in epoch.items():
            assert any(one.values())
            for modality, value in one.items():
                assert value is None or value == plain[name][modality]
            counts += [one["dna"] is None, one["rna"] is None, bool(one["protein"])]
    n = 20 * dataset.samples.n
    assert abs(counts[0] / n - 0.4) < 0.06 and abs(counts[1] / n - 0.2) < 0.06
    assert counts[2] == 20 * (dataset.samples.protein_row >= 0).sum()


def test_a_modality_that_no_sample_shows_is_none(dataset):
    config = replace(CONFIG, modalities=("rna",))
    batch = next(IsoformLoader(dataset, None, config).epoch())
    assert batch.dna is None and batch.protein is None and batch.rna.present.all()


def test_hidden_tokens_are_few_and_the_rest_is_untouched(dataset):
    hidden = replace(
        CONFIG, augmentation=Augmentation(hide_dna=0.2, hide_rna=0.2, hide_protein=0.2, hide_span=4)
    )
    plain = by_transcript(IsoformLoader(dataset, None, CONFIG), dataset.samples)
    changed = {"dna": [], "rna": [], "protein": []}
    for name, one in by_transcript(IsoformLoader(dataset, None, hidden), dataset.samples).items():
        for modality, value in one.items():
            if value is None:
                continue
            before, after = np.array(plain[name][modality][0]), np.array(value[0])
            differs = before != after
            assert set(after[differs].tolist()) <= {20 if modality == "protein" else 4}
            assert value[1] == plain[name][modality][1]
            changed[modality] += differs.tolist()
    for modality, values in changed.items():
        assert abs(np.mean(values) - 0.2) < 0.03, modality


def test_pre_trained_vocabularies_are_tokens_too(dataset):
    config = replace(CONFIG, dna_tokens="kmers", rna_tokens="kmers", protein_tokens="esm")
    seen = by_transcript(IsoformLoader(dataset, None, config, shuffle=False), dataset.samples)
    samples = dataset.samples
    for row, name in enumerate(samples.transcript_ids):
        assert seen[name]["rna"] == [kmer.kmer_ids(samples.rna[row][-300:]).tolist(), None]
        if seen[name]["protein"] is not None:
            ids = seen[name]["protein"][0]
            assert ids[0] == ESM_CLS and ids[-1] == ESM_EOS and len(ids) <= 42
    hidden = replace(config, augmentation=Augmentation(hide_dna=1.0, hide_rna=1.0, hide_protein=1.0))
    batch = next(IsoformLoader(dataset, None, hidden).epoch())
    assert (batch.dna.tokens.ids[:, 1:][batch.dna.tokens.mask[:, 1:]] == kmer.MASK).all()
    assert (batch.dna.tokens.ids[:, 0] == kmer.CLS).all()
    assert (batch.protein.tokens.ids[batch.protein.tokens.mask] == 32).sum() > 0


def test_crops_are_counted(dataset):
    cropped = IsoformLoader(dataset, None, CONFIG).cropped
    assert cropped["rna"] == int((dataset.samples.lengths("rna") > 300).sum()) > 0
    assert cropped["protein"] == int((dataset.samples.lengths("protein") > 40).sum()) > 0


def test_given_sequences_need_no_data_set():
    records = [{"rna_sequence": "ACGTA"}, {"protein_sequence": "MA"}, {"dna_sequence": "ACGT"}]
    samples = samples_from_sequences(records)
    (batch,) = IsoformLoader(samples, None, CONFIG, shuffle=False).epoch()
    present = {name: getattr(batch, name).present.tolist() for name in ("dna", "rna", "protein")}
    order = batch.index.tolist()
    assert [
        present["rna"][order.index(0)],
        present["protein"][order.index(1)],
        present["dna"][order.index(2)],
    ] == [*(True, True, True)]
    assert sum(map(sum, present.values())) == 3
    assert batch.targets is None


def test_a_config_is_plain_json():
    config = replace(CONFIG, augmentation=EVERYTHING, dna_tokens="kmers")
    adapter = TypeAdapter(LoaderConfig)
    assert adapter.validate_json(adapter.dump_json(config)) == config


@pytest.mark.pack
def test_an_epoch_of_yeast_costs_less_than_three_seconds(yeast_pack, tmp_path):
    build_isoform_dataset(
        yeast_pack / "genome.fa.gz",
        yeast_pack / "isoforms.gtf.gz",
        yeast_pack / "expression_isoform.tsv.gz",
        splits=yeast_pack / "splits.tsv.gz",
        out=tmp_path / "yeast",
    )
    yeast = IsoformDataset.open(tmp_path / "yeast")
    config = LoaderConfig(augmentation=replace(EVERYTHING, hide_span=1))
    loader = IsoformLoader(yeast, None, config, fit_normaliser(yeast, yeast.rows("train"), config))
    begin = time.process_time()
    assert sum(len(batch) for batch in loader.epoch()) == 7116
    assert time.process_time() - begin < 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ("rna", "lipid")}, "lipid"),
        ({"modalities": ()}, "modalities"),
        ({"dna_window": 0}, "dna_window=0"),
        ({"dna_upstream": 102}, "dna_upstream=102"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)
    with pytest.raises(ValueError, match="drop_dna=1.5"):
        Augmentation(drop_dna=1.5)
