from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cisoform.data.simulate.regulation.config import tiny
from cisoform.data.simulate.regulation.simulation import simulate_regulation
from cisoform.data.simulate.regulation.write import write_regulation
from tests.data.simulate.naive import read_fasta


@pytest.fixture(scope="session")
def regulated(tmp_path_factory):
    """A tiny simulation, its folder, and what plain readers find in it."""
    sizes = {
        "n_genes": 60,
        "chromosome_bp": 345_000,
        "n_distal": 230,
        "n_cells": 61,
        "bulk_fragments": 20_000,
    }
    config = replace(tiny(), seed=3, **sizes)
    regulation = simulate_regulation(config)
    out = tmp_path_factory.mktemp("regulation") / "out"
    planted = write_regulation(regulation, out)
    return SimpleNamespace(
        config=config,
        regulation=regulation,
        out=out,
        planted=planted,
        truth=json.loads((out / "truth.json").read_text()),
        dna=read_fasta(out / "genome.fa"),
    )
