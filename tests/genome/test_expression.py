from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cisoform.errors import InputError
from cisoform.genome import matrix
from cisoform.genome.expression import ExpressionTable, read_expression, read_samples

TSV = "transcript_id\tgene_id\tgene_name\tliver\tbrain\nt1\tg1\tA\t1.5\t0\nt2\tg1\tA\t\t2e3\nt3\tg2\tB\tNA\t0.25\n"


def write(tmp_path: Path, content: str, name: str = "e.tsv") -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return path


def assert_is_tsv(table: ExpressionTable) -> None:
    assert table.ids == ["t1", "t2", "t3"]
    assert table.gene_ids == ["g1", "g1", "g2"]
    assert table.columns == ["liver", "brain"]
    assert table.values.dtype == np.float32
    np.testing.assert_array_equal(table.values, [[1.5, 0], [np.nan, 2000], [np.nan, 0.25]])


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (TSV, "e.tsv"),
        (TSV, "e.tsv.gz"),
        ("\ufeff" + TSV, "bom.tsv"),
        ("# a comment\n\n" + TSV, "comment.tsv"),
        (TSV.replace("\n", "\r\n") + "\r\n\r\n", "windows.txt"),
        (TSV.replace("\t", ","), "e.csv"),
        (TSV.replace("\t", ",").replace("t1", '"t1"').replace(",A,", ',"A, B",'), "quoted.csv"),
        (TSV.rstrip("\n"), "no-last-newline.tsv"),
        ("#1.2\n3\t2\n" + TSV, "e.gct"),
        ("#1.2\n3\t2\n" + TSV, "e.gct.gz"),
    ],
)
def test_every_form_of_text_gives_the_same_table(tmp_path: Path, content: str, name: str):
    assert_is_tsv(read_expression(write(tmp_path, content, name)))


def test_parquet_gives_the_same_table_and_is_told_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(matrix, "_BLOCK_VALUES", 4)
    rows = pl.read_csv(write(tmp_path, TSV), separator="\t", null_values=["NA"])
    rows.write_parquet(tmp_path / "odd.name")
    assert_is_tsv(read_expression(tmp_path / "odd.name"))


def test_block_size_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(matrix, "_BLOCK_BYTES", 3)
    assert_is_tsv(read_expression(write(tmp_path, TSV)))


def test_tissues_choose_and_order_columns_and_spare_the_others(tmp_path: Path):
    path = write(tmp_path, TSV.replace("\t0.25", "\t0.25").replace("1.5", "text"))
    table = read_expression(path, tissues=["brain"])
    assert table.columns == ["brain"] and table.values[:, 0].tolist() == [0, 2000, 0.25]
    assert read_expression(write(tmp_path, TSV), tissues=["brain", "liver"]).columns == ["brain", "liver"]


def test_a_gene_table_has_gene_ids_as_its_ids(tmp_path: Path):
    table = read_expression(write(tmp_path, "gene_id\ta\ng1\t1\n"))
    assert table.ids == ["g1"] and table.gene_ids is None


@pytest.mark.parametrize("name", ["transcript_id", "target_id", "Name", "anything"])
def test_the_id_column_is_known_or_the_first(tmp_path: Path, name: str):
    assert read_expression(write(tmp_path, f"{name}\ta\nt1\t1\n")).ids == ["t1"]
    if name != "anything":
        table = read_expression(write(tmp_path, f"gene_id\t{name}\ta\ng1\tt1\t1\n"))
        assert (table.ids, table.gene_ids) == (["t1"], ["g1"])


def test_row_names_of_r_have_no_header(tmp_path: Path):
    table = read_expression(write(tmp_path, '"a"\t"b"\n"t1"\t1\t2\n"t2"\t3\t4\n'))
    assert (table.ids, table.columns) == (["t1", "t2"], ["a", "b"])


SAMPLES = "sample\ttissue\ns1\tliver\ns2\tbrain\ns3\tliver\ns4\tbrain\ns5\t\nelsewhere\tskin\n"
BY_SAMPLE = "transcript_id\ts1\ts2\ts3\ts4\ts5\tunknown\nt1\t1\t2\t3\t4\t9\t9\nt2\t\t5\t7\t\t9\t9\nt3\t\t0\tNA\t1\t9\t9\n"


def test_samples_are_averaged_over_what_is_there(tmp_path: Path):
    table = read_expression(write(tmp_path, BY_SAMPLE), samples=write(tmp_path, SAMPLES, "s.tsv"))
    # liver = s1, s3; brain = s2, s4; s5 has no tissue. Of t2, liver has s3 alone; of t3 it has nothing.
    assert table.columns == ["brain", "liver"]
    np.testing.assert_array_equal(table.values, [[3, 2], [5, 7], [0.5, np.nan]])
    assert table.n_samples == [2, 2]


def test_means_do_not_depend_on_the_order_of_columns_or_samples_or_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = read_expression(write(tmp_path, BY_SAMPLE), samples=write(tmp_path, SAMPLES, "s.tsv"))
    columns = pl.read_csv(tmp_path / "e.tsv", separator="\t", infer_schema=False)
    columns.select("s4", "s1", "transcript_id", "s3", "s5", "s2").write_csv(
        tmp_path / "f.tsv", separator="\t"
    )
    lines = SAMPLES.splitlines()
    samples = write(tmp_path, "\n".join([lines[0], *reversed(lines[1:])]), "r.tsv")
    monkeypatch.setattr(matrix, "_BLOCK_BYTES", 5)
    again = read_expression(tmp_path / "f.tsv", samples=samples)
    assert again.columns == expected.columns
    np.testing.assert_array_equal(again.values, expected.values)


def test_tissues_choose_among_those_of_the_samples(tmp_path: Path):
    samples = write(tmp_path, SAMPLES, "s.tsv")
    table = read_expression(write(tmp_path, BY_SAMPLE), samples=samples, tissues=["liver"])
    np.testing.assert_array_equal(table.values, [[2], [7], [np.nan]])
    with pytest.raises(InputError, match=r"s.tsv: has no tissue 'livr'; did you mean liver\?"):
        read_expression(write(tmp_path, BY_SAMPLE), samples=samples, tissues=["livr"])
    with pytest.raises(InputError, match="has no tissue 'skin'"):
        read_expression(write(tmp_path, BY_SAMPLE), samples=samples, tissues=["skin"])


def test_gtex_sample_attributes(tmp_path: Path):
    content = 'SAMPID\tSMATSSCR\tSMTS\tSMTSD\tSMPTHNTS\nGTEX-1-SM-1\t1\tBlood Vessel\tArtery\t"2 pieces, one is 1" long\n'
    assert read_samples(write(tmp_path, content)) == {"GTEX-1-SM-1": "Blood Vessel"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\tc\n1\t2\t3\n", "line 1: needs the columns 'sample' and 'tissue'"),
        ("sample\ttissue\ns1\tx\ns1\ty\n", "line 3: sample 's1' is of 'y', above of 'x'"),
        ("sample\ttissue\ns1\n", "line 2: has 1 fields"),
        ("sample\ttissue\ns1\t\n", "names no sample with a tissue"),
        ("", "is empty"),
        ("sample\ttissue\nzz\tliver\n", r"no sample \(zz\) is a column of .*e.tsv \(s1, s2, s3, \.\.\.\)"),
    ],
)
def test_bad_sample_tables(tmp_path: Path, content: str, message: str):
    samples = write(tmp_path, content, "s.tsv")
    with pytest.raises(InputError, match=f"s.tsv: .*{message}"):
        read_expression(write(tmp_path, BY_SAMPLE), samples=samples)


HEADER = "transcript_id\tliver\tbrain\n"
BAD = {
    "text": (HEADER + "t1\t1\t2\nt2\tabc\t2\n", "line 3, column 'liver': 'abc' is not a number"),
    "negative": (HEADER + "t1\t1\t2\nt2\t1\t-2\n", "line 3, column 'brain': value -2 is negative"),
    "infinite": (HEADER + "t1\tinf\t2\n", "line 2, column 'liver': value inf is infinite"),
    "zero column": (HEADER + "t1\t0\t2\nt2\t\t2\n", "column 'liver' holds only zeros"),
    "empty column": (HEADER + "t1\t\t2\nt2\tNaN\t2\n", "column 'liver' has no value at all"),
    "twice": (HEADER + "t1\t1\t2\nt2\t1\t2\nt1\t1\t2\n", "line 4: id 't1' stands already at line 2"),
    "empty id": (HEADER + "t1\t1\t2\n\t1\t2\n", "line 3: the id is empty"),
    "short line": (HEADER + "t1\t1\t2\nt2\t1\n", "line 3: has 2 fields, the header has 3"),
    "long line": (HEADER + "t1\t1\t2\nt2\t1\t2\t3\n", "line 3: has 4 fields, the header has 3"),
    "blank line": (HEADER + "t1\t1\t2\n\nt2\t1\t2\n", "line 3: has 1 fields"),
    "quoted short": (HEADER + '"t1"\t1\t2\n"t2"\t1\n', "line 3: has 2 fields"),
    "column twice": ("id\ta\ta\nt1\t1\t2\n", "column 'a' twice"),
    "no value column": ("transcript_id\tgene_id\nt1\tg1\n", "no column of values"),
    "no rows": (HEADER, "a header and no rows"),
    "one column": ("t1\nt2\n", "line 1: expected a header"),
    "empty": ("", "is empty"),
    "gct too short": ("#1.2\n3\t2\n" + HEADER + "t1\t1\t2\n", "line 2 declares 3 rows but there are 1"),
    "gct without counts": ("#1.2\n" + HEADER + "t1\t1\t2\n", "line 2: a GCT file states"),
    "not text": (HEADER + "t1\t1\t2\n\udcff\t1\t2\n", "line 3: is not UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("packed", [False, True])
def test_bad_tables_say_where(tmp_path: Path, case: str, packed: bool):
    content, message = BAD[case]
    path = tmp_path / "e.tsv"
    raw = content.encode(errors="surrogateescape")
    path.write_bytes(gzip.compress(raw) if packed and raw else raw)
    with pytest.raises(InputError, match=f"e.tsv: .*{message}") as caught:
        read_expression(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_gzip_is_named(tmp_path: Path):
    rng = np.random.default_rng(0)
    rows = "".join(f"t{i}\t{rng.random()}\t{rng.random()}\n" for i in range(2000))
    path = tmp_path / "e.tsv.gz"
    path.write_bytes(gzip.compress((HEADER + rows).encode())[:-2000])
    with pytest.raises(InputError, match="e.tsv.gz: the gzip file is truncated"):
        read_expression(path)


def test_lines_are_counted_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(matrix, "_BLOCK_BYTES", 20)
    rows = "".join(f"t{i}\t1\t2\n" for i in range(50))
    with pytest.raises(InputError, match="line 52, column 'brain': 'x'"):
        read_expression(write(tmp_path, HEADER + rows + "bad\t1\tx\n"))
    with pytest.raises(InputError, match="line 52: id 't3' stands already at line 5"):
        read_expression(write(tmp_path, HEADER + rows + "t3\t1\t1\n"))


def test_bad_parquet_and_workbooks_are_named(tmp_path: Path):
    path = tmp_path / "e.parquet"
    path.write_bytes(b"PAR1 and nonsense")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        read_expression(path)
    pl.DataFrame({"transcript_id": ["a"], "liver": ["x"]}).write_parquet(path)
    with pytest.raises(InputError, match="column 'liver' holds String"):
        read_expression(path)
    pl.DataFrame({"transcript_id": ["a", "b"], "liver": [1.0, -2.0]}).write_parquet(path)
    with pytest.raises(InputError, match="row 2, column 'liver': value -2 is negative"):
        read_expression(path)
    path.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputError, match="Excel"):
        read_expression(path)


def test_unknown_and_repeated_tissues(tmp_path: Path):
    path = write(tmp_path, TSV)
    with pytest.raises(InputError, match=r"has no tissue 'Liver'; did you mean liver\?"):
        read_expression(path, tissues=["Liver"])
    with pytest.raises(InputError, match="'liver' is asked for twice"):
        read_expression(path, tissues=["liver", "liver"])
    with pytest.raises(InputError, match="is empty"):
        read_expression(path, tissues=[])


N_GTEX_SAMPLES = 17_382


def write_gtex_slice(folder: Path, n_rows: int) -> tuple[Path, Path]:
    """GTEx v8's transcript table: all its sample columns, some of its rows."""
    names = [f"GTEX-{i:05d}-SM" for i in range(N_GTEX_SAMPLES)]
    attributes = folder / "SampleAttributesDS.txt"
    rows = [f"{name}\t1\tTissue {i % 30:02d}\tpart" for i, name in enumerate(names)]
    attributes.write_text("\n".join(["SAMPID\tSMATSSCR\tSMTS\tSMTSD", *rows]) + "\n")
    table = folder / f"tpm{n_rows}.gct.gz"
    values = "\t".join(f"{i % 30}.5" for i in range(N_GTEX_SAMPLES))
    with gzip.open(table, "wt", compresslevel=1) as out:
        out.write(
            f"#1.2\n{n_rows}\t{N_GTEX_SAMPLES}\n" + "\t".join(["transcript_id", "gene_id", *names]) + "\n"
        )
        for row in range(n_rows):
            out.write(f"ENST{row:011d}.3\tENSG{row // 4:011d}.5\t{values}\n")
    return table, attributes


PEAK = """
import sys
from cisoform.genome import matrix
from cisoform.genome.expression import read_expression
matrix._BLOCK_BYTES = 8 << 20
made = read_expression(sys.argv[1], samples=sys.argv[2])
assert len(made.columns) == 30 and made.values[-1].tolist() == [i + 0.5 for i in range(30)], made.values[-1]
print(len(made), [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory of a process is read from /proc"
)
def test_the_layout_of_gtex_is_streamed_in_bounded_memory(tmp_path: Path):
    peaks = []
    # 400 rows are four blocks of 8 MB, so that the first run has reached its plateau; 1600 are sixteen.
    for n_rows in (400, 1600):
        paths = write_gtex_slice(tmp_path, n_rows)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, paths)], check=True, capture_output=True, text=True
        )
        rows, peak_kb = map(int, done.stdout.split())
        assert rows == n_rows
        peaks.append(peak_kb / 1024)
    # All values as float32 would add 83 MB between the two, as text 100 MB; allocators wobble by 30 MB.
    assert peaks[1] - peaks[0] < 60, peaks
    assert peaks[1] < 1000, peaks
