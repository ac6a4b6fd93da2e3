"""Real data packs: folders of files with a README and SHA256SUMS, kept outside the package.

A pack is found by folder, in the folders of `$CISOFORM_PACKS` (separated as in PATH), or in the user cache.
Checking compares every file with SHA256SUMS and, for the packs we know, the files and columns that the
commands read. Nothing here touches the network; `pack_archives` fetches.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cisoform.errors import InputError
from cisoform.genome.files import open_text, user_cache_dir

PACKS_VARIABLE = "CISOFORM_PACKS"
CHECKSUMS = "SHA256SUMS"
_CHUNK = 1 << 20

# Files a pack must hold, and the columns of its tables that are read (a subset of those in the file).
SCHEMAS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "yeast": {
        "genome.fa.gz": (),
        "annotation.gtf.gz": (),
        "isoforms.gtf.gz": (),
        "transcripts.fa.gz": (),
        "proteins.fa.gz": (),
        "isoforms.tsv.gz": (
            "transcript_id",
            "gene_id",
            "chrom",
            "strand",
            "tss",
            "tes",
            "family_id",
            "split",
        ),
        "expression_isoform.tsv.gz": ("transcript_id", "gene_id", "WT", "diamide"),
        "expression_gene.tsv.gz": ("gene_id",),
        "splits.tsv.gz": ("gene_id", "chrom", "family_id", "split"),
    },
    "human_regulation": {
        "sequence/contigs.fa.gz": (),
        "sequence/contigs.tsv": ("contig", "build", "chrom", "start", "end", "length"),
        "sequence/contig_genes.tsv": ("contig", "tss", "strand", "symbol", "Ensembl_ID"),
        "tracks/encode_pilot_regions_hg19.tsv": ("region", "bin_offset", "n_bins"),
        "crispri/training_K562.GRCh38.tsv.gz": ("chrom", "chromStart", "chromEnd", "Regulated"),
        "k562_chr22/genes.tsv": ("symbol", "strand", "tss", "RNA_pseudobulk_CPM"),
        "motifs/H13CORE.meme.gz": (),
        "grn/collectri.csv.gz": ("source", "target", "weight"),
        "grn/human_tfs_lambert2018.txt": (),
    },
}


@dataclass(frozen=True)
class PackInfo:
    """A pack that was found; `licence` is what its README says, in one line."""

    name: str
    path: Path
    n_files: int
    n_bytes: int
    licence: str


@dataclass(frozen=True)
class PackCheck:
    """A pack that passed: its files equal SHA256SUMS. `schema` names the known pack, None = checksums only."""

    name: str
    path: Path
    schema: str | None
    n_files: int
    n_bytes: int


def pack_places() -> list[Path]:
    """Folders in which packs are looked for, in order: `$CISOFORM_PACKS`, then the user cache."""
    named = [part for part in os.environ.get(PACKS_VARIABLE, "").split(os.pathsep) if part]
    places = [Path(part).expanduser() for part in named]
    try:
        places.append(user_cache_dir("packs"))
    except InputError:  # no cache can be written here, so nothing is in it
        pass
    return places


def list_packs() -> list[PackInfo]:
    """Every pack in the places looked at; of two with one name the first is the one that is used."""
    return [_describe(folder) for place in pack_places() for folder in _packs_in(place)]


def try_find_pack(name: str | Path) -> Path | None:
    """The folder of a pack given by folder or by name, None if there is none."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.name != str(name):  # a path, not a name
        return None
    found = [pack for place in pack_places() for pack in _packs_in(place) if pack.name == str(name)]
    return found[0] if found else None


def find_pack(name: str | Path) -> Path:
    """The folder of a pack given by folder or by name.

    Raises:
        InputError: there is none; the message lists where it was looked for.
    """
    folder = try_find_pack(name)
    if folder is None:
        looked = ", ".join(str(place) for place in pack_places()) or "no folder"
        raise InputError(
            f"no data pack {str(name)!r} (looked in {looked}); give its folder or set ${PACKS_VARIABLE}"
        )
    return folder


def check_pack(
    folder: Path, update: Callable[[float, float], None] | None = None, name: str | None = None
) -> PackCheck:
    """Compare a pack with its SHA256SUMS and, if it is a known one, with its schema.

    Args:
        folder: The pack.
        update: Called with bytes done and bytes in all.
        name: What the pack is called, where its folder does not say so.

    Raises:
        InputError: SHA256SUMS is missing or malformed; a file is missing, differs or is not listed; a known
            pack lacks a file or a column. The first problem is named and the others are counted.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a data pack")
    sums = read_checksums(folder / CHECKSUMS)
    present = {path.relative_to(folder).as_posix(): path for path in _files_of(folder)}
    problems = [f"{name}: is missing" for name in sums if name not in present]
    problems += [f"{name}: is not listed in {CHECKSUMS}" for name in present if name not in sums]
    problems += _differences(present, sums, update)
    schema = schema_name(folder, name)
    if schema is not None and not problems:
        problems += _schema_problems(folder, SCHEMAS[schema])
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise InputError(f"{name or folder}: {problems[0]}{more}; fetch the pack again")
    n_bytes = sum(present[name].stat().st_size for name in sums)
    return PackCheck(name or folder.resolve().name, folder, schema, len(sums), n_bytes)


def read_checksums(path: Path) -> dict[str, str]:
    """File name -> SHA-256, from lines `HEX  NAME`.

    Raises:
        InputError: a line of another form, a name outside the pack, or a name given twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; a data pack must hold {CHECKSUMS}")
    sums: dict[str, str] = {}
    with open_text(path, "checksums of a data pack") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line.rstrip("\n"))
            if match is None:
                raise InputError(
                    f"{path}: line {number}: {line.strip()[:80]!r} is not '<64 hex digits>  <file>'"
                )
            name = PurePosixPath(match[2])
            if name.is_absolute() or ".." in name.parts:
                raise InputError(f"{path}: line {number}: {match[2]!r} lies outside the pack")
            if str(name) in sums:
                raise InputError(f"{path}: line {number}: {match[2]!r} is listed twice")
            sums[str(name)] = match[1].lower()
    if not sums:
        raise InputError(f"{path}: lists no file")
    return sums


def schema_name(folder: Path, name: str | None = None) -> str | None:
    """Which known pack this is: by its name (that of its folder), else by the title of its README."""
    title = re.match(r"#\s*([\w-]+)", _readme(folder))
    names = [name or folder.resolve().name, title[1] if title else ""]
    return next((name for name in names if name in SCHEMAS), None)


def _differences(
    present: Mapping[str, Path], sums: Mapping[str, str], update: Callable[[float, float], None] | None
) -> list[str]:
    problems = []
    total = sum(path.stat().st_size for path in present.values())
    done = 0
    for name, expected in sums.items():
        if name not in present:
            continue
        digest = hashlib.sha256()
        with present[name].open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if update is not None:
                    update(done, total)
        if digest.hexdigest() != expected:
            problems.append(
                f"{name}: sha256 is {digest.hexdigest()[:12]}..., {CHECKSUMS} says {expected[:12]}..."
            )
    return problems


def _schema_problems(folder: Path, schema: Mapping[str, tuple[str, ...]]) -> list[str]:
    problems = []
    for name, columns in schema.items():
        if not (folder / name).is_file():
            problems.append(f"{name}: this pack must hold it")
        elif columns:
            header, has_row = _header(folder / name)
            missing = [column for column in columns if column not in header]
            if missing:
                problems.append(f"{name}: has no column {missing[0]!r}, only {', '.join(header)}")
            elif not has_row:
                problems.append(f"{name}: has a header and no row")
    return problems


def _header(path: Path) -> tuple[list[str], bool]:
    with open_text(path, "table of a data pack") as handle:
        separator = "," if ".csv" in path.suffixes else "\t"
        header = [cell.strip('"') for cell in handle.readline().rstrip("\n").split(separator)]
        return header, bool(handle.readline().strip())


def _packs_in(place: Path) -> list[Path]:
    """Packs among the folders of `place`, or `place` itself where it is one."""
    if (place / CHECKSUMS).is_file():
        return [place]
    if not place.is_dir():
        return []
    return sorted(folder for folder in place.iterdir() if (folder / CHECKSUMS).is_file())


def _files_of(folder: Path) -> list[Path]:
    """Files of a pack that SHA256SUMS must list: all but itself, the README and hidden ones."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.relative_to(folder).as_posix() not in (CHECKSUMS, "README.md")
    )


def _describe(folder: Path) -> PackInfo:
    files = _files_of(folder)
    n_bytes = sum(path.stat().st_size for path in files)
    return PackInfo(folder.resolve().name, folder, len(files), n_bytes, licence_line(_readme(folder)))


def _readme(folder: Path) -> str:
    readme = folder / "README.md"
    return readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""


def licence_line(readme: str) -> str:
    """What a README says of the licence: a line that begins with it, else the heading to read."""
    for line in readme.splitlines():
        if match := re.match(r"\W*(?:licen[cs]e|data terms)\W*:\s*(.+)", line, flags=re.IGNORECASE):
            return match[1].strip()
    for line in readme.splitlines():
        if match := re.match(r"#+\s*(.*licen[cs]e.*)", line, flags=re.IGNORECASE):
            return f"see README.md, {match[1].strip()!r}"
    return "not stated"
