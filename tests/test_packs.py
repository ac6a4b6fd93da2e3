from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cisoform.errors import InputError
from cisoform.packs import (
    SCHEMAS,
    check_pack,
    find_pack,
    licence_line,
    list_packs,
    read_checksums,
    try_find_pack,
)


def write_pack(folder: Path, files: dict[str, str]) -> Path:
    """A pack with these files and a true SHA256SUMS."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    write_sums(folder)
    return folder


def write_sums(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
        if path.name != "README.md"
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_pack(
        tmp_path / "packs" / "small", {"a.txt": "one", "sub/b.txt": "three", "README.md": "Licence: CC0\n"}
    )


def test_a_sound_pack_is_counted(pack: Path) -> None:
    steps: list[tuple[float, float]] = []
    check = check_pack(pack, lambda done, total: steps.append((done, total)))
    # "one" and "three": 3 + 5 bytes; the README is neither listed nor counted.
    assert (check.name, check.schema, check.n_files, check.n_bytes) == ("small", None, 2, 8)
    assert steps[-1] == (8, 8)


def test_one_changed_byte_is_found(pack: Path) -> None:
    (pack / "sub/b.txt").write_text("threE")
    with pytest.raises(InputError, match=r"small: sub/b.txt: sha256 is .*, SHA256SUMS says"):
        check_pack(pack)


def test_missing_and_unlisted_files_are_found_and_counted(pack: Path) -> None:
    (pack / "a.txt").rename(pack / "c.txt")
    with pytest.raises(InputError, match=r"a.txt: is missing \(and 1 more problems\)"):
        check_pack(pack)


def test_a_folder_without_checksums_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SHA256SUMS: no such file"):
        check_pack(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("abc  a.txt", "line 2: 'abc  a.txt' is not"),
        (f"{'0' * 64}  ../a.txt", "line 2: '../a.txt' lies outside"),
        (f"{'0' * 64}  /etc/passwd", "line 2: '/etc/passwd' lies outside"),
        (f"{'0' * 64}  a.txt", "line 2: 'a.txt' is listed twice"),
    ],
)
def test_malformed_checksums_name_the_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  a.txt\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_checksums(tmp_path / "SHA256SUMS")


def test_a_known_pack_must_hold_its_files_and_columns(tmp_path: Path) -> None:
    files = {
        name: ("\t".join(columns) + "\n" + "\t".join("x" for _ in columns) + "\n") if columns else "x"
        for name, columns in SCHEMAS["yeast"].items()
    }
    folder = write_pack(tmp_path / "yeast", files)
    assert check_pack(folder).schema == "yeast"
    (folder / "splits.tsv.gz").write_text("gene_id\tchrom\tfamily\tsplit\nx\tx\tx\tx\n")
    write_sums(folder)
    with pytest.raises(InputError, match="splits.tsv.gz: has no column 'family_id', only gene_id, chrom"):
        check_pack(folder)
    (folder / "splits.tsv.gz").unlink()
    write_sums(folder)
    with pytest.raises(InputError, match="splits.tsv.gz: this pack must hold it"):
        check_pack(folder)


def test_the_title_of_the_readme_names_a_known_pack(tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "copy", {"a.txt": "x", "README.md": "# yeast: complete genome\n"})
    with pytest.raises(InputError, match="this pack must hold it"):
        check_pack(folder)


def test_packs_are_found_by_folder_by_place_and_in_the_cache(
    pack: Path, tmp_path: Path, private_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CISOFORM_PACKS", "")
    assert find_pack(pack) == pack
    assert try_find_pack("small") is None
    monkeypatch.setenv("CISOFORM_PACKS", f"{tmp_path / 'nowhere'}:{pack.parent}")
    assert find_pack("small") == pack
    assert [(info.name, info.n_files, info.n_bytes, info.licence) for info in list_packs()] == [
        ("small", 2, 8, "CC0")
    ]
    monkeypatch.setenv("CISOFORM_PACKS", str(pack))  # the variable may name the pack itself
    assert find_pack("small") == pack
    monkeypatch.setenv("CISOFORM_PACKS", "")
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    cached = write_pack(tmp_path / "cache" / "packs" / "other", {"a": "x"})
    assert find_pack("other") == cached


def test_an_unknown_pack_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CISOFORM_PACKS", str(tmp_path))
    with pytest.raises(InputError, match=f"no data pack 'yeest' .looked in {tmp_path}"):
        find_pack("yeest")


def test_the_licence_is_a_line_or_a_heading_of_the_readme() -> None:
    assert licence_line("# x\nText\n**Licence**: MIT\n") == "MIT"
    assert licence_line("# x\n## Origin, licence, citation\n| licence |\n") == (
        "see README.md, 'Origin, licence, citation'"
    )
    assert licence_line("# x\n") == "not stated"


@pytest.mark.pack
@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_real_packs_are_judged_as_an_independent_count_judges_them(packs_dir: Path, name: str) -> None:
    folder = packs_dir / name
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    wrong = [
        file
        for digest, file in (line.split("  ", 1) for line in lines)
        if hashlib.sha256((folder / file).read_bytes()).hexdigest() != digest
    ]
    if wrong:
        with pytest.raises(InputError, match=f"{wrong[0]}: sha256 is"):
            check_pack(folder)
    else:
        assert check_pack(folder).schema == name


@pytest.mark.pack
def test_the_yeast_pack_has_the_files_and_columns_of_its_schema(yeast_pack: Path, tmp_path: Path) -> None:
    copy = tmp_path / "yeast"
    copy.mkdir()
    for path in yeast_pack.iterdir():
        if path.name != "SHA256SUMS":
            (copy / path.name).symlink_to(path)
    write_sums(copy)
    assert check_pack(copy).schema == "yeast"
