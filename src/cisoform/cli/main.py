"""Entry point of the `cisoform` command: the table of its commands. Their modules are imported on use."""

from __future__ import annotations

from typing import Annotated

import typer

from cisoform import __version__
from cisoform.cli.group import CommandGroup, LazyCommand

COMMANDS = {
    "demo": LazyCommand(
        "cisoform.cli.demo", "Train, score and report on planted truth and, if found, on the yeast pack."
    ),
    "isoform": LazyCommand(
        "cisoform.cli.isoform", "Expression of each transcript in every tissue (IsoFormer)."
    ),
    "regulation": LazyCommand(
        "cisoform.cli.regulation", "Expression from accessible peaks and tracks (CREformer)."
    ),
    "benchmark": LazyCommand(
        "cisoform.cli.benchmark", "A recipe beside its ablations and baselines, as one table."
    ),
    "plan": LazyCommand(
        "cisoform.cli.plan", "Parameters, FLOPs, memory, disk and times of a recipe, before anything is run."
    ),
    "simulate": LazyCommand(
        "cisoform.cli.simulate",
        "Write a genome, annotation, expression and variants that follow planted rules, and the truth.",
    ),
    "weights": LazyCommand("cisoform.cli.weights", "Inspect and convert released checkpoints."),
    "pack": LazyCommand("cisoform.cli.pack", "List, check and fetch real data packs."),
}


class RootGroup(CommandGroup):
    """The commands of `cisoform`."""

    lazy = COMMANDS


app = typer.Typer(
    name="cisoform",
    cls=RootGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: cisoform demo --out demo",
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"cisoform {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (anywhere on the line).")
    ] = False,
) -> None:
    """Gene expression from sequence: isoforms per tissue, on your own files."""


def main() -> None:
    """Run the command line and exit: 0 done, 2 a mistake in the input, 130 interrupted."""
    typer.main.get_command(app).main(prog_name="cisoform")


if __name__ == "__main__":
    main()
