"""An epoch of stage 2 with features kept on disk, against encoding the peaks of every sample anew.

Simulates a sparse multiome, builds it twice (a count per peak; cuts per base from the fragments), and measures with
one model of size XS: filling an empty cache, opening a full one, steps with features, steps that encode each peak of
each sample, and that both give the same loss. Epochs are extrapolated from the steps measured. Also the two forms of
features: bins, which the pool learns from, and pooled vectors.

    python benchmarks/stage2_epoch.py [--cells 400] [--fragments 22] [--samples 4] [--batches 6] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cisoform.batches import GeneBatch
from cisoform.data.gene_build import build_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
from cisoform.data.gene_loader import GeneLoaderConfig, GeneSource
from cisoform.data.genes import GenesDataset
from cisoform.data.simulate.regulation.config import preset
from cisoform.data.simulate.regulation.simulation import simulate_regulation
from cisoform.data.simulate.regulation.write import write_regulation
from cisoform.features.states import FeatureConfig, build_table, encode_states
from cisoform.models.creformer import CREformer, CREformerConfig, ElementaryConfig
from cisoform.models.creformer.frozen import freeze
from cisoform.training.regulatory import RegulatoryLossConfig, RegulatoryTask

BATCH = 64


class EncodedNow:
    """Features of exactly the states asked for, encoded when they are: every slot of every sample."""

    def __init__(self, model: CREformer, dataset: GenesDataset, config: FeatureConfig) -> None:
        self.model, self.dataset, self.config = model, dataset, config

    def gather(self, states: torch.Tensor) -> torch.Tensor:
        return encode_states(self.model, self.dataset, states.numpy(), self.config)


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    found = function()
    return time.perf_counter() - begin, found


def one_by_one(task: RegulatoryTask, source: GeneSource, batch: GeneBatch) -> tuple[float, float]:
    """Time and summed loss of the samples of a batch, each alone: nothing is shared between them."""
    spent, total = 0.0, 0.0
    for row in range(len(batch)):
        group, gene = batch.group[row : row + 1].numpy(), batch.gene[row : row + 1].numpy()
        assert batch.targets is not None
        alone = source.assemble(group, gene, batch.targets[row : row + 1].numpy())

        def step(alone: GeneBatch = alone) -> float:
            loss = task.loss(alone)
            loss.total.backward()
            return float(loss.total.detach())

        took, value = seconds(step)
        spent, total = spent + took, total + value
    return spent, total


def measure(dataset: GenesDataset, options: argparse.Namespace, cache: Path) -> None:
    torch.manual_seed(0)
    elementary = ElementaryConfig(dim=128, heads=4, ffn=512, bin_layers=3, window_layers=2)
    model = CREformer(CREformerConfig(elementary=elementary, layers=3))
    freeze(model.elementary)
    genes, groups = dataset.gene_rows("train"), dataset.group_rows("train")
    source = GeneSource(dataset, genes, groups, GeneLoaderConfig(batch_size=BATCH, drop_atac=0.0))
    states = dataset.states_in_use(groups, genes)
    loss = RegulatoryLossConfig(correlation=0.0)
    share = dataset.n_open / (dataset.n_peaks * dataset.groups.height)
    slots = float(np.mean(dataset.index.count[genes]))
    per_epoch = source.n_samples
    print(
        f"{dataset.manifest['signal']}: {dataset.groups.height:,} cells, {share:.1%} of peak states open, "
        f"{per_epoch:,} samples an epoch of {slots:.0f} peaks, {len(states):,} states "
        f"({per_epoch * slots / len(states):.0f} uses of each)"
    )
    steps = {}
    for form in ("bins", "pooled")[: 2 if len(states) < 3000 else 1]:
        config = FeatureConfig(form=form)  # type: ignore[arg-type]
        cold, table = seconds(lambda config=config: build_table(model, dataset, states, config, cache))
        opened, table = seconds(lambda config=config: build_table(model, dataset, states, config, cache))
        task = RegulatoryTask(model, table, loss)
        times = []
        for number in range(options.batches):
            batch = source.batch(0, number)
            took, result = seconds(lambda batch=batch, task=task: task.loss(batch).total.backward())
            times.append(took / len(batch))
        steps[form] = statistics.median(times)
        print(
            f"  {form:7s} fill {cold:7.1f} s, open {opened:5.2f} s, {table.n_bytes / 1e6:.1f} MB, "
            f"step {1e3 * steps[form]:.2f} ms a sample"
        )
        if form == "bins":
            filling, opening, kept = cold, opened, table
    anew = RegulatoryTask(model, EncodedNow(model, dataset, FeatureConfig()), loss)
    first = source.batch(0, 0)
    few = source.assemble(
        first.group[: options.samples].numpy(),
        first.gene[: options.samples].numpy(),
        first.targets[: options.samples].numpy(),  # type: ignore[index]
    )
    spent, loss_anew = one_by_one(anew, source, few)
    _, loss_kept = one_by_one(RegulatoryTask(model, kept, loss), source, few)
    each = spent / options.samples
    warm = opening + steps["bins"] * per_epoch
    print(f"  encoding each sample: {each:.2f} s a sample, epoch {each * per_epoch / 3600:.1f} h")
    print(f"  warm epoch {warm:.0f} s: x{each * per_epoch / warm:.0f}")
    cold_epoch = filling + steps["bins"] * per_epoch
    print(f"  cold epoch {cold_epoch:.0f} s: x{each * per_epoch / cold_epoch:.0f}")
    print(
        f"  loss of the same samples: {loss_anew:.6f} and {loss_kept:.6f} (difference {abs(loss_anew - loss_kept):.1e})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--cells", type=int, default=400)
    parser.add_argument("--fragments", type=float, default=22.0, help="median a cell; 22 opens about 5 %%")
    parser.add_argument("--samples", type=int, default=4, help="samples encoded one by one")
    parser.add_argument("--batches", type=int, default=6, help="batches of 64 with features")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--signal", choices=("levels", "coverage", "both"), default="both")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = replace(preset(options.preset), n_cells=options.cells, fragments_per_cell=options.fragments)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        files = root / "simulated"
        write_regulation(simulate_regulation(config), files)
        inputs = GeneInputs(
            genome=files / "genome.fa",
            annotation=files / "annotation.gtf",
            multiome=files / "filtered_feature_bc_matrix.h5",
            cells=files / "cells.tsv",
        )
        build = GeneBuildConfig(min_tss_enrichment=0.0, test_chromosomes=(), valid_chromosomes=())
        print(f"{options.threads} threads, torch {torch.__version__}, size XS (d 128)")
        if options.signal != "coverage":
            build_genes(inputs, root / "levels", build)
            measure(GenesDataset.open(root / "levels"), options, root / "cache")
        if options.signal != "levels":
            build_genes(replace(inputs, fragments=files / "atac_fragments.tsv.gz"), root / "coverage", build)
            measure(GenesDataset.open(root / "coverage"), options, root / "cache")


if __name__ == "__main__":
    main()
