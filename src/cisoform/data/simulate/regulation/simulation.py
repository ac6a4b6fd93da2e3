"""A whole regulatory simulation in memory, from one config.

How hard it is, measured on preset small (seeds 0 to 2; Pearson per gene across groups, chromosomes left out): ridge on
accessibility with distance decay 0.15 to 0.20; ridge on motif scan x accessibility x decay 0.70 to 0.78; with the true
sign of each peak 0.78 to 0.82; noise-free 0.88 to 0.92; the ceiling set by counting noise is 0.95 to 0.97. The sign of
an element is told by plain 6-mer counts of 400 bp (ridge, chromosomes left out: AUROC 0.99), and from DNA and
accessibility so are the marks H3K27ac (raising) and H3K27me3 (lowering), which is what pre-training can learn from.
"""

from __future__ import annotations

from dataclasses import dataclass

from cisoform.data.simulate.regulation.activity import Activity, make_activity
from cisoform.data.simulate.regulation.cells import Cells, simulate_cells
from cisoform.data.simulate.regulation.config import RegulationConfig
from cisoform.data.simulate.regulation.genome import RegulatoryGenome, simulate_genome
from cisoform.data.simulate.regulation.motifs import Roster, Sites, make_roster
from cisoform.data.simulate.regulation.rules import Book, Readout, make_book, read_out, read_sites


@dataclass(frozen=True)
class Regulation:
    """Everything that the files are written from."""

    config: RegulationConfig
    roster: Roster
    activity: Activity
    genome: RegulatoryGenome
    sites: Sites
    book: Book
    readout: Readout
    cells: Cells

    @property
    def group_names(self) -> list[str]:
        """Names of the groups, in column order."""
        return [group.name for group in self.activity.groups]

    @property
    def chromosome_split(self) -> dict[str, str]:
        """Chromosome -> part: the last is the test part, the one before it validation, the others train."""
        names = self.genome.names
        n_test = max(1, round(len(names) / 4)) if len(names) > 2 else len(names) - 1
        n_valid = 1 if len(names) > 2 else 0
        parts = ["train"] * (len(names) - n_test - n_valid) + ["valid"] * n_valid + ["test"] * n_test
        return dict(zip(names, parts, strict=True))


def simulate_regulation(config: RegulationConfig) -> Regulation:
    """Run a simulation; the same config gives the same result."""
    roster = make_roster(config)
    activity = make_activity(config, roster)
    genome = simulate_genome(config, roster, activity)
    sites = read_sites(genome, roster)
    book = make_book(config, roster, activity, genome, sites)
    readout = read_out(book)
    cells = simulate_cells(config, activity, genome, readout)
    return Regulation(config, roster, activity, genome, sites, book, readout, cells)
