import json
import shutil

import numpy as np
import pytest

from cisoform.data.isoform_dataset import FORMAT_VERSION, IsoformDataset
from cisoform.errors import InputError


@pytest.fixture
def copy(built, tmp_path):
    return shutil.copytree(built.path, tmp_path / "copy")


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_rows_of_the_parts_make_up_the_whole(dataset):
    parts = [dataset.rows(name) for name in ("train", "valid", "test")]
    assert sorted(np.concatenate(parts).tolist()) == dataset.rows("all").tolist()
    with pytest.raises(InputError, match="split 'dev' is none of train, valid, test, all"):
        dataset.rows("dev")


def test_large_arrays_are_mapped_and_read_only(dataset):
    for array in (dataset.samples.rna.data, dataset.samples.dna.codes):
        assert not array.flags.writeable and not isinstance(array, np.memmap)


def test_taking_rows_takes_everything_along(dataset):
    rows = np.array([7, 2, 11])
    picked = dataset.samples.take(rows)
    assert picked.transcript_ids == [dataset.samples.transcript_ids[row] for row in rows]
    assert picked.table["transcript_id"].to_list() == picked.transcript_ids
    for place, row in enumerate(rows.tolist()):
        assert np.array_equal(picked.regions(place), dataset.samples.regions(row))
    assert dataset.samples.take(np.array([], dtype=int)).n == 0


def test_modalities_can_be_taken_away(dataset):
    alone = dataset.samples.without(["dna", "protein"])
    assert alone.dna is None and alone.protein is None and alone.rna is dataset.samples.rna
    assert not alone.has("dna").any() and alone.has("rna").all()
    assert not alone.lengths("protein").any()
    with pytest.raises(ValueError, match="'rnaa'"):
        dataset.samples.without(["rnaa"])


@pytest.mark.parametrize("name", ["rna.npy", "transcripts.parquet", "expression.npy", "genome.npy"])
def test_a_flipped_byte_is_noticed(copy, name):
    raw = bytearray((copy / name).read_bytes())
    raw[-1] ^= 1
    (copy / name).write_bytes(raw)
    with pytest.raises(InputError, match=f"{name}: changed since it was written"):
        IsoformDataset.open(copy)


def test_a_missing_or_short_file_is_noticed(copy):
    raw = (copy / "rna.npy").read_bytes()
    (copy / "rna.npy").write_bytes(raw[:-5])
    with pytest.raises(InputError, match=f"rna.npy: {len(raw) - 5} bytes where the manifest says {len(raw)}"):
        IsoformDataset.open(copy)
    (copy / "rna.npy").unlink()
    with pytest.raises(InputError, match="rna.npy: missing from the data set"):
        IsoformDataset.open(copy)


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing: no such data set"):
        IsoformDataset.open(tmp_path / "nothing")
    with pytest.raises(InputError, match="is not a data set \\(no manifest.json\\)"):
        IsoformDataset.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(InputError, match="has format 'other'"):
        IsoformDataset.open(tmp_path)


def test_another_version_or_an_edited_manifest_is_refused(copy):
    edit_manifest(copy, format_version=FORMAT_VERSION + 1)
    with pytest.raises(InputError, match=f"format {FORMAT_VERSION + 1} was written by another version"):
        IsoformDataset.open(copy)
    edit_manifest(copy, format_version=FORMAT_VERSION, window=7)
    with pytest.raises(InputError, match="does not fit its own hash"):
        IsoformDataset.open(copy)
