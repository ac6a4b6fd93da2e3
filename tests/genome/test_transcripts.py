from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from cisoform.errors import InputError
from cisoform.genome import coding, splice
from cisoform.genome import transcripts as made_by
from cisoform.genome.annotation import read_annotation
from cisoform.genome.fasta import Genome
from cisoform.genome.sequence import decode_dna, decode_protein
from cisoform.genome.transcripts import TranscriptSet, build_transcripts
from tests.genome import toy


def build(
    folder: Path, genome: dict[str, str], transcripts: list[toy.Transcript], **options: object
) -> TranscriptSet:
    fasta = toy.write_fasta(folder / "g.fa", genome)
    gtf = toy.write_gtf(folder / "a.gtf", transcripts)
    options = {"check": False, **options}
    return build_transcripts(read_annotation(gtf), Genome.open(fasta), **options)  # type: ignore[arg-type]


def protein(made: TranscriptSet, row: int) -> str | None:
    number = int(made.protein_row[row])
    return None if number < 0 else decode_protein(made.protein[number])


def assert_as_spliced_slowly(
    made: TranscriptSet, genome: dict[str, str], transcripts: list[toy.Transcript]
) -> None:
    for row, transcript in enumerate(transcripts):
        values = made.table.row(row, named=True)
        rna = transcript.rna(genome)
        assert decode_dna(made.rna[row]) == rna
        start, end = transcript.exons[0][0], transcript.exons[-1][1]
        ends = (start, end - 1) if transcript.strand == "+" else (end - 1, start)
        assert (values["tss"], values["tes"], values["start"], values["end"]) == (*ends, start, end)
        sizes = [high - low for low, high in transcript.exons][:: 1 if transcript.strand == "+" else -1]
        assert made.junctions[row].tolist() == np.cumsum(sizes)[:-1].tolist()
        assert (values["rna_len"], values["n_exons"]) == (len(rna), len(sizes))
        if transcript.cds is None:
            assert (values["cds_start"], values["cds_end"], values["flags"], protein(made, row)) == (
                -1,
                -1,
                0,
                None,
            )
            assert (values["utr5_len"], values["cds_len"], values["utr3_len"]) == (0, 0, 0)
            continue
        low, high = transcript.cds
        assert (values["cds_start"], values["cds_end"]) == (low, high)
        assert (values["utr5_len"], values["cds_len"], values["utr3_len"]) == (
            low,
            high - low,
            len(rna) - high,
        )
        residues = toy.translate(rna[low:high])
        flags = 0
        if rna[low : low + 3] not in ("ATG", "CTG", "TTG"):
            flags |= made_by.FLAG_NO_START
        if residues[-1] != "*":
            flags |= made_by.FLAG_NO_STOP
        if "*" in residues[:-1]:
            flags |= made_by.FLAG_INTERNAL_STOP
        assert values["flags"] == flags
        if rna[low : low + 3] in ("CTG", "TTG"):
            residues = "M" + residues[1:]
        assert (protein(made, row) or "") == residues.split("*")[0]


@pytest.mark.parametrize("block", [1, 50, 1 << 20])
def test_random_transcripts_agree_with_splicing_letter_by_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
):
    monkeypatch.setattr(splice, "_BLOCK_BASES", block)
    monkeypatch.setattr(coding, "_BLOCK_CODONS", max(1, block // 10))
    rng = random.Random(7)
    genome = toy.random_genome(rng, {"1": 211, "2": 97, "3": 31})
    transcripts = toy.random_transcripts(rng, genome, 83)
    assert_as_spliced_slowly(build(tmp_path, genome, transcripts), genome, transcripts)


def test_distinct_proteins_are_kept_once(tmp_path: Path):
    rng = random.Random(7)
    genome = toy.random_genome(rng, {"1": 60})
    transcripts = toy.random_transcripts(rng, genome, 200)
    made = build(tmp_path, genome, transcripts)
    texts = [decode_protein(made.protein[row]) for row in range(len(made.protein))]
    assert len(set(texts)) == len(texts) < (made.protein_row >= 0).sum()
    assert made.report["proteins"] == len(texts)


#         0         1         2         3
#         0123456789012345678901234567890123456
HAND = "GGATGAAATGAGTCCAGTTTTGACCTTAACCCCCATGG"


def test_a_case_worked_by_hand_on_both_strands(tmp_path: Path):
    # Exons [0, 11) and [18, 29): the CDS from 2 is ATG AAA TGA, the exon after it UTR.
    plus = toy.Transcript("p", "1", "+", [(0, 11), (18, 29)], cds=(2, 11))
    # The minus strand of TGACCTTAACCCCCATGG read backwards.
    minus = toy.Transcript("m", "1", "-", [(20, 38)])
    made = build(tmp_path, {"1": HAND}, [plus, minus])
    assert decode_dna(made.rna[0]) == "GGATGAAATGA" + "TTTGACCTTAA"
    assert protein(made, 0) == "MK"
    assert made.junctions[0].tolist() == [11]
    assert decode_dna(made.rna[1]) == "CCATGGGGGTTAAGGTCA"
    assert made.table["tss"].to_list() == [0, 37]
    assert made.table["tes"].to_list() == [28, 20]


def test_a_selenoprotein_reads_u_and_is_flagged(tmp_path: Path):
    transcript = toy.Transcript("t", "1", "+", [(0, 15)], cds=(0, 15), tags=["seleno"])
    made = build(tmp_path, {"1": "ATGTGAAAATTTTGA"}, [transcript])
    assert protein(made, 0) == "MUKF"
    assert made.table["flags"].to_list() == [made_by.FLAG_SELENOCYSTEINE]


def test_incomplete_ends_are_flagged_and_kept_and_not_held_against_the_assembly(tmp_path: Path):
    genome = {"1": "CCTTGAAACCCTT"}
    open_5 = toy.Transcript("a", "1", "+", [(0, 13)], cds=(0, 6), tags=["cds_start_NF"])
    open_3 = toy.Transcript("b", "1", "+", [(0, 13)], cds=(2, 13), tags=["cds_end_NF"])
    made = build(tmp_path, genome, [open_5, open_3])
    assert made.table["flags"].to_list() == [
        made_by.FLAG_INCOMPLETE_5,
        made_by.FLAG_INCOMPLETE_3,
    ]
    # CCT TGA: P, then the stop. TTG AAA CCC TT: TTG reads M as a start, and the last two bases make no codon.
    assert [protein(made, 0), protein(made, 1)] == ["P", "MKP"]
    assert made.assembly.n_cds == 0


def write(tmp_path: Path, genome: dict[str, str], lines: list[str]) -> TranscriptSet:
    (tmp_path / "a.gtf").write_text("\n".join(lines) + "\n")
    fasta = toy.write_fasta(tmp_path / "g.fa", genome)
    return build_transcripts(read_annotation(tmp_path / "a.gtf"), Genome.open(fasta), check=False)


def test_the_frame_of_the_first_cds_line_is_skipped(tmp_path: Path):
    words = 'gene_id "g"; transcript_id "t"; tag "cds_start_NF";'
    lines = [
        toy.gtf_line("1", "exon", 1, 14, "+", words),
        toy.gtf_line("1", "CDS", 1, 11, "+", words, "2"),
        toy.gtf_line("1", "stop_codon", 12, 14, "+", words, "0"),
    ]
    made = write(tmp_path, {"1": "CCAAATTTGGGTAA"}, lines)
    assert protein(made, 0) == "KFG"
    assert made.table.select("cds_start", "cds_end", "cds_phase", "flags").row(0) == (
        0,
        14,
        2,
        made_by.FLAG_INCOMPLETE_5,
    )


@pytest.mark.parametrize("included", [True, False])
def test_without_stop_codon_lines_the_sequence_tells_where_the_cds_ends(tmp_path: Path, included: bool):
    words = 'gene_id "g"; transcript_id "t";'
    end = 9 if included else 6
    lines = [toy.gtf_line("1", "exon", 1, 12, "+", words), toy.gtf_line("1", "CDS", 1, end, "+", words, "0")]
    made = write(tmp_path, {"1": "ATGAAATAATAA"}, lines)
    assert made.table.select("cds_end", "utr3_len", "flags").row(0) == (9, 3, 0)
    assert protein(made, 0) == "MK"


def test_a_cds_that_is_no_whole_number_of_codons_is_flagged(tmp_path: Path):
    words = 'gene_id "g"; transcript_id "t";'
    lines = [toy.gtf_line("1", "exon", 1, 12, "+", words), toy.gtf_line("1", "CDS", 1, 8, "+", words, "0")]
    made = write(tmp_path, {"1": "ATGAAATAATAA"}, lines)
    assert made.table["flags"].to_list() == [made_by.FLAG_OUT_OF_FRAME | made_by.FLAG_NO_STOP]
    assert made.report["out_of_frame"] == 1


def test_a_cds_without_a_whole_codon_has_no_protein(tmp_path: Path):
    words = 'gene_id "g"; transcript_id "t";'
    lines = [toy.gtf_line("1", "exon", 1, 12, "+", words), toy.gtf_line("1", "CDS", 1, 2, "+", words, "0")]
    made = write(tmp_path, {"1": "ATGAAATAATAA"}, lines)
    assert protein(made, 0) is None and len(made.protein) == 0


def test_the_mitochondrion_has_its_own_code_and_more_can_be_given(tmp_path: Path):
    sequence = "ATATGAAAATAA"  # Standard: I, stop. Vertebrate mitochondrion: M W K stop.
    transcripts = [
        toy.Transcript(name, name, "+", [(0, 12)], cds=(0, 12)) for name in ("chrM", "chr1", "chr2")
    ]
    made = build(
        tmp_path, dict.fromkeys(("chrM", "chr1", "chr2"), sequence), transcripts, chrom_tables={"chr2": 2}
    )
    assert [protein(made, row) for row in range(3)] == ["MWK", "I", "MWK"]
    assert made.table["flags"].to_list() == [0, made_by.FLAG_NO_START | made_by.FLAG_INTERNAL_STOP, 0]


def test_chromosomes_may_be_named_differently(tmp_path: Path):
    transcripts = [toy.Transcript("a", "1", "+", [(0, 5)]), toy.Transcript("b", "MT", "+", [(0, 5)])]
    made = build(tmp_path, {"chr1": "ACGTACGT", "chrM": "TTTTTTTT"}, transcripts)
    assert made.table["chrom"].to_list() == ["chr1", "chrM"]
    assert "1->chr1" in made.chromosomes.text


def test_transcripts_of_missing_chromosomes_are_left_out_and_listed(tmp_path: Path):
    transcripts = [toy.Transcript(f"t{i}", "1", "+", [(0, 5)]) for i in range(3)] + [
        toy.Transcript("u", "x", "+", [(0, 5)])
    ]
    made = build(tmp_path, {"1": "ACGTACGT"}, transcripts)
    assert made.table["transcript_id"].to_list() == ["t0", "t1", "t2"]
    assert made.dropped.select("transcript_id", "reason").row(0) == ("u", "chromosome x is not in the genome")


def test_most_chromosomes_missing_is_an_error(tmp_path: Path):
    transcripts = [toy.Transcript(f"t{i}", f"x{i}", "+", [(0, 5)]) for i in range(3)] + [
        toy.Transcript("u", "1", "+", [(0, 5)])
    ]
    with pytest.raises(
        InputError, match=r"3 of 4 transcripts lie on chromosomes that the genome lacks \(x0, x1, x2\)"
    ):
        build(tmp_path, {"1": "ACGTACGT"}, transcripts)


def test_a_transcript_past_the_end_names_line_and_lengths(tmp_path: Path):
    transcripts = [
        toy.Transcript("ok", "1", "+", [(0, 8)]),
        toy.Transcript("far", "1", "+", [(0, 2), (4, 9)]),
    ]
    with pytest.raises(
        InputError, match=r"a.gtf: line 4: transcript 'far' ends at 9 but 1 of .*g.fa has 8 bases"
    ):
        build(tmp_path, {"1": "ACGTACGT"}, transcripts)


def test_an_unknown_genetic_code_is_refused(tmp_path: Path):
    transcripts = [toy.Transcript("a", "1", "+", [(0, 9)], cds=(0, 9))]
    with pytest.raises(InputError, match="genetic code 99"):
        build(tmp_path, {"1": "ATGACGTAA"}, transcripts, code_table=99)


def planted(rng: random.Random, n: int) -> tuple[dict[str, str], list[toy.Transcript]]:
    """A genome of real genes: start codon, no stop inside, stop codon at the end."""
    sense = [codon for codon, amino_acid in toy.CODONS.items() if amino_acid != "*"]
    text, transcripts = "", []
    for number in range(n):
        leader = "".join(rng.choices("ACGT", k=20))
        frame = "ATG" + "".join(rng.choices(sense, k=60)) + "TGA"
        start = len(text)
        text += leader + frame
        transcripts.append(
            toy.Transcript(f"t{number}", "1", "+", [(start, len(text))], cds=(20, 20 + len(frame)))
        )
    return {"1": text}, transcripts


def test_the_right_assembly_passes_and_another_fails_with_the_share(tmp_path: Path):
    genome, transcripts = planted(random.Random(0), 40)
    made = build(tmp_path, genome, transcripts, check=True)
    assert made.assembly == made_by.AssemblyCheck(40, 1.0, 1.0, 1.0, 0, 1.0)
    other = {"1": "A" + genome["1"]}
    with pytest.raises(
        InputError, match=r"only \d+\.\d% of 40 complete CDS begin with a start codon .* different assemblies"
    ):
        build(tmp_path, other, transcripts, check=True)


def test_a_few_bad_cds_are_flagged_and_kept(tmp_path: Path):
    genome, transcripts = planted(random.Random(0), 40)
    letters = list(genome["1"])
    for transcript in transcripts[:5]:
        letters[transcript.exons[0][0] + 20] = "G"
    made = build(tmp_path, {"1": "".join(letters)}, transcripts, check=True)
    assert made.report["no_start"] == 5
    assert (made.table["flags"].to_numpy()[:5] == made_by.FLAG_NO_START).all()


def test_the_wrong_genetic_code_fails_the_check(tmp_path: Path):
    # TAA and TAG read Q in code 6: planted genes that use them stop everywhere in the standard code.
    rng = random.Random(1)
    genome, transcripts = {"1": ""}, []
    for number in range(30):
        start = len(genome["1"])
        genome["1"] += "ATG" + "".join(rng.choices(["TAA", "TAG", "GCT"], k=30)) + "TGA"
        transcripts.append(toy.Transcript(f"t{number}", "1", "+", [(start, start + 96)], cds=(0, 96)))
    made = build(tmp_path, genome, transcripts, check=True, code_table=6)
    assert protein(made, 0) is not None and made.report["internal_stop"] == 0
    with pytest.raises(
        InputError, match=r"only 0.0% of 30 complete CDS have no internal stop codon .* genetic code 1"
    ):
        build(tmp_path, genome, transcripts, check=True)


def test_one_odd_cds_among_few_passes_but_a_majority_does_not(tmp_path: Path):
    genome, transcripts = planted(random.Random(0), 3)
    for n_bad, passes in ((1, True), (2, False)):
        letters = list(genome["1"])
        for transcript in transcripts[:n_bad]:
            letters[transcript.exons[0][0] + 20] = "G"
        if passes:
            build(tmp_path, {"1": "".join(letters)}, transcripts, check=True)
        else:
            with pytest.raises(InputError, match=r"only 33.3% of 3 complete CDS begin"):
                build(tmp_path, {"1": "".join(letters)}, transcripts, check=True)


def test_an_annotation_without_cds_is_checked_by_its_introns(tmp_path: Path):
    rng = random.Random(2)
    text, transcripts = "", []
    for number in range(60):
        start = len(text)
        text += (
            "".join(rng.choices("ACGT", k=10)) + "GT" + "".join(rng.choices("ACGT", k=8)) + "AG" + "A" * 10
        )
        transcripts.append(
            toy.Transcript(f"t{number}", "1", "+", [(start, start + 10), (start + 22, start + 32)])
        )
    made = build(tmp_path, {"1": text}, transcripts, check=True)
    assert (made.assembly.n_introns, made.assembly.canonical_introns) == (60, 1.0)
    # The same on the minus strand of the reversed genome.
    length = len(text)
    flipped = [
        toy.Transcript(t.name, "1", "-", [(length - high, length - low) for low, high in reversed(t.exons)])
        for t in transcripts
    ]
    made = build(tmp_path, {"1": toy.reverse_complement(text)}, flipped, check=True)
    assert made.assembly.canonical_introns == 1.0
    with pytest.raises(InputError, match=r"% of 60 introns begin GT or GC"):
        build(tmp_path, {"1": "C" + text}, transcripts, check=True)
