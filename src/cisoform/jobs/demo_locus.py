"""One gene from the authors' text form in the demo: the GATA1 example where it is found, else a gene of the simulation.

The model of the demo has seen nothing but simulated DNA, so what it makes of GATA1 shows the format alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.perturbation import SignalEdit
from cisoform.analysis.reader import Reader
from cisoform.data.locus_text import read_locus_text
from cisoform.genome.files import atomic_write
from cisoform.genome.sequence import decode_dna
from cisoform.jobs import perturbation
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.planted import Planted
from cisoform.jobs.readings import open_locus
from cisoform.jobs.score import ScoreConfig, score_peaks
from cisoform.report.score_plots import LocusScores, locus_figure
from cisoform.report.truth_section import Drawn, Listing, TruthSection

VARIABLE, FILE = "CISOFORM_GOLDEN", "gata1_wild_type.txt.gz"
GATA1_TSS_PEAK, GATA1_STRAND = 20, "+"
"""As the authors run their example."""
GATA1_ENHANCER = "chrX_48761672_48762478"
"""The peak that the authors take away in theirs."""
SHOWN = 6
_STAMP = (
    "A demonstration of the format, not biology: this model was trained for minutes on a simulated "
    "genome and has never seen human DNA. Only with the released or your own human weights do these "
    "numbers mean anything."
)
_ABSENT = (
    "The authors' GATA1 example was not found, so a gene of the simulation was written in the same "
    "form. To see GATA1: take `data/info_ko_org.txt` from the authors' repository "
    f"(github.com/alibaba/damo-creformer), compress it as `{FILE}` into a folder, and name that "
    f"folder in ${VARIABLE}."
)


def find_gata1() -> Path | None:
    """The authors' example in the folder of golden vectors; None where it is not there."""
    folder = os.environ.get(VARIABLE, "")
    path = Path(folder).expanduser() / FILE
    return path if folder and path.is_file() else None


def locus(planted: Planted, folder: Path) -> list[TruthSection]:
    """GATA1, or a gene of the simulation that is written to `folder`/locus.txt first."""
    path = find_gata1()
    if path is not None:
        section = read_locus(planted.model, path, GATA1_TSS_PEAK, GATA1_STRAND, "GATA1", planted.seed)
        return [section]
    reader, gene = planted.reader("test"), int(planted.genes("test")[0])
    path = folder / "locus.txt"
    write_locus(reader, gene, 0, path)
    about = reader.genes.row(gene, named=True)
    tss_peak = int(reader.dataset.index.tss_peak[gene])
    name = str(about["gene_name"] or about["gene_id"])
    return [read_locus(planted.model, path, tss_peak, str(about["strand"]), name, planted.seed)]


def read_locus(
    model: CREformerModel, path: Path, tss_peak: int, strand: str, name: str, seed: int
) -> TruthSection:
    """Expression, scores and knock-outs of the peaks of one text file.

    Raises:
        InputError: The file is damaged or does not fit the model.
    """
    reader = open_locus(model, read_locus_text(path), tss_peak, strand, name=name)
    one = np.zeros(1, dtype=np.int64)
    grouping = Grouping.by_itself(reader.groups, one)
    table = score_peaks(
        reader, grouping, one, ScoreConfig(variants=("ablation", "exact"), samples=0, seed=seed)
    )
    every = np.arange(len(reader.locus.ids))
    knocked = perturbation.screen(reader, grouping, one, SignalEdit(every)).sort("peak")
    real = name == "GATA1"
    shown = table.with_columns(
        id=pl.Series([reader.locus.ids[row] for row in table["peak"].to_list()]),
        change=pl.Series(knocked["difference"].to_list()),
    ).sort(pl.col("score_ablation").abs(), descending=True, maintain_order=True)
    kept = shown.head(SHOWN)
    if real:
        kept = pl.concat([kept, shown.slice(SHOWN).filter(pl.col("id") == GATA1_ENHANCER)])
    rows = kept.select(
        "id", pl.col("distance_bp") / 1000, "accessibility", "score_ablation", "score_exact", "change"
    )
    distance = table["distance_bp"]
    before = float(knocked["before"][0])
    where = f"${VARIABLE}/{FILE}" if real else path.name
    flags = f"--locus-text {where} --tss-peak {tss_peak} --strand {strand}"
    return TruthSection(
        title=f"One gene from a text file ({name})",
        asks="What does the model make of one gene of which there are only its peaks as text, "
        f"{len(every)} of them in the authors' form (name, bases and accessibility of each)? "
        f"Predicted expression of {name}: {before:.3f}{f' ({link_words(model)})' if link_words(model) else ''}.",
        warnings=[_STAMP] if real else [_ABSENT],
        figures=[
            Drawn(
                locus_figure(
                    LocusScores(
                        title=f"{name}: {len(every)} peaks",
                        distance_bp=None if distance.is_nan().any() else distance.to_numpy(),
                        tss_peak=tss_peak,
                        accessibility=table["accessibility"].to_numpy(),
                        scores={
                            "ablation": table["score_ablation"].to_numpy(),
                            "exact": table["score_exact"].to_numpy(),
                        },
                        marked={},
                    )
                ),
                "Accessibility as the file gives it, what closing each peak takes from the "
                "prediction, and the attention that each receives (1 = as much as if all looked everywhere alike).",
                f"Accessibility and scores of the peaks round {name}",
            )
        ],
        listings=[
            Listing(
                ["peak", "distance, kb", "accessibility", "ablation", "exact", "change when knocked out"],
                [list(row) for row in rows.rows()],
                f"The {SHOWN} peaks with the largest ablation"
                + (
                    f", and {GATA1_ENHANCER}, the enhancer that the authors take away in their example."
                    if real
                    else "."
                ),
            )
        ],
        guidance="`ablation` is the fall of the prediction when a peak is closed, so it is the "
        "knock-out with the sign turned; the file holds no TSS, so distances are counted from "
        "the middle of the peak nearest to it.",
        commands=[
            f"cisoform regulation {command} fitted {flags} {more}"
            for command, more in (
                ("predict", "--json"),
                ("score", "--variant ablation,exact --out locus"),
                ("knockout", "--each --out locus-knockout"),
            )
        ],
    )


def link_words(model: CREformerModel) -> str:
    """Unit of the prediction; "" where the model does not say."""
    return str(model.about.get("expression") or "")


def write_locus(reader: Reader, gene: int, group: int, path: Path) -> None:
    """The peaks of a gene in a group as three lines a peak: `>chrom_start_end`, bases, signal."""
    inputs = reader.inputs(np.array([gene]), np.array([group]))
    peaks = inputs.peak[inputs.mask].cpu().numpy()
    signal = reader.base_signal(inputs, inputs.mask)
    places = reader.peaks[peaks.tolist()].select("chrom", "start", "end").rows()
    with atomic_write(path, "w") as handle:
        for (chrom, start, end), bases, values in zip(
            places, reader.dataset.windows(peaks), signal, strict=True
        ):
            numbers = "\t".join(f"{value:.6g}" for value in values.tolist())
            handle.write(f">{chrom}_{start}_{end}\n{decode_dna(bases)}\n{numbers}\n")
