import numpy as np
import pytest

from cisoform.data.from_annotation import read_ids, samples_from_annotation
from cisoform.errors import InputError


def test_all_or_some_transcripts_without_any_table(toy):
    everything = samples_from_annotation(toy.genome, toy.annotation)
    samples = everything.samples
    assert everything.warnings == [] and everything.flags["transcripts"] == samples.n
    wanted = [samples.transcript_ids[7], samples.transcript_ids[3]]
    some = samples_from_annotation(toy.genome, toy.annotation, [*wanted, "unheard.of"])
    assert some.samples.transcript_ids == wanted[::-1]  # in the order of the annotation
    assert some.warnings == ["1 of 3 transcripts asked for are not annotated: unheard.of"]
    for place, row in enumerate((3, 7)):
        assert np.array_equal(some.samples.rna[place], samples.rna[row])
        windows = [
            one.dna.window(one.dna_row[[at]], 200) for one, at in ((some.samples, place), (samples, row))
        ]
        assert np.array_equal(*windows)


def test_none_of_the_transcripts_is_an_error(toy):
    with pytest.raises(InputError, match="no id of .*annotation.gtf .* is in the list \\(NM_1\\)"):
        samples_from_annotation(toy.genome, toy.annotation, ["NM_1"])


def test_ids_are_read_from_the_first_column(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("# comment\nt1\textra\n\nt2\nt1\n")
    assert read_ids(path) == ["t1", "t2"]
    path.write_text("#\n")
    with pytest.raises(InputError, match="ids.txt: no transcript id in it"):
        read_ids(path)
