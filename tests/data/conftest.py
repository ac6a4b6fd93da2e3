from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.simulate.config import SimulateConfig
from cisoform.data.simulate.simulation import simulate
from cisoform.data.simulate.write import write_simulation

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Input files of a small simulated organism: 37 genes on 3 chromosomes, 3 tissues."""
    config = SimulateConfig(seed=5, n_genes=37, n_tissues=3, n_chromosomes=3, n_variants=0)
    folder = write_simulation(simulate(config), tmp_path_factory.mktemp("toy") / "files")
    return SimpleNamespace(
        folder=folder,
        genome=folder / "genome.fa",
        annotation=folder / "annotation.gtf",
        expression=folder / "expression.tsv",
        gene_expression=folder / "gene_expression.tsv",
        splits=folder / "splits.tsv",
        tissues=list(config.tissues),
    )


@pytest.fixture(scope="session")
def built(toy, tmp_path_factory):
    """The toy files as a data set, with the summary of its building."""
    out = tmp_path_factory.mktemp("dataset") / "toy"
    summary = build_isoform_dataset(
        toy.genome,
        toy.annotation,
        toy.expression,
        gene_expression=toy.gene_expression,
        splits=toy.splits,
        window=501,
        out=out,
    )
    return SimpleNamespace(summary=summary, path=out, dataset=IsoformDataset.open(out))


@pytest.fixture(scope="session")
def dataset(built):
    return built.dataset
