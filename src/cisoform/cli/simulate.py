"""`cisoform simulate`: write a small genome whose expression follows planted rules, for both systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli.common import JsonOption, SeedOption, note, print_json, print_table, split_list
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.data.simulate.config import SimulateConfig
    from cisoform.data.simulate.regulation.config import RegulationConfig

app = typer.Typer()
Share = Annotated[float | None, typer.Option(metavar="SHARE", min=0, help="Its share of the variance.")]
PARTS = ("isoform", "regulation", "both")


@app.command(epilog="Example: cisoform simulate sim --preset tiny --seed 1 --off codon,uorf")
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    preset: Annotated[
        str, typer.Option(help="tiny (600 genes; regulation 100) or small (2,000; regulation 240).")
    ] = "tiny",
    what: Annotated[
        str, typer.Option("--what", help="isoform, regulation (in OUT/regulation) or both.")
    ] = "both",
    seed: SeedOption = 0,
    genes: Annotated[int | None, typer.Option(min=10, help="Number of genes of the isoform part.")] = None,
    tissues: Annotated[int | None, typer.Option(min=1, help="Number of tissues.")] = None,
    cells: Annotated[int | None, typer.Option(min=1, help="Number of cells of the regulation part.")] = None,
    off: Annotated[
        str | None,
        typer.Option(
            metavar="RULES",
            help="Rules that do not act: promoter, uorf, utr3, codon, protein; of the regulation part "
            "activation, repression, distal, core, steady, driver.",
        ),
    ] = None,
    promoter: Share = None,
    utr: Share = None,
    codon: Share = None,
    protein: Share = None,
    noise: Share = None,
    chromatin: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            help="Share of states of promoters that only tracks tell; writes tracks.tsv and bigWigs (default: 0).",
        ),
    ] = None,
    bgzip: Annotated[bool, typer.Option("--bgzip", help="Compress the genome with bgzip.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a genome, annotation, expression and variants that follow planted rules, and the truth.

    The regulation part adds peaks, motifs, tracks, single cells, tested pairs and TF knock-outs.
    """
    if what not in PARTS:
        raise InputError(f"--what {what!r} is unknown; choose from {', '.join(PARTS)}")
    silent = _silent_rules(off, what)
    given = {
        "promoter": promoter,
        "utr": utr,
        "codon": codon,
        "protein": protein,
        "noise": noise,
        "chromatin": chromatin,
    }
    shares = {name: value for name, value in given.items() if value is not None}
    isoform_only = {
        **{f"--{name}": value for name, value in shares.items()},
        "--genes": genes,
        "--tissues": tissues,
    }
    _refuse_unused(what, "regulation", isoform_only)
    _refuse_unused(what, "isoform", {"--cells": cells})
    isoform = _isoform_config(preset, seed, shares, silent, genes, tissues) if what != "regulation" else None
    regulation = _regulation_config(preset, seed, silent, cells) if what != "isoform" else None
    _refuse_full_folder(out, overwrite)

    from cisoform.genome.files import atomic_directory

    with atomic_directory(out, overwrite=overwrite) as folder:
        told = _write_isoform(isoform, folder, bgzip) if isoform is not None else {}
        more = _write_regulation(regulation, folder / "regulation", bgzip) if regulation is not None else None
    if as_json:
        print_json({"out": out, **told, **({} if more is None else {"regulation": more})})
        return
    if told:
        note(
            f"{out}: {told['n_genes']:,} genes, {told['n_transcripts']:,} transcripts, "
            f"{told['n_bases'] / 1e6:.1f} Mb, {told['n_variants']} variants; README.txt says what was planted"
        )
        print_table(["tissue", "attainable_r2"], list(told["ceiling_r2"].items()))
    if more is not None:
        counts = more["summary"]
        note(
            f"{out / 'regulation'}: {counts['n_genes']:,} genes, {counts['n_peaks']:,} peaks, "
            f"{counts['n_cells']:,} cells, {counts['n_bases'] / 1e6:.1f} Mb; README.txt says what was planted"
        )
        print_table(["regulation", "attainable"], list(more["attainable"].items()))


def _silent_rules(off: str | None, what: str) -> set[str]:
    """Rules named by `--off`.

    Raises:
        InputError: a name that is no rule of a part that is written.
    """
    from cisoform.data.simulate.config import RULES as ISOFORM_RULES
    from cisoform.data.simulate.regulation.config import RULES as REGULATION_RULES

    known: Sequence[str] = {
        "isoform": ISOFORM_RULES,
        "regulation": REGULATION_RULES,
        "both": (*ISOFORM_RULES, *REGULATION_RULES),
    }[what]
    silent = set(split_list(off) or [])
    unknown = sorted(silent - set(known))
    if unknown:
        raise InputError(f"--off {unknown[0]!r} is no rule; choose from {', '.join(known)}")
    return silent


def _refuse_unused(what: str, without: str, options: dict[str, Any]) -> None:
    """The error of an option that the part written alone does not use."""
    used = sorted(name for name, value in options.items() if value is not None)
    if what == without and used:
        raise InputError(f"{used[0]} has no effect with --what {what}; leave it out")


def _isoform_config(
    preset: str,
    seed: int,
    shares: dict[str, float],
    silent: set[str],
    genes: int | None,
    tissues: int | None,
) -> SimulateConfig:
    from cisoform.data.simulate.config import RULES
    from cisoform.data.simulate.config import preset as preset_config

    config = preset_config(preset, seed)
    config = replace(config, shares=replace(config.shares, **shares), rules=frozenset(set(RULES) - silent))
    if genes is not None:
        config = replace(config, n_genes=genes)
    if tissues is not None:
        config = replace(config, n_tissues=tissues)
    return config


def _regulation_config(preset: str, seed: int, silent: set[str], cells: int | None) -> RegulationConfig:
    from cisoform.data.simulate.regulation.config import RULES
    from cisoform.data.simulate.regulation.config import preset as preset_config
    from cisoform.data.simulate.regulation.multiome import require_writers

    require_writers()
    config = replace(preset_config(preset, seed), rules=frozenset(set(RULES) - silent))
    return config if cells is None else replace(config, n_cells=cells)


def _write_isoform(config: SimulateConfig, folder: Path, bgzip: bool) -> dict[str, Any]:
    from cisoform.data.simulate.simulation import simulate as run
    from cisoform.data.simulate.write import truth, write_simulation

    simulation = run(config)
    write_simulation(simulation, folder, bgzip=bgzip)
    planted: dict[str, Any] = truth(simulation)
    return {
        "n_genes": len(simulation.genome.genes),
        "n_transcripts": len(simulation.genome.transcript_ids),
        "n_bases": sum(len(codes) for codes in simulation.genome.chromosomes.values()),
        "n_variants": len(simulation.variants),
        "tissues": planted["tissues"],
        "ceiling_r2": planted["ceiling_r2"]["attainable"],
    }


def _write_regulation(config: RegulationConfig, folder: Path, bgzip: bool) -> dict[str, Any]:
    from cisoform.data.simulate.regulation.simulation import simulate_regulation
    from cisoform.data.simulate.regulation.write import write_regulation

    planted = write_regulation(simulate_regulation(config), folder, bgzip=bgzip)
    return {"out": folder.name, "summary": planted["summary"], "attainable": planted["attainable"]}


def _refuse_full_folder(out: Path, overwrite: bool) -> None:
    """The error of the writer, before the work instead of after it."""
    if out.is_file():
        raise InputError(f"{out}: is a file, but a folder is to be written there; choose another name")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise InputError(f"{out}: already exists; remove it, choose another name or give --overwrite")
