"""Names that differ between files: chromosomes with and without chr, ids with and without version.

Both matchings are stated, never silent: the result says which rule was used, and what stays unmatched is left alone.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError

_log = logging.getLogger(__name__)

_MITOCHONDRION = ("MT", "chrM", "M", "chrMT", "Mt", "Mito", "chrmt", "MtDNA", "mitochondrion_genome")
_ENSEMBL_ID = re.compile(r"^(?P<stem>ENS[A-Z]*[GTPE]\d{11})(?:\.(?P<version>\d+))?(?P<par>_PAR_Y)?$")
_SHOWN = 3


def _accessions() -> dict[str, str]:
    """RefSeq accessions (without version) of the chromosomes of human, mouse and budding yeast."""
    names = {f"NC_{number:06d}": str(number) for number in range(1, 23)}
    names |= {"NC_000023": "X", "NC_000024": "Y", "NC_012920": "MT"}
    names |= {f"NC_{66 + number:06d}": str(number) for number in range(1, 20)}
    names |= {"NC_000086": "X", "NC_000087": "Y", "NC_005089": "MT"}
    roman = (
        "I",
        "II",
        "III",
        "IV",
        "V",
        "VI",
        "VII",
        "VIII",
        "IX",
        "X",
        "XI",
        "XII",
        "XIII",
        "XIV",
        "XV",
        "XVI",
    )
    names |= {f"NC_{1133 + number:06d}": name for number, name in enumerate(roman)}
    return names | {"NC_001224": "Mito"}


@dataclass(frozen=True)
class ChromosomeMap:
    """How the chromosomes of an annotation are called in the genome.

    Attributes:
        names: Annotation name to genome name, for every chromosome that the genome has.
        missing: Annotation names without a counterpart, in the order given.
        text: One line that states the mapping, for a log or report.
    """

    names: dict[str, str]
    missing: tuple[str, ...]
    text: str


def _spellings(name: str) -> list[str]:
    """Other names of the same chromosome, most likely first."""
    plain = _accessions().get(name.split(".")[0]) if name.startswith("NC_") else None
    if plain is not None:
        return [plain, *_spellings(plain)]
    if name in _MITOCHONDRION:
        return [other for other in _MITOCHONDRION if other != name]
    return [name[3:] if name.startswith("chr") else f"chr{name}"]


def map_chromosomes(
    annotation_names: Iterable[str], genome_lengths: Mapping[str, int | None]
) -> ChromosomeMap:
    """Find each chromosome of an annotation in a genome.

    The same name wins; then with `chr` added or removed; the mitochondrion under its usual names (chrM, MT, M,
    Mito); RefSeq accessions of human, mouse and yeast against chromosome numbers, in either direction.

    Args:
        annotation_names: Names in the annotation; repeats are ignored.
        genome_lengths: Chromosomes of the genome (`Genome.chroms`).

    Raises:
        InputError: If no name is found (three of each side are shown), or two names of the annotation mean the
            same chromosome.
    """
    wanted = list(dict.fromkeys(annotation_names))
    accession_of: dict[str, str] = {}
    for chrom in genome_lengths:
        if chrom.startswith("NC_"):
            for other in _spellings(chrom):
                accession_of.setdefault(other, chrom)
    names: dict[str, str] = {}
    for name in wanted:
        candidates = [name, *_spellings(name)]
        found = [other for other in candidates if other in genome_lengths]
        found += [accession_of[other] for other in candidates if other in accession_of]
        if found:
            names[name] = found[0]
    missing = tuple(name for name in wanted if name not in names)
    if not names:
        raise InputError(
            f"no chromosome of the annotation ({_some(wanted)}) is in the genome ({_some(list(genome_lengths))}); "
            "the files are of different assemblies or name chromosomes differently"
        )
    used: dict[str, str] = {}
    for name, chrom in names.items():
        if chrom in used:
            raise InputError(
                f"chromosomes {used[chrom]!r} and {name!r} of the annotation are both {chrom!r} of the genome; "
                "use one name for each chromosome"
            )
        used[chrom] = name
    return ChromosomeMap(names, missing, _mapping_text(names, missing))


def _mapping_text(names: Mapping[str, str], missing: Sequence[str]) -> str:
    renamed = {name: chrom for name, chrom in names.items() if name != chrom}
    if renamed:
        pairs = ", ".join(f"{name}->{chrom}" for name, chrom in list(renamed.items())[:_SHOWN])
        text = f"{len(renamed)} of {len(names)} chromosomes are named differently in the genome: {pairs}"
        text += ", ..." if len(renamed) > _SHOWN else ""
    else:
        text = f"{len(names)} chromosomes, named alike in annotation and genome"
    return f"{text}; {len(missing)} not in the genome: {_some(missing)}" if missing else text


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


@dataclass(frozen=True)
class IdMatch:
    """Which ids of two lists mean the same thing.

    Attributes:
        left: Positions in the left list, ascending.
        right: Position in the right list of the partner of each.
        n_exact: How many are letter for letter the same.
        n_unversioned: How many are the same up to the version of an Ensembl id.
        text: One line that states the matching, for a log or report.
    """

    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    n_exact: int
    n_unversioned: int
    text: str

    def __len__(self) -> int:
        return len(self.left)


def strip_version(name: str) -> str:
    """An id of the ENS form without its version (`_PAR_Y` kept); any other id as it is.

    `ENST00000373020.8` becomes `ENST00000373020`; `YAL062W.tea7edb` and `NM_000546.6` stay.
    """
    found = _ENSEMBL_ID.match(name)
    return name if found is None else found["stem"] + (found["par"] or "")


def match_ids(
    left: Sequence[str],
    right: Sequence[str],
    left_name: str = "the annotation",
    right_name: str = "the table",
) -> IdMatch:
    """Match two lists of ids, each without repeats.

    Ids that are the same match first. Of the rest, ids of the ENS form match without version, unless two ids of one
    side then fall together or meet one that is matched already: those are left alone. No other form is touched.

    Args:
        left: Ids of one file.
        right: Ids of the other.
        left_name: What the left ids are, for messages: a file, "annotation".
        right_name: What the right ids are.

    Raises:
        InputError: If nothing matches; three ids of each side and the likely reason are shown.
    """
    position = {name: index for index, name in enumerate(right)}
    pairs = {index: position[name] for index, name in enumerate(left) if name in position}
    n_exact = len(pairs)
    pairs |= _unversioned_pairs(left, right, pairs)
    if not pairs:
        raise InputError(
            f"no id of {left_name} ({_some(left)}) is in {right_name} ({_some(right)}); {_likely_reason(left, right)}"
        )
    n_unversioned = len(pairs) - n_exact
    text = f"{len(pairs)} of {len(left)} ids of {left_name} are in {right_name} ({len(right)} ids)"
    if n_unversioned:
        text += f", {n_unversioned} of them without the version of the id"
    _log.info(text)
    order = np.array(sorted(pairs), dtype=np.int64)
    partners = np.array([pairs[int(index)] for index in order], dtype=np.int64)
    return IdMatch(order, partners, n_exact, n_unversioned, text)


def _unversioned_pairs(left: Sequence[str], right: Sequence[str], exact: Mapping[int, int]) -> dict[int, int]:
    """Pairs of ENS ids that agree without version, where that is one-to-one among all ids of both sides."""
    matched_right = set(exact.values())
    n_left = Counter(strip_version(name) for name in left)
    n_right = Counter(strip_version(name) for name in right)
    position = {
        strip_version(name): index
        for index, name in enumerate(right)
        if index not in matched_right and _ENSEMBL_ID.match(name)
    }
    pairs = {}
    for index, name in enumerate(left):
        if index not in exact and _ENSEMBL_ID.match(name):
            stem = strip_version(name)
            if stem in position and n_left[stem] == 1 and n_right[stem] == 1:
                pairs[index] = position[stem]
    return pairs


def _likely_reason(left: Sequence[str], right: Sequence[str]) -> str:
    """A guess at why two lists of ids have nothing in common, with the mend."""
    if not len(left) or not len(right):
        return "one of them has no ids at all"
    if _share(left, r"^ENS[A-Z]*T\d") > 0.5 and _share(right, r"^ENS[A-Z]*G\d") > 0.5:
        return "one side holds transcript ids and the other gene ids"
    if _share(left, r"^ENS[A-Z]*G\d") > 0.5 and _share(right, r"^ENS[A-Z]*T\d") > 0.5:
        return "one side holds gene ids and the other transcript ids"
    rules = (
        ("they agree up to upper and lower case", str.lower),
        ("they agree after removing a prefix such as 'transcript:' or 'rna-'", _without_prefix),
        ("they agree after removing '.' and what follows, which is done for ENS ids only", _before_dot),
        ("they agree after removing a suffix such as '_mRNA'", _without_suffix),
    )
    for text, rule in rules:
        if {rule(name) for name in left} & {rule(name) for name in right}:
            return f"{text}: rename the ids of one file"
    return "the files are probably of different annotations or organisms"


def _share(names: Sequence[str], pattern: str) -> float:
    return sum(bool(re.match(pattern, name)) for name in names) / len(names)


def _without_prefix(name: str) -> str:
    return re.sub(r"^(transcript:|gene:|rna-|gene-)", "", name)


def _before_dot(name: str) -> str:
    return name.split(".")[0]


def _without_suffix(name: str) -> str:
    return re.sub(r"_(mRNA|RNA|transcript|tRNA|T\d*)$", "", name)
