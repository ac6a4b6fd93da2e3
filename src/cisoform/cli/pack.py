"""`cisoform pack`: list, check and fetch real data packs."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from cisoform.cli.common import JsonOption, bytes_text, note, print_json, print_table, progress
from cisoform.packs import PackCheck, check_pack, find_pack, list_packs, pack_places

app = typer.Typer(help="List, check and fetch real data packs.", no_args_is_help=True)


@app.command("list", epilog="Example: cisoform pack list")
def list_(as_json: JsonOption = False) -> None:
    """Packs that are found here, with their size and what they say of their licence."""
    packs = list_packs()
    if as_json:
        print_json(packs)
    elif packs:
        header = ("name", "files", "size", "where", "licence")
        rows = [
            (
                pack.name,
                pack.n_files,
                bytes_text(pack.n_bytes),
                str(pack.path),
                textwrap.shorten(pack.licence, 60, placeholder=" ..."),
            )
            for pack in packs
        ]
        print_table(header, rows)
    else:
        looked = ", ".join(str(place) for place in pack_places())
        note(f"no data pack in {looked}; set $CISOFORM_PACKS or use `cisoform pack get`")


@app.command(epilog="Example: cisoform pack check yeast")
def check(
    pack: Annotated[str, typer.Argument(metavar="DIR|NAME", help="Folder of a pack, or the name of one.")],
    as_json: JsonOption = False,
) -> None:
    """Compare a pack with its SHA256SUMS and, for the packs we know, with the files and columns needed."""
    with progress("checking") as update:
        result = check_pack(find_pack(pack), update)
    _print_check(result, as_json)


@app.command(
    epilog="Example: cisoform pack get yeast --url https://example.org/yeast.tar.gz --sha256 0123..."
)
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the pack.")],
    url: Annotated[str, typer.Option("--url", help="Archive (tar or zip): http, https or file.")],
    sha256: Annotated[str, typer.Option("--sha256", metavar="HEX", help="SHA-256 of the archive.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a pack of that name.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch a pack into the user cache; nothing is kept unless every checksum fits."""
    from cisoform.pack_archives import get_pack

    note(f"fetching {url}")
    with progress("fetching") as update:
        result = get_pack(name, url, sha256, force=force, update=update)
    _print_check(result, as_json)


def _print_check(result: PackCheck, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    against = f"checksums and the files of the pack {result.schema!r}" if result.schema else "checksums only"
    size = bytes_text(result.n_bytes)
    typer.echo(f"{result.path}: sound ({result.n_files} files, {size}; {against})")
