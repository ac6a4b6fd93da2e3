"""Cut sites of fragments: both ends, wanted cells only, and every kind of damage."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cisoform.errors import InputError
from cisoform.genome import fragments
from cisoform.genome.fragments import FragmentScan

CHROMS = {"chr1": 10_000, "chr2": 8_000}
CELLS = ["AAAC-1", "CCCT-1", "GGGA-1"]
ROWS = [
    ("chr1", 10, 200, "AAAC-1"),
    ("chr1", 20, 21, "TTTT-1"),
    ("chr1", 150, 400, "GGGA-1"),
    ("chr2", 5, 8000, "AAAC-1"),
]


def write(path: Path, rows: list[tuple[str, int, int, str]], end: str = "\n", columns: int = 5) -> Path:
    lines = ["\t".join([*map(str, row), "3"][:columns]) + end for row in rows]
    path.write_bytes(gzip.compress(("# comment\n" + "".join(lines)).encode()))
    return path


def cuts(path: Path, cells: list[str] = CELLS) -> tuple[Counter[tuple[int, int, int]], FragmentScan]:
    scan = FragmentScan(path, cells, CHROMS)
    found: Counter[tuple[int, int, int]] = Counter()
    for block in scan.blocks():
        found.update(zip(block.cell.tolist(), block.chrom.tolist(), block.position.tolist(), strict=True))
    return found, scan


EXPECTED = Counter([(0, 0, 10), (0, 0, 199), (2, 0, 150), (2, 0, 399), (0, 1, 5), (0, 1, 7999)])


@pytest.mark.parametrize("columns", [4, 5])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_both_ends_are_cuts_whatever_the_line_ends(tmp_path: Path, end: str, columns: int):
    found, scan = cuts(write(tmp_path / "f.tsv.gz", ROWS, end, columns))
    assert found == EXPECTED
    assert scan.per_cell.tolist() == [2, 0, 1] and scan.n_fragments == 4
    assert "3 of 4 fragments are of 2 of 3 cells, barcodes taken as they are" in scan.check()


def test_order_index_and_block_size_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(1)
    rows = [(f"chr{1 + i % 2}", s := int(rng.integers(0, 7000)), s + 50, CELLS[i % 3]) for i in range(300)]
    whole, _ = cuts(write(tmp_path / "a.tsv.gz", sorted(rows)))
    monkeypatch.setattr(fragments, "_BLOCK_BYTES", 101)
    assert cuts(write(tmp_path / "b.tsv.gz", rows))[0] == whole


def test_barcodes_without_gem_group_and_chromosomes_without_chr(tmp_path: Path):
    rows = [(chrom[3:], start, end, barcode[:4]) for chrom, start, end, barcode in ROWS] + [
        ("GL1", 5, 9, "AAAC")
    ]
    found, scan = cuts(write(tmp_path / "f.tsv.gz", rows))
    assert found == EXPECTED
    assert "without -1" in scan.check() and "1 on chromosomes not in the genome (GL1)" in scan.check()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("chr1\t5\n", "line 3: 'chr1.*has 2 tab-separated columns"),
        ("chr1\tx\t9\tAAAC-1\t1\n", "line 3: position 'x' is not a whole number"),
        ("chr1\t9\t5\tAAAC-1\t1\n", "line 3: fragment chr1:9-5 ends before it starts"),
        ("chr1\t-3\t5\tAAAC-1\t1\n", "line 3: fragment chr1:-3-5"),
        (
            "chr1\t9990\t10001\tAAAC-1\t1\n",
            r"line 3: fragment chr1:9990-10001 lies beyond .*\(10,000 bases\)",
        ),
        ("chr1\t5\t9\t\t1\n", "line 3: has no barcode"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: str, message: str):
    path = tmp_path / "f.tsv.gz"
    path.write_bytes(
        gzip.compress(f"# comment\nchr1\t1\t9\tAAAC-1\t1\n{row}chr2\t1\t9\tAAAC-1\t1\n".encode())
    )
    with pytest.raises(InputError, match=message):
        cuts(path)


def test_truncated_gzip_and_bgzip_are_told(tmp_path: Path):
    import pysam

    path = write(tmp_path / "f.tsv.gz", [("chr1", i, i + 20, "AAAC-1") for i in range(3000)])
    (tmp_path / "cut.tsv.gz").write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match="truncated"):
        cuts(tmp_path / "cut.tsv.gz")
    plain = tmp_path / "p.tsv"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    pysam.tabix_compress(str(plain), str(tmp_path / "b.tsv.gz"))
    assert sum(cuts(tmp_path / "b.tsv.gz")[0].values()) == 6000
    (tmp_path / "c.tsv.gz").write_bytes((tmp_path / "b.tsv.gz").read_bytes()[:-28])
    with pytest.raises(InputError, match="bgzip end marker is missing"):
        cuts(tmp_path / "c.tsv.gz")


def test_other_cells_and_other_assemblies_are_refused(tmp_path: Path):
    path = write(tmp_path / "f.tsv.gz", ROWS)
    _, scan = cuts(path, ["TTTA-1", "TTTC-1", "TTTG-1", "AAAC-1"])
    with pytest.raises(InputError, match=r"only 33% of the barcodes agree.*AAAC-1, TTTT-1, GGGA-1.*TTTA-1"):
        scan.check()
    scan = FragmentScan(write(tmp_path / "g.tsv.gz", [("scaffold_1", 1, 5, "AAAC-1")]), CELLS, CHROMS)
    list(scan.blocks())
    with pytest.raises(InputError, match=r"no chromosome of the fragments \(scaffold_1\)"):
        scan.check()


@pytest.mark.pack
def test_real_fragments_of_a_whitelist(packs_dir: Path):
    from cisoform.genome.multiome import read_h5ad

    folder = packs_dir / "human_regulation" / "multiome"
    rna = read_h5ad(folder / "k562_rna_1000cells_chr22_tfs.h5ad", "rna")
    path = folder / "k562_chr22p_atac_fragments.tsv.gz"
    scan = FragmentScan(path, rna.cells, {"chr22": 50_818_468})
    found = Counter(position for block in scan.blocks() for position in block.position.tolist())
    assert scan.n_fragments == scan.n_kept == 4445
    slow: Counter[int] = Counter()
    for line in gzip.open(path, "rt"):
        _, start, end, *_ = line.split("\t")
        slow.update((int(start), int(end) - 1))
    assert found == slow
    assert "480 of 1,000 cells" in scan.check()
