"""The table of edges on the page of a network says what is known of them and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from cisoform.report.grn_page import _edge_table


def edge(**more: Any) -> dict[str, Any]:
    known = {"tf": "TFA", "gene_id": "ID1", "gene_name": "G1", "sign": -1, "score": 2.0, "stability": 1.0}
    return {**known, "peak": "chr1:1-9", "distance_bp": -3947.0, "site_q": 0.001, "knockout": None, **more}


def test_edges_without_knock_outs_have_no_column_of_them() -> None:
    head, (row,), said = _edge_table([edge()])
    assert "knockout" not in head and len(row) == len(head) and None not in row and "knockout" not in said
    assert row[head.index("distance, kb")] == pytest.approx(-3.947)


def test_a_gene_without_a_name_has_its_id_and_a_knock_out_its_column() -> None:
    head, rows, said = _edge_table([edge(gene_name=None), edge(knockout=-0.5)])
    assert [row[1] for row in rows] == ["ID1", "G1"] and "`knockout`" in said
    assert [row[head.index("knockout")] for row in rows] == [None, -0.5]
