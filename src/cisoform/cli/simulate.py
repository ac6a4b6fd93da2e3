"""`cisoform simulate`: write a small genome whose expression follows planted rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cisoform.cli.common import JsonOption, SeedOption, note, print_json, print_table, split_list
from cisoform.errors import InputError

app = typer.Typer()
Share = Annotated[float | None, typer.Option(metavar="SHARE", min=0, help="Its share of the variance.")]


@app.command(epilog="Example: cisoform simulate sim --preset tiny --seed 1 --off codon,uorf")
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    preset: Annotated[str, typer.Option(help="tiny (600 genes) or small (2,000).")] = "tiny",
    seed: SeedOption = 0,
    genes: Annotated[int | None, typer.Option(min=10, help="Number of genes.")] = None,
    tissues: Annotated[int | None, typer.Option(min=1, help="Number of tissues.")] = None,
    off: Annotated[
        str | None,
        typer.Option(metavar="RULES", help="Rules that do not act: promoter, uorf, utr3, codon, protein."),
    ] = None,
    promoter: Share = None,
    utr: Share = None,
    codon: Share = None,
    protein: Share = None,
    noise: Share = None,
    bgzip: Annotated[bool, typer.Option("--bgzip", help="Compress the genome with bgzip.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a genome, annotation, expression and variants that follow planted rules, and the truth."""
    from cisoform.data.simulate.config import RULES
    from cisoform.data.simulate.config import preset as preset_config

    config = preset_config(preset, seed)
    given = {"promoter": promoter, "utr": utr, "codon": codon, "protein": protein, "noise": noise}
    shares = replace(config.shares, **{name: value for name, value in given.items() if value is not None})
    silent = set(split_list(off) or [])
    unknown = sorted(silent - set(RULES))
    if unknown:
        raise InputError(f"--off {unknown[0]!r} is no rule; choose from {', '.join(RULES)}")
    config = replace(config, shares=shares, rules=frozenset(set(RULES) - silent))
    if genes is not None:
        config = replace(config, n_genes=genes)
    if tissues is not None:
        config = replace(config, n_tissues=tissues)
    _refuse_full_folder(out, overwrite)

    from cisoform.data.simulate.simulation import simulate as run
    from cisoform.data.simulate.write import truth, write_simulation

    simulation = run(config)
    write_simulation(simulation, out, bgzip=bgzip, overwrite=overwrite)
    planted: dict[str, Any] = truth(simulation)
    ceilings = planted["ceiling_r2"]["attainable"]
    counts = {
        "n_genes": len(simulation.genome.genes),
        "n_transcripts": len(simulation.genome.transcript_ids),
        "n_bases": sum(len(codes) for codes in simulation.genome.chromosomes.values()),
        "n_variants": len(simulation.variants),
    }
    if as_json:
        print_json({"out": out, **counts, "tissues": planted["tissues"], "ceiling_r2": ceilings})
        return
    note(
        f"{out}: {counts['n_genes']:,} genes, {counts['n_transcripts']:,} transcripts, "
        f"{counts['n_bases'] / 1e6:.1f} Mb, {counts['n_variants']} variants; README.txt says what was planted"
    )
    print_table(["tissue", "attainable_r2"], list(ceilings.items()))


def _refuse_full_folder(out: Path, overwrite: bool) -> None:
    """The error of the writer, before the work instead of after it."""
    if out.is_file():
        raise InputError(f"{out}: is a file, but a folder is to be written there; choose another name")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise InputError(f"{out}: already exists; remove it, choose another name or give --overwrite")
