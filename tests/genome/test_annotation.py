from __future__ import annotations

import gzip
import random
from pathlib import Path

import polars as pl
import pytest

from cisoform.errors import InputError
from cisoform.genome import gff
from cisoform.genome.annotation import Annotation, read_annotation
from tests.genome import toy

GENCODE_GTF = """\
##description: evidence-based annotation
##provider: GENCODE
chr1\tHAVANA\tgene\t101\t400\t.\t-\t.\tgene_id "ENSG00000000001.5"; gene_type "protein_coding"; gene_name "ABC1"; level 2;
chr1\tHAVANA\ttranscript\t101\t400\t.\t-\t.\tgene_id "ENSG00000000001.5"; transcript_id "ENST00000000001.2"; gene_type "protein_coding"; gene_name "ABC1"; transcript_type "protein_coding"; level 2; tag "cds_end_NF"; tag "seleno";
chr1\tHAVANA\texon\t301\t400\t.\t-\t.\tgene_id "ENSG00000000001.5"; transcript_id "ENST00000000001.2"; exon_number 1;
chr1\tHAVANA\tCDS\t301\t350\t.\t-\t0\tgene_id "ENSG00000000001.5"; transcript_id "ENST00000000001.2"; exon_number 1;
chr1\tHAVANA\texon\t101\t200\t.\t-\t.\tgene_id "ENSG00000000001.5"; transcript_id "ENST00000000001.2"; exon_number 2;
chr1\tHAVANA\tCDS\t101\t200\t.\t-\t1\tgene_id "ENSG00000000001.5"; transcript_id "ENST00000000001.2"; exon_number 2;
chrY\tHAVANA\ttranscript\t11\t20\t.\t+\t.\tgene_id "ENSG00000000002.1_PAR_Y"; transcript_id "ENST00000000002.1_PAR_Y"; gene_type "lncRNA"; transcript_type "lncRNA"; level 2;
chrY\tHAVANA\texon\t11\t20\t.\t+\t.\tgene_id "ENSG00000000002.1_PAR_Y"; transcript_id "ENST00000000002.1_PAR_Y"; exon_number 1;
chrX\tHAVANA\ttranscript\t11\t20\t.\t+\t.\tgene_id "ENSG00000000002.1"; transcript_id "ENST00000000002.1"; gene_type "lncRNA"; transcript_type "lncRNA"; level 2;
chrX\tHAVANA\texon\t11\t20\t.\t+\t.\tgene_id "ENSG00000000002.1"; transcript_id "ENST00000000002.1"; exon_number 1;
"""

ENSEMBL_GFF3 = """\
##gff-version 3
1\tensembl\tchromosome\t1\t999\t.\t.\t.\tID=chromosome:1
1\tensembl\tgene\t11\t100\t.\t+\t.\tID=gene:ENSG00000000001;Name=AB%3BC;biotype=protein_coding;gene_id=ENSG00000000001
1\tensembl\tmRNA\t11\t100\t.\t+\t.\tID=transcript:ENST00000000001;Parent=gene:ENSG00000000001;biotype=protein_coding;transcript_id=ENST00000000001;version=3
1\tensembl\tfive_prime_UTR\t11\t20\t.\t+\t.\tParent=transcript:ENST00000000001
1\tensembl\texon\t11\t50\t.\t+\t.\tParent=transcript:ENST00000000001;Name=e1
1\tensembl\tCDS\t21\t50\t.\t+\t0\tID=CDS:ENSP00000000001;Parent=transcript:ENST00000000001
1\tensembl\texon\t71\t100\t.\t+\t.\tParent=transcript:ENST00000000001;Name=e2
1\tensembl\tCDS\t71\t90\t.\t+\t0\tID=CDS:ENSP00000000001;Parent=transcript:ENST00000000001
###
1\tensembl\tncRNA_gene\t201\t220\t.\t-\t.\tID=gene:ENSG00000000002;biotype=lncRNA;gene_id=ENSG00000000002
1\tensembl\tlnc_RNA\t201\t220\t.\t-\t.\tID=transcript:ENST00000000002;Parent=gene:ENSG00000000002;biotype=lncRNA;transcript_id=ENST00000000002
1\tensembl\texon\t201\t220\t.\t-\t.\tParent=transcript:ENST00000000002
"""

REFSEQ_GFF3 = """\
##gff-version 3
NC_1.1\tRefSeq\tregion\t1\t999\t.\t+\t.\tID=NC_1.1:1..999
NC_1.1\tBestRefSeq\tgene\t11\t100\t.\t-\t.\tID=gene-ABC;Name=ABC;gene=ABC;gene_biotype=protein_coding
NC_1.1\tBestRefSeq\tmRNA\t11\t100\t.\t-\t.\tID=rna-NM_1.2;Parent=gene-ABC;Name=NM_1.2;gene=ABC;transcript_id=NM_1.2
NC_1.1\tBestRefSeq\texon\t11\t100\t.\t-\t.\tID=exon-NM_1.2-1;Parent=rna-NM_1.2;gene=ABC;transcript_id=NM_1.2
NC_1.1\tBestRefSeq\tCDS\t31\t90\t.\t-\t2\tID=cds-NP_1.1;Parent=rna-NM_1.2;partial=true;end_range=90,.;transl_except=(pos:40..42%2Caa:Sec)
NC_1.1\tBestRefSeq\tgene\t211\t300\t.\t-\t.\tID=gene-ABC-2;Name=ABC;gene=ABC;gene_biotype=protein_coding
NC_1.1\tBestRefSeq\tmRNA\t211\t300\t.\t-\t.\tID=rna-NM_1.2-2;Parent=gene-ABC-2;gene=ABC;transcript_id=NM_1.2
NC_1.1\tBestRefSeq\texon\t211\t300\t.\t-\t.\tID=exon-NM_1.2-2-1;Parent=rna-NM_1.2-2;transcript_id=NM_1.2
NC_1.1\tRefSeq\tgene\t401\t460\t.\t+\t.\tID=gene-ND1;Name=ND1;gene=ND1;gene_biotype=protein_coding
NC_1.1\tRefSeq\tCDS\t401\t460\t.\t+\t0\tID=cds-YP_1;Parent=gene-ND1;gene=ND1
"""

SGD_GFF3 = """\
##gff-version 3
chrI\tSGD\tgene\t11\t100\t.\t+\t.\tID=YAL1;Name=YAL1;gene=XYZ1
chrI\tSGD\tCDS\t21\t40\t.\t+\t0\tParent=YAL1_mRNA;Name=YAL1_CDS
chrI\tSGD\tCDS\t61\t90\t.\t+\t1\tParent=YAL1_mRNA;Name=YAL1_CDS
chrI\tSGD\tfive_prime_UTR\t11\t20\t.\t+\t.\tParent=YAL1_mRNA
chrI\tSGD\tmRNA\t11\t100\t.\t+\t.\tID=YAL1_mRNA;Name=YAL1_mRNA;Parent=YAL1
##FASTA
>chrI
ACGT
"""

REFSEQ_GTF = """\
NC_1.1\tBestRefSeq\tgene\t11\t100\t.\t+\t.\tgene_id "ABC"; transcript_id ""; gene "ABC"; gene_biotype "protein_coding";
NC_1.1\tBestRefSeq\ttranscript\t11\t100\t.\t+\t.\tgene_id "ABC"; transcript_id "NM_1.2"; gene "ABC"; product "a; gene \\"x"; transcript_biotype "mRNA";
NC_1.1\tBestRefSeq\texon\t11\t100\t.\t+\t.\tgene_id "ABC"; transcript_id "NM_1.2"; gene "ABC"; exon_number "1";
NC_1.1\tBestRefSeq\tCDS\t31\t87\t.\t+\t0\tgene_id "ABC"; transcript_id "NM_1.2"; gene "ABC"; protein_id "NP_1.1";
NC_1.1\tBestRefSeq\tstop_codon\t88\t90\t.\t+\t0\tgene_id "ABC"; transcript_id "NM_1.2"; gene "ABC";
"""


def read(tmp_path: Path, content: str, name: str = "a.gtf") -> Annotation:
    path = tmp_path / name
    path.write_text(content)
    return read_annotation(path)


def exons(annotation: Annotation, row: int) -> list[tuple[int, int]]:
    here = slice(annotation.exon_offsets[row], annotation.exon_offsets[row + 1])
    return list(zip(annotation.exon_starts[here].tolist(), annotation.exon_ends[here].tolist(), strict=True))


def test_gencode_gtf(tmp_path: Path):
    annotation = read(tmp_path, GENCODE_GTF)
    assert annotation.transcripts.row(0, named=True) == {
        "transcript_id": "ENST00000000001.2",
        "gene_id": "ENSG00000000001.5",
        "gene_name": "ABC1",
        "biotype": "protein_coding",
        "chrom": "chr1",
        "strand": "-",
        "start": 100,
        "end": 400,
        "cds_start": 100,
        "cds_end": 350,
        "cds_phase": 0,
        "incomplete_5": False,
        "incomplete_3": True,
        "selenocysteine": True,
        "has_stop_codon": False,
        "line": 4,
    }
    # Transcribed order: on the minus strand the right-most exon comes first.
    assert exons(annotation, 0) == [(300, 400), (100, 200)]
    assert annotation.transcripts["cds_start"].to_list() == [100, -1, -1]


def test_par_y_ids_stay_distinct_and_a_gene_without_name_goes_by_its_id(tmp_path: Path):
    table = read(tmp_path, GENCODE_GTF).transcripts
    assert table["transcript_id"].to_list()[1:] == ["ENST00000000002.1_PAR_Y", "ENST00000000002.1"]
    assert table["gene_name"].to_list()[1:] == ["ENSG00000000002.1_PAR_Y", "ENSG00000000002.1"]


def test_ensembl_gff3(tmp_path: Path):
    annotation = read(tmp_path, ENSEMBL_GFF3, "a.gff3")
    table = annotation.transcripts
    assert table["transcript_id"].to_list() == ["ENST00000000001", "ENST00000000002"]
    assert table["gene_id"].to_list() == ["ENSG00000000001", "ENSG00000000002"]
    assert table["gene_name"].to_list() == ["AB;C", "ENSG00000000002"]
    assert table["biotype"].to_list() == ["protein_coding", "lncRNA"]
    assert exons(annotation, 0) == [(10, 50), (70, 100)]
    # GFF3 counts the stop codon as CDS.
    assert table.select("cds_start", "cds_end").row(0) == (20, 90)


def test_refseq_gff3(tmp_path: Path):
    annotation = read(tmp_path, REFSEQ_GFF3, "a.gff")
    table = annotation.transcripts
    # The second placement of NM_1.2 goes by its ID; a gene with a CDS of its own is its transcript.
    assert table["transcript_id"].to_list() == ["NM_1.2", "NM_1.2-2", "ND1"]
    assert table["gene_id"].to_list() == ["ABC", "ABC-2", "ND1"]
    assert table["gene_name"].to_list() == ["ABC", "ABC", "ND1"]
    assert table["biotype"].to_list() == ["protein_coding"] * 3
    # end_range on the minus strand: the CDS begins before the transcript does.
    flags = table.select("incomplete_5", "incomplete_3", "selenocysteine", "cds_phase").row(0)
    assert flags == (True, False, True, 2)
    assert exons(annotation, 2) == [(400, 460)]


def test_sgd_gff3_has_exons_made_from_cds_and_utr_and_ends_at_its_sequence(tmp_path: Path):
    annotation = read(tmp_path, SGD_GFF3, "a.gff")
    assert annotation.transcripts.select("transcript_id", "gene_id", "gene_name").row(0) == (
        "YAL1_mRNA",
        "YAL1",
        "XYZ1",
    )
    assert exons(annotation, 0) == [(10, 40), (60, 90)]
    assert annotation.transcripts.select("cds_start", "cds_end").row(0) == (20, 90)


def test_refseq_gtf(tmp_path: Path):
    table = read(tmp_path, REFSEQ_GTF).transcripts
    expected = ("NM_1.2", "ABC", "ABC", "protein_coding", 30, 90, True)
    columns = ("transcript_id", "gene_id", "gene_name", "biotype", "cds_start", "cds_end", "has_stop_codon")
    assert table.select(columns).row(0) == expected


def test_a_part_with_several_parents_belongs_to_each(tmp_path: Path):
    content = (
        "##gff-version 3\n"
        "1\tx\tmRNA\t1\t90\t.\t+\t.\tID=a;Parent=g\n"
        "1\tx\tmRNA\t1\t50\t.\t+\t.\tID=b;Parent=g\n"
        "1\tx\texon\t1\t50\t.\t+\t.\tParent=a,b\n"
        "1\tx\texon\t61\t90\t.\t+\t.\tParent=a\n"
    )
    annotation = read(tmp_path, content)
    assert exons(annotation, 0) == [(0, 50), (60, 90)]
    assert exons(annotation, 1) == [(0, 50)]


def test_transcripts_without_own_line_are_taken_from_their_parts(tmp_path: Path):
    whole = read(tmp_path, GENCODE_GTF)
    lines = [line for line in GENCODE_GTF.splitlines(keepends=True) if "\ttranscript\t" not in line]
    bare = read(tmp_path, "".join(lines))
    columns = ["transcript_id", "gene_id", "chrom", "start", "end", "cds_start", "cds_end"]
    assert bare.transcripts.select(columns).equals(whole.transcripts.select(columns))
    assert (bare.exon_starts == whole.exon_starts).all()


def test_random_annotations_come_back_whatever_the_order_of_lines_and_the_block_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rng = random.Random(3)
    genome = toy.random_genome(rng, {"1": 300, "2": 170})
    transcripts = toy.random_transcripts(rng, genome, 61)
    straight = read_annotation(toy.write_gtf(tmp_path / "a.gtf", transcripts))
    for row, transcript in enumerate(transcripts):
        ascending = exons(straight, row)[:: 1 if transcript.strand == "+" else -1]
        assert ascending == transcript.exons
        if transcript.cds is not None:
            parts = transcript.genomic_parts(*transcript.cds)
            found = straight.transcripts.select("cds_start", "cds_end").row(row)
            assert found == (parts[0][0], parts[-1][1])

    lines = (tmp_path / "a.gtf").read_text().splitlines()[1:]
    rng.shuffle(lines)
    monkeypatch.setattr(gff, "_BLOCK_BYTES", 700)
    shuffled = tmp_path / "b.gtf.gz"
    shuffled.write_bytes(gzip.compress(("\r\n".join(lines) + "\r\n\r\n").encode()))
    again = read_annotation(shuffled)
    key = straight.transcripts["transcript_id"].to_list()
    order = [again.transcripts["transcript_id"].to_list().index(name) for name in key]
    same = again.take(pl.Series(order).to_numpy())
    columns = [name for name in straight.transcripts.columns if name != "line"]
    assert same.transcripts.select(columns).equals(straight.transcripts.select(columns))
    assert (same.exon_starts == straight.exon_starts).all() and (same.exon_ends == straight.exon_ends).all()


def line(
    feature: str = "exon", start: int | str = 1, end: int | str = 9, strand: str = "+", name: str = "t"
) -> str:
    return toy.gtf_line("1", feature, start, end, strand, f'gene_id "g"; transcript_id "{name}";') + "\n"  # type: ignore[arg-type]


BAD_LINES = {
    "few columns": (line() + "1\tx\texon\t1\n", "line 2: 4 tab-separated columns instead of 9"),
    "spaces": (line() + line().replace("\t", " "), "line 2: 1 tab-separated columns"),
    "many columns": (line() + line().strip() + "\tmore\n", "line 2: 10 tab-separated"),
    "text position": (line() + line(start="x1"), "line 2: start 'x1' is not a position"),
    "zero position": (line() + line(start=0), "line 2: start '0' is not a position"),
    "negative position": (line(end=-4), "line 1: end '-4' is not a position"),
    "end before start": ("#c\n" + line() + line(start=9, end=3), "line 3: end 3 lies before start 9"),
    "no transcript id": (
        line() + line().replace("transcript_id", "xx"),
        "line 2: exon without a transcript_id",
    ),
    "twice": (
        line("transcript") + line() + line("transcript"),
        "line 3: transcript id 't' stands already at line 1",
    ),
    "two chromosomes": (
        line("transcript") + line().replace("1\t", "2\t", 1),
        "line 2: a part of transcript 't' lies on '2'",
    ),
    "overlap": (line() + line(start=5, end=20), "line 1: transcript 't': exons overlap; 1 of 1"),
    "both strands": (line() + line(start=15, end=20, strand="-"), "'t': parts on both strands"),
    "no strand": (line(strand="."), "'t': no strand"),
    "cds outside": (line() + line("CDS", 15, 20), "'t': CDS lies outside the exons"),
    "no exon": (line() + line("transcript", name="u"), "line 2: transcript 'u': no exon; 1 of 2"),
    "nothing": ("#only\n#comments\n", "no exon or CDS line"),
    "genes only": (line("gene"), "no exon or CDS line"),
    "other attributes": ("1\tx\texon\t1\t9\t.\t+\t.\tsome words here\n", "line 1: attributes are of neither"),
    "binary": ("1\tx\texon\t1\t9\t.\t+\t.\t\udcff\n", "line 1: is not UTF-8"),
    "gff3 twice": (
        "1\tx\tmRNA\t1\t9\t.\t+\t.\tID=a\n1\tx\texon\t1\t9\t.\t+\t.\tParent=a\n1\tx\tmRNA\t1\t9\t.\t+\t.\tID=a\n",
        "line 3: transcript id 'a' stands already at line 1",
    ),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_annotations_say_where(tmp_path: Path, case: str):
    content, message = BAD_LINES[case]
    path = tmp_path / "bad.gtf"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=f"bad.gtf: .*{message}") as caught:
        read_annotation(path)
    assert "\n" not in str(caught.value)


def test_line_numbers_count_comments_and_earlier_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gff, "_BLOCK_BYTES", 150)
    content = "".join(f"# {i}\n" + line(name=f"t{i}") for i in range(20)) + line(start="x")
    with pytest.raises(InputError, match="line 41: start 'x'"):
        read(tmp_path, content)
    table = read(tmp_path, content[: content.rindex("1\ttest")]).transcripts
    assert table["line"].to_list() == list(range(2, 41, 2))


def test_a_few_odd_transcripts_are_left_out_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    content = (
        "".join(line(name=f"t{i}") for i in range(40)) + line(name="odd") + line(name="odd", start=5, end=20)
    )
    annotation = read(tmp_path, content)
    assert len(annotation) == 40
    assert annotation.dropped.rows() == [("odd", 41, "exons overlap")]
    assert "1 of 41 transcripts cannot be spliced" in caplog.text
