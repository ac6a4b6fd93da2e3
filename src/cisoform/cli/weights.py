"""`cisoform weights`: look into released checkpoints and convert them, without running anything in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli.common import JsonOption, bytes_text, note, print_json, print_table
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.weights.inspect import Architecture

app = typer.Typer(help="Inspect and convert released checkpoints.", no_args_is_help=True)

KINDS = ("creformer", "esm2", "nt", "enformer", "borzoi", "isoformer")


@app.command(epilog="Example: cisoform weights inspect pretrained_models/transformer_1.pkl")
def inspect(
    source: Annotated[
        str, typer.Argument(metavar="FILE|DIR|hf://OWNER/NAME", help="A checkpoint, or a folder of them.")
    ],
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
        if part.architecture is not None:
            _print_architecture(part.architecture)
        for name in part.refused:
            note(f"{part.path}: asks for {name}: would be an inert stub, never imported or called")
        print_table(
            ("tensor", "type", "shape"),
            [(t.name, t.dtype, "x".join(map(str, t.shape))) for t in part.tensors],
        )


def _print_architecture(found: Architecture) -> None:
    sizes = ", ".join(f"{name} {value:g}" for name, value in found.sizes.items())
    fits = f"{len(found.differences)} differences" if found.differences else "the tensors fit"
    typer.echo(f"  {found.name} ({sizes}): {fits}; {len(found.left_out)} tensors are not used by it")
    for line in found.differences:
        typer.echo(f"  - {line}")


@app.command(
    epilog="Example: cisoform weights convert creformer pretrained_models model --vocab kmer_dict.pkl; "
    "cisoform weights convert esm2 hf://facebook/esm2_t30_150M_UR50D esm2"
)
def convert(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="creformer, esm2, nt (NT-v2), enformer, borzoi or isoformer."),
    ],
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="Released folder (CREformer: or safetensors file); the other kinds: folder or hf://OWNER/NAME.",
        ),
    ],
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
    gamma: Annotated[
        str | None,
        typer.Option(
            "--gamma",
            metavar="VERSION",
            help="enformer: gamma densities of its training, tensorflow or pytorch; without it what config.json says.",
        ),
    ] = None,
    normalisation: Annotated[
        Path | None,
        typer.Option(
            "--normalisation",
            metavar="CSV",
            help="isoformer: normalization_values.csv; without it the one beside the weights.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop", metavar="PREFIX", help="isoformer: leave out tensors of no known part; repeat."
        ),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="Not creformer: what the weights file must hash to."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert released weights to a model folder of safetensors and JSON; nothing is fetched and no code is run."""
    if kind not in KINDS:
        raise InputError(
            f"{kind!r} is no kind of checkpoint that can be converted; choose from {', '.join(KINDS)}"
        )
    options: dict[str, Any] = {
        "--vocab": vocab,
        "--heads": heads,
        "--gamma": gamma,
        "--normalisation": normalisation,
        "--drop": drop or None,
        "--sha256": sha256,
    }
    _check_options(kind, options)
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise InputError(f"{out}: already exists; remove it or choose another name")
    found, lines = _converted(kind, source, out, options)
    if as_json:
        print_json(found)
        return
    typer.echo(f"{out}: {lines[0]}")
    for line in lines[1:]:
        note(line)


OPTIONS = {
    "creformer": ("--vocab", "--heads"),
    "enformer": ("--gamma", "--sha256"),
    "isoformer": ("--normalisation", "--drop", "--sha256"),
    **dict.fromkeys(("esm2", "nt", "borzoi"), ("--sha256",)),
}
"""Options of each kind."""


def _check_options(kind: str, given: dict[str, Any]) -> None:
    """Refuse options of another kind, and values that mean nothing."""
    for name, value in given.items():
        if value is not None and name not in OPTIONS[kind]:
            kinds = ", ".join(other for other, names in OPTIONS.items() if name in names)
            raise InputError(f"{name} {value} is for {kinds}, not {kind}: leave it out")
    if kind == "creformer" and given["--vocab"] is None:
        raise InputError(
            "converting a CREformer needs --vocab: the authors' kmer_dict.pkl or a text list of 6-mers"
        )
    sha256, gamma = given["--sha256"], given["--gamma"]
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(
            f"--sha256 {sha256!r} is not 64 hex digits; copy it from where the weights came from"
        )
    if gamma not in (None, "tensorflow", "pytorch"):
        raise InputError(f"--gamma {gamma!r} is neither tensorflow nor pytorch")


def _converted(
    kind: str, source: str, out: Path, options: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """What was found, and lines about it."""
    sha256 = options["--sha256"]
    if kind == "creformer":
        from cisoform.jobs.convert_creformer import convert_creformer

        found = convert_creformer(Path(source), out, options["--vocab"], options["--heads"])
        return found, _creformer_lines(found)
    if kind in ("esm2", "nt"):
        from cisoform.jobs.convert_rotary import convert_rotary

        found = convert_rotary(source, out, "esm2" if kind == "esm2" else "nt_v2", sha256)
        return found, _rotary_lines(found)
    if kind == "isoformer":
        from cisoform.jobs.convert_isoformer import convert_isoformer

        drop = options["--drop"] or ()
        found = convert_isoformer(source, out, sha256, options["--normalisation"], drop)
        return found, _isoformer_lines(found)
    from cisoform.jobs.convert_trunk import convert_trunk

    found = convert_trunk(
        source, out, "enformer" if kind == "enformer" else "borzoi", sha256, options["--gamma"]
    )
    return found, _trunk_lines(found)


def _isoformer_lines(found: dict[str, Any]) -> list[str]:
    parts = ", ".join(f"{part} {prefix}" for part, prefix in found["prefixes"].items())
    lines = [
        f"IsoFormer of {found['n_parameters']:,} parameters ({len(found['tissues'])} tissues; windows of "
        f"{found['dna_window']:,} bp, RNA to {found['rna_max']:,} nt, proteins to {found['protein_max']:,} residues)",
        f"sha256 of {found['file']}: {found['sha256']}",
        f"prefixes: {parts}; head: {', '.join(found['head'])}",
        *(f"assumed, as no published code says it: {line}" for line in found["assumed"]),
        "outputs are on the scale of the released labels: a logarithm of TPM, its base and offset are not published",
        f"{len(found['left_out'])} tensors that the model does not use were left out",
    ]
    if found["dropped"]:
        lines.append(
            f"{len(found['dropped'])} tensors were left out by --drop: {', '.join(found['dropped'][:3])}"
        )
    return lines


def _rotary_lines(found: dict[str, Any]) -> list[str]:
    sizes = found["sizes"]
    lines = [
        f"{found['name']} of {found['n_parameters']:,} parameters (width {sizes['dim']}, {sizes['layers']} "
        f"layers, {sizes['heads']} heads, {'with' if found['head'] else 'without'} masked-token head)",
        f"sha256 of {found['file']}: {found['sha256']}",
    ]
    if found["left_out"]:
        lines.append(f"{len(found['left_out'])} tensors that rotary models never use were left out")
    return lines


def _trunk_lines(found: dict[str, Any]) -> list[str]:
    sizes, tracks = found["sizes"], found["tracks"]
    bins = "all" if sizes["bins"] is None else f"{sizes['bins']:,} middle"
    heads = ", ".join(f"{n:,} {name}" for name, n in tracks.items()) or "no"
    lines = [
        f"{found['name']} of {found['n_parameters']:,} parameters ({sizes['layers']} layers of width {sizes['dim']}; "
        f"{bins} bins of {sizes['bin_size']} bp, {sizes['out_dim']} wide; {heads} tracks)",
        f"sha256 of {found['file']}: {found['sha256']}",
    ]
    if "gamma" in sizes:
        lines.append(
            f"gamma densities as in {sizes['gamma']}; --gamma sets them if these weights are of the other"
        )
    return lines


def _creformer_lines(found: dict[str, Any]) -> list[str]:
    sizes = found["sizes"]
    return [
        f"CREformer of {found['n_parameters']:,} parameters (width {sizes['dim']}, {sizes['heads']} heads, "
        f"layers {'/'.join(map(str, sizes['layers']))}, at most {sizes['max_peaks']} peaks)",
        f"{found['n_dropped']} tensors of unused template layers were left out",
    ]
