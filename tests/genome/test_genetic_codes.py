"""The tables against NCBI's gc.prt: its `sncbieaa` lines, where M marks a start and * a stop."""

from __future__ import annotations

import itertools

import pytest

from cisoform.genome.genetic_codes import CODON_ORDER, CONTEXT_STOPS, GENETIC_CODES

STARTS_AND_STOPS = {
    1: "---M------**--*----M---------------M----------------------------",
    2: "----------**--------------------MMMM----------**---M------------",
    3: "----------**----------------------MM---------------M------------",
    4: "--MM------**-------M------------MMMM---------------M------------",
    5: "---M------**--------------------MMMM---------------M------------",
    6: "--------------*--------------------M----------------------------",
    9: "----------**-----------------------M---------------M------------",
    10: "----------**-----------------------M----------------------------",
    11: "---M------**--*----M------------MMMM---------------M------------",
    12: "----------**--*----M---------------M----------------------------",
    13: "---M------**----------------------MM---------------M------------",
    14: "-----------*-----------------------M----------------------------",
    15: "----------*---*--------------------M----------------------------",
    16: "----------*---*--------------------M----------------------------",
    21: "----------**-----------------------M---------------M------------",
    22: "------*---*---*--------------------M----------------------------",
    23: "--*-------**--*-----------------M--M---------------M------------",
    24: "---M------**-------M---------------M---------------M------------",
    25: "---M------**-----------------------M---------------M------------",
    26: "----------**--*----M---------------M----------------------------",
    27: "--------------*--------------------M----------------------------",
    28: "----------**--*--------------------M----------------------------",
    29: "--------------*--------------------M----------------------------",
    30: "--------------*--------------------M----------------------------",
    31: "----------**-----------------------M----------------------------",
    32: "---M------*---*----M------------MMMM---------------M------------",
    33: "---M-------*-------M---------------M---------------M------------",
}
# Where each code differs from the standard one (codon: amino acid), from the same file.
CHANGES = {
    1: "",
    2: "TGA:W ATA:M AGA:* AGG:*",
    3: "TGA:W CTT:T CTC:T CTA:T CTG:T ATA:M",
    4: "TGA:W",
    5: "TGA:W ATA:M AGA:S AGG:S",
    6: "TAA:Q TAG:Q",
    9: "TGA:W AAA:N AGA:S AGG:S",
    10: "TGA:C",
    11: "",
    12: "CTG:S",
    13: "TGA:W ATA:M AGA:G AGG:G",
    14: "TAA:Y TGA:W AAA:N AGA:S AGG:S",
    15: "TAG:Q",
    16: "TAG:L",
    21: "TGA:W ATA:M AAA:N AGA:S AGG:S",
    22: "TCA:* TAG:L",
    23: "TTA:*",
    24: "TGA:W AGA:S AGG:K",
    25: "TGA:G",
    26: "CTG:A",
    27: "TAA:Q TAG:Q TGA:W",
    28: "TAA:Q TAG:Q TGA:W",
    29: "TAA:Y TAG:Y",
    30: "TAA:E TAG:E",
    31: "TAA:E TAG:E TGA:W",
    32: "TAG:W",
    33: "TAA:Y TGA:W AGA:S AGG:K",
}
CODONS = ["".join(bases) for bases in itertools.product(CODON_ORDER, repeat=3)]


def test_the_codes_are_those_of_ncbi():
    assert list(GENETIC_CODES) == list(STARTS_AND_STOPS) == list(CHANGES)


@pytest.mark.parametrize("table", STARTS_AND_STOPS)
def test_starts_stops_and_amino_acids_are_those_of_ncbi(table: int):
    _, amino_acids, starts = GENETIC_CODES[table]
    marks = dict(zip(CODONS, STARTS_AND_STOPS[table], strict=True))
    assert set(starts) == {codon for codon, mark in marks.items() if mark == "M"}
    stops = {codon for codon, amino_acid in zip(CODONS, amino_acids, strict=True) if amino_acid == "*"}
    assert stops | set(CONTEXT_STOPS.get(table, ())) == {
        codon for codon, mark in marks.items() if mark == "*"
    }
    changes = dict(change.split(":") for change in CHANGES[table].split())
    standard = dict(zip(CODONS, GENETIC_CODES[1][1], strict=True))
    assert dict(zip(CODONS, amino_acids, strict=True)) == standard | changes
