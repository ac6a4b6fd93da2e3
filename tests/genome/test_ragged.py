from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cisoform.genome.ragged import Ragged

rows_of_numbers = st.lists(st.lists(st.integers(0, 255), max_size=7), max_size=11)


@given(rows_of_numbers)
def test_rows_come_back_as_they_went_in(rows: list[list[int]]):
    ragged = Ragged.from_rows([np.array(row, dtype=np.uint8) for row in rows], np.uint8)
    assert [row.tolist() for row in (ragged[i] for i in range(len(ragged)))] == rows
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert ragged.data.dtype == np.uint8


@given(rows_of_numbers.filter(bool), st.data())
def test_taking_rows_repeats_and_reorders_them(rows: list[list[int]], data: st.DataObject):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=13))
    ragged = Ragged.from_rows([np.array(row, dtype=np.uint8) for row in rows], np.uint8)
    taken = ragged.take(np.array(chosen, dtype=np.int64))
    assert [taken[i].tolist() for i in range(len(taken))] == [rows[i] for i in chosen]
