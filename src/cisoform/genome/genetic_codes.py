"""The NCBI genetic codes (`transl_table`) as data.

Source: NCBI gc.prt. Codons run over the bases in the order T, C, A, G, the first base slowest. NCBI uses no
numbers 7, 8 and 17-20.
"""

from __future__ import annotations

CODON_ORDER = "TCAG"

# number: (name, amino acid of each codon, start codons)
GENETIC_CODES: dict[int, tuple[str, str, tuple[str, ...]]] = {
    1: (
        "Standard",
        "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("TTG", "CTG", "ATG"),
    ),
    2: (
        "Vertebrate Mitochondrial",
        "FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNKKSS**VVVVAAAADDEEGGGG",
        ("ATT", "ATC", "ATA", "ATG", "GTG"),
    ),
    3: (
        "Yeast Mitochondrial",
        "FFLLSSSSYY**CCWWTTTTPPPPHHQQRRRRIIMMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATA", "ATG", "GTG"),
    ),
    4: (
        "Mold, Protozoan and Coelenterate Mitochondrial; Mycoplasma; Spiroplasma",
        "FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("TTA", "TTG", "CTG", "ATT", "ATC", "ATA", "ATG", "GTG"),
    ),
    5: (
        "Invertebrate Mitochondrial",
        "FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNKKSSSSVVVVAAAADDEEGGGG",
        ("TTG", "ATT", "ATC", "ATA", "ATG", "GTG"),
    ),
    6: (
        "Ciliate, Dasycladacean and Hexamita Nuclear",
        "FFLLSSSSYYQQCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    9: (
        "Echinoderm and Flatworm Mitochondrial",
        "FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNNKSSSSVVVVAAAADDEEGGGG",
        ("ATG", "GTG"),
    ),
    10: (
        "Euplotid Nuclear",
        "FFLLSSSSYY**CCCWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    11: (
        "Bacterial, Archaeal and Plant Plastid",
        "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("TTG", "CTG", "ATT", "ATC", "ATA", "ATG", "GTG"),
    ),
    12: (
        "Alternative Yeast Nuclear",
        "FFLLSSSSYY**CC*WLLLSPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("CTG", "ATG"),
    ),
    13: (
        "Ascidian Mitochondrial",
        "FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNKKSSGGVVVVAAAADDEEGGGG",
        ("TTG", "ATA", "ATG", "GTG"),
    ),
    14: (
        "Alternative Flatworm Mitochondrial",
        "FFLLSSSSYYY*CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNNKSSSSVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    15: (
        "Blepharisma Nuclear",
        "FFLLSSSSYY*QCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    16: (
        "Chlorophycean Mitochondrial",
        "FFLLSSSSYY*LCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    21: (
        "Trematode Mitochondrial",
        "FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNNKSSSSVVVVAAAADDEEGGGG",
        ("ATG", "GTG"),
    ),
    22: (
        "Scenedesmus obliquus Mitochondrial",
        "FFLLSS*SYY*LCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    23: (
        "Thraustochytrium Mitochondrial",
        "FF*LSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATT", "ATG", "GTG"),
    ),
    24: (
        "Rhabdopleuridae Mitochondrial",
        "FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSSKVVVVAAAADDEEGGGG",
        ("TTG", "CTG", "ATG", "GTG"),
    ),
    25: (
        "Candidate Division SR1 and Gracilibacteria",
        "FFLLSSSSYY**CCGWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("TTG", "ATG", "GTG"),
    ),
    26: (
        "Pachysolen tannophilus Nuclear",
        "FFLLSSSSYY**CC*WLLLAPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("CTG", "ATG"),
    ),
    27: (
        "Karyorelict Nuclear",
        "FFLLSSSSYYQQCCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    28: (
        "Condylostoma Nuclear",
        "FFLLSSSSYYQQCCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    29: (
        "Mesodinium Nuclear",
        "FFLLSSSSYYYYCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    30: (
        "Peritrich Nuclear",
        "FFLLSSSSYYEECC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    31: (
        "Blastocrithidia Nuclear",
        "FFLLSSSSYYEECCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("ATG",),
    ),
    32: (
        "Balanophoraceae Plastid",
        "FFLLSSSSYY*WCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        ("TTG", "CTG", "ATT", "ATC", "ATA", "ATG", "GTG"),
    ),
    33: (
        "Cephalodiscidae Mitochondrial",
        "FFLLSSSSYYY*CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSSKVVVVAAAADDEEGGGG",
        ("TTG", "CTG", "ATG", "GTG"),
    ),
}

# Codes in which a codon is sense inside a CDS and a stop at its end; it counts as a stop as last codon only.
CONTEXT_STOPS: dict[int, tuple[str, ...]] = {27: ("TGA",), 28: ("TAA", "TAG", "TGA"), 31: ("TAA", "TAG")}
