import numpy as np
import pytest

from cisoform.tokens.padding import pad_rows


def test_rows_stand_left_and_the_mask_tells_them_apart():
    ids, mask = pad_rows([np.array([1, 2, 3]), np.array([], dtype=int), np.array([5])], pad=9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 9], [5, 9, 9]]
    assert mask.tolist() == [[True] * 3, [False] * 3, [True, False, False]]
    assert ids.dtype == np.int8


def test_only_empty_rows_still_have_a_column():
    ids, mask = pad_rows([np.array([], dtype=int)], pad=1)
    assert ids.shape == mask.shape == (1, 1) and not mask.any()


def test_a_width_may_be_asked_for_but_not_too_small():
    assert pad_rows([np.array([1])], 0, width=4)[0].shape == (1, 4)
    with pytest.raises(ValueError, match="row of 3 tokens does not fit into width=2"):
        pad_rows([np.array([1, 2, 3])], 0, width=2)
