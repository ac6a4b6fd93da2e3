from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from cisoform.data.simulate.config import SimulateConfig
from cisoform.data.simulate.simulation import simulate
from cisoform.data.simulate.write import write_simulation
from tests.data.simulate.naive import read_fasta, read_gtf


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """A small simulation, its folder, and the folder as read by naive routines."""
    config = SimulateConfig(seed=3, n_genes=61, n_tissues=3, n_chromosomes=2, n_variants=96)
    simulation = simulate(config)
    folder = write_simulation(simulation, tmp_path_factory.mktemp("simulate") / "out")
    return SimpleNamespace(
        config=config,
        simulation=simulation,
        folder=folder,
        genome=read_fasta(folder / "genome.fa"),
        transcripts=read_gtf(folder / "annotation.gtf"),
        truth=json.loads((folder / "truth.json").read_text()),
    )
