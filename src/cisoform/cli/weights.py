"""`cisoform weights`: look into released checkpoints and convert them, without running anything in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cisoform.cli.common import JsonOption, bytes_text, note, print_json, print_table
from cisoform.errors import InputError

app = typer.Typer(help="Inspect and convert released checkpoints.", no_args_is_help=True)

KINDS = ("creformer",)


@app.command(epilog="Example: cisoform weights inspect pretrained_models/transformer_1.pkl")
def inspect(
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A checkpoint, or a folder of them.")],
    as_json: JsonOption = False,
) -> None:
    """List the tensors of a checkpoint and every name its pickle asks for; nothing in it is run."""
    from cisoform.weights.inspect import inspect_checkpoint

    found = inspect_checkpoint(source)
    if as_json:
        print_json(found)
        return
    for part in found:
        size = bytes_text(part.n_bytes)
        typer.echo(
            f"{part.path}: {part.format}, {len(part.tensors)} tensors, {part.n_values:,} values, {size}"
        )
        for name in part.refused:
            note(f"{part.path}: asks for {name}: would be an inert stub, never imported or called")
        print_table(
            ("tensor", "type", "shape"),
            [(t.name, t.dtype, "x".join(map(str, t.shape))) for t in part.tensors],
        )


@app.command(
    epilog="Example: cisoform weights convert creformer pretrained_models model --vocab kmer_dict.pkl"
)
def convert(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="creformer.")],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Released folder or safetensors file.")],
    out: Annotated[Path, typer.Argument(metavar="DST", help="Model folder to write.")],
    vocab: Annotated[
        Path | None,
        typer.Option(
            "--vocab", metavar="FILE", help="Released 6-mers: the authors' kmer_dict.pkl, or a text list."
        ),
    ] = None,
    heads: Annotated[
        int | None, typer.Option("--heads", min=1, help="Attention heads; needed for safetensors.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert released weights to a model folder of safetensors and JSON."""
    if kind not in KINDS:
        raise InputError(
            f"{kind!r} is no kind of checkpoint that can be converted; choose from {', '.join(KINDS)}"
        )
    if vocab is None:
        raise InputError(
            "converting a CREformer needs --vocab: the authors' kmer_dict.pkl or a text list of 6-mers"
        )
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise InputError(f"{out}: already exists; remove it or choose another name")
    from cisoform.jobs.convert_creformer import convert_creformer

    summary = convert_creformer(source, out, vocab, heads)
    if as_json:
        print_json(summary)
        return
    _print_conversion(out, summary)


def _print_conversion(out: Path, summary: dict[str, Any]) -> None:
    sizes = summary["sizes"]
    typer.echo(
        f"{out}: CREformer of {summary['n_parameters']:,} parameters (width {sizes['dim']}, {sizes['heads']} heads, "
        f"layers {'/'.join(map(str, sizes['layers']))}, at most {sizes['max_peaks']} peaks)"
    )
    note(f"{summary['n_dropped']} tensors of unused template layers were left out")
