"""Draw the figures of the documentation as SVG: `python docs/figures/draw.py` writes them beside this file.

`isoformer.svg` is the architecture (after Fig. 1 of the IsoFormer paper, with what differs here), `dataflow.svg` how
data become a model and results (after its Fig. 2). Plain shapes and system fonts; the same script gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

INK, SOFT, PAPER = "#1c2430", "#5b6673", "#ffffff"
DNA, RNA, PROTEIN, JOINT, PLAIN = "#d6e6f2", "#dcefdc", "#f6e3c8", "#e7dcf0", "#eef1f4"
EDGES = {DNA: "#2f6f9f", RNA: "#3f8a4b", PROTEIN: "#b5742a", JOINT: "#7a5299", PLAIN: "#8792a0"}
FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass
class Drawing:
    """Shapes in the order in which they are painted."""

    title: str
    width: int
    height: int
    shapes: list[str] = field(default_factory=list)

    def box(
        self, x: float, y: float, w: float, h: float, fill: str, head: str, lines: tuple[str, ...] = ()
    ) -> None:
        """A rounded box with a bold head and lines of text under it, centred."""
        self.shapes.append(
            f"<rect x='{x}' y='{y}' width='{w}' height='{h}' rx='7' fill='{fill}' stroke='{EDGES[fill]}' "
            "stroke-width='1.4'/>"
        )
        top = y + h / 2 - 8.5 * len(lines) + 5
        self.text(x + w / 2, top, head, bold=True)
        for number, line in enumerate(lines, start=1):
            self.text(x + w / 2, top + 17 * number, line, size=12, colour=SOFT)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = 14,
        bold: bool = False,
        colour: str = INK,
        anchor: str = "middle",
    ) -> None:
        """One line of text; `y` is its baseline."""
        weight = " font-weight='bold'" if bold else ""
        self.shapes.append(
            f"<text x='{x:g}' y='{y:g}' font-size='{size}' fill='{colour}' text-anchor='{anchor}'{weight}>"
            f"{escape(text)}</text>"
        )

    def arrow(self, *points: tuple[float, float], colour: str = INK, dashed: bool = False) -> None:
        """A line through the points with a head at its end."""
        path = " ".join(f"{'L' if number else 'M'}{x:g},{y:g}" for number, (x, y) in enumerate(points))
        dash = " stroke-dasharray='5 4'" if dashed else ""
        self.shapes.append(
            f"<path d='{path}' fill='none' stroke='{colour}' stroke-width='1.5'{dash} marker-end='url(#head)'/>"
        )

    def svg(self) -> str:
        """The whole file."""
        head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}' "
            f"width='{self.width}' height='{self.height}' role='img' {FONT}>"
        )
        marker = (
            "<defs><marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
            f"orient='auto'><path d='M0,0 L8,4 L0,8 z' fill='{INK}'/></marker></defs>"
        )
        ground = f"<rect width='{self.width}' height='{self.height}' fill='{PAPER}'/>"
        body = "\n".join(
            [head, f"<title>{escape(self.title)}</title>", marker, ground, *self.shapes, "</svg>"]
        )
        return body + "\n"


def architecture() -> Drawing:
    """IsoFormer: three encoders, an aggregator, one output per tissue."""
    d = Drawing(
        "IsoFormer: DNA, RNA and protein of a transcript to its expression in every tissue", 1000, 500
    )
    rows = (
        (
            70,
            DNA,
            "DNA",
            ("window round the start,", "on the transcript's strand"),
            "DNA encoder",
            ("landmarks, convolutions,", "Elementary, NT-v2, Enformer, Borzoi"),
        ),
        (
            190,
            RNA,
            "RNA",
            ("spliced, 5' to 3',", "with UTRs, codons, junctions"),
            "RNA encoder",
            ("landmarks, convolutions,", "NT-v2"),
        ),
        (
            310,
            PROTEIN,
            "Protein",
            ("translated from the CDS",),
            "Protein encoder",
            ("landmarks, convolutions,", "ESM-2"),
        ),
    )
    for x, text in (
        (105, "one transcript"),
        (335, "encoders"),
        (575, "aggregator"),
        (745, "pool"),
        (905, "outputs"),
    ):
        d.text(x, 36, text, size=13, colour=SOFT)
    for y, colour, name, about, encoder, kinds in rows:
        d.box(20, y, 170, 84, colour, name, about)
        d.arrow((190, y + 42), (218, y + 42))
        d.box(220, y, 230, 84, colour, encoder, kinds)
        d.arrow((450, y + 42), (488, y + 42))
        d.arrow((660, y + 42), (698, y + 42))
        d.box(700, y + 16, 90, 52, colour, "mean", ("over positions",))
        d.arrow((790, y + 42), (818, 232))
    d.box(
        490,
        60,
        170,
        344,
        JOINT,
        "Cross-attention",
        (
            "each branch reads",
            "the others, residual",
            "",
            "or: concatenate,",
            "linear, perceiver",
            "resampler,",
            "C-abstractor",
        ),
    )
    d.box(
        820,
        180,
        160,
        104,
        PLAIN,
        "One output",
        ("per tissue,", "standardised log1p", "(linear or one hidden layer)"),
    )
    d.arrow((900, 284), (900, 318))
    d.box(820, 320, 160, 66, PLAIN, "Expression", ("normaliser of the", "training part undone"))
    d.box(
        20,
        424,
        430,
        58,
        PLAIN,
        "Start of an encoder",
        ("from nothing, from public weights, or from isoform pretrain",),
    )
    d.arrow((335, 424), (335, 398), dashed=True)
    d.text(
        490,
        437,
        "What a transcript lacks is left out, exactly: no branch and no term.",
        size=12,
        colour=SOFT,
        anchor="start",
    )
    d.text(
        490,
        455,
        "Distinct sequences of a batch are encoded once, however many transcripts share them.",
        size=12,
        colour=SOFT,
        anchor="start",
    )
    d.text(
        490,
        473,
        "Tissues with tracks of their own read their own DNA (Elementary).",
        size=12,
        colour=SOFT,
        anchor="start",
    )
    return d


def dataflow() -> Drawing:
    """From files to a data set, from its parts to a model, from the model to results."""
    d = Drawing("How files become a data set, a model and results", 1000, 560)
    for x, text in ((105, "files"), (345, "data set"), (610, "model"), (870, "results")):
        d.text(x, 32, text, size=13, colour=SOFT)
    files = (
        ("Genome", "FASTA"),
        ("Annotation", "GTF or GFF3"),
        ("Expression", "transcripts x tissues, TPM"),
        ("Tracks", "optional: bigWig, bedGraph"),
    )
    for number, (name, about) in enumerate(files):
        y = 50 + 88 * number
        d.box(20, y, 170, 66, PLAIN, name, (about,))
        d.arrow((190, y + 33), (228, 150 + 20 * number), dashed=number == 3)
    d.box(
        230,
        50,
        230,
        262,
        JOINT,
        "isoform build",
        (
            "names and ids matched",
            "DNA window round each start",
            "RNA spliced, protein translated",
            "",
            "split by gene,",
            "chromosome or family",
            "leakage table",
            "hash of every file",
        ),
    )
    parts = (
        ("train", DNA, "fits weights and normaliser"),
        ("valid", RNA, "chooses weights"),
        ("test", PROTEIN, "scores, once"),
    )
    for number, (name, colour, about) in enumerate(parts):
        y = 340 + 66 * number
        d.box(230, y, 230, 52, colour, name, (about,))
    d.arrow((345, 312), (345, 338))
    d.box(510, 50, 200, 66, DNA, "isoform pretrain", ("tokens hidden and predicted",))
    d.box(510, 146, 200, 66, PLAIN, "weights convert", ("NT-v2, ESM-2, Enformer, Borzoi",))
    d.box(
        510, 262, 200, 100, JOINT, "isoform train", ("from nothing or from weights", "recipe, seed, --resume")
    )
    d.arrow((710, 83), (735, 83), (735, 290), (712, 290))
    d.arrow((610, 212), (610, 260))
    d.arrow((460, 366), (485, 366), (485, 83), (508, 83))
    d.arrow((485, 320), (508, 320))
    d.arrow((460, 432), (497, 432), (497, 345), (508, 345))
    d.box(510, 412, 200, 84, PLAIN, "Run folder", ("model, log, checkpoint,", "recipe, seed, hashes"))
    d.arrow((610, 362), (610, 410))
    results = (
        ("isoform evaluate", ("beside baselines, with intervals;", "--against another run")),
        ("isoform predict", ("any annotation, bare sequences",)),
        ("isoform variants", ("VCF: both alleles, consequences",)),
        ("isoform attention", ("regions, before and after",)),
        ("isoform ablate", ("tables of runs of its own",)),
    )
    for number, (name, about) in enumerate(results):
        y = 50 + 92 * number
        d.box(770, y, 210, 70, PLAIN, name, about)
        if number < 4:
            d.arrow((710, 454), (750, 454), (750, y + 35), (768, y + 35))
    d.arrow((460, 498), (480, 498), (480, 530), (990, 530), (990, 85), (982, 85))
    d.text(735, 548, "read for scores alone", size=12, colour=SOFT)
    return d


FIGURES = {"isoformer.svg": architecture, "dataflow.svg": dataflow}


def main() -> None:
    """Write every figure."""
    folder = Path(__file__).resolve().parent
    for name, draw in FIGURES.items():
        (folder / name).write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
