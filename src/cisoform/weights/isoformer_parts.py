"""Which tensors of a public IsoFormer checkpoint are of which part, found by what they are, not by where they stand.

The prefixes of the released file are not documented. An Enformer is known by its stem, the two token encoders by how
many tokens they embed, the cross-attention by its four projections, the head by linear layers that lead from the width
of the DNA to the outputs. All that is left is reported.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cisoform.models.encoders.rotary.encoder import ESM_TOKENS, NT_TOKENS

Shapes = Mapping[str, Sequence[int]]

_STEM = re.compile(r"(.*?)(?:_trunk\.1|stem)\.0\.weight")
_EMBEDDING = re.compile(r"(.+?\.)?(?:(?<=\.)esm\.)?embeddings\.word_embeddings\.weight")
_PROJECTION = re.compile(r"(.+)\.(query|key|value|dense)\.(weight|bias)")
_TOKENS = {NT_TOKENS: "rna", ESM_TOKENS: "protein"}
_MOST_HEAD_LAYERS = 4
PARTNERS = ("rna", "protein")


@dataclass(frozen=True)
class Parts:
    """Prefixes of the parts.

    Attributes:
        encoders: Of each modality's encoder.
        cross: Of the attention of the DNA to each partner.
        head: Of the linear layers of the head, in order.
        unknown: Names of tensors that are of no part.
        problems: What is missing or twice, a line each.
    """

    encoders: dict[str, str] = field(default_factory=dict)
    cross: dict[str, str] = field(default_factory=dict)
    head: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of_encoder(self, modality: str, names: Iterable[str]) -> dict[str, str]:
        """Name without prefix -> name, of the tensors of an encoder."""
        prefix = self.encoders[modality]
        others = [other for other in self.encoders.values() if len(other) > len(prefix)]
        mine = [name for name in names if name.startswith(prefix) and not name.startswith(tuple(others))]
        return {name[len(prefix) :]: name for name in mine}


def find_parts(shapes: Shapes) -> Parts:
    """The parts of a checkpoint."""
    parts = Parts()
    _find_encoders(parts, shapes)
    inside = tuple(prefix for prefix in parts.encoders.values() if prefix)
    rest = {name: tuple(shape) for name, shape in shapes.items() if not name.startswith(inside)}
    _find_cross_attention(parts, rest)
    projections = tuple(f"{prefix}." for prefix in parts.cross.values())
    rest = {name: shape for name, shape in rest.items() if not name.startswith(projections)}
    _find_head(parts, rest, _dna_width(parts, shapes))
    head = {f"{prefix}.{kind}" for prefix in parts.head for kind in ("weight", "bias")}
    parts.unknown.extend(name for name in rest if name not in head)
    return parts


def prefixes(names: Iterable[str], depth: int = 2) -> dict[str, int]:
    """How many tensors stand under each of the first parts of their names."""
    return dict(Counter(".".join(name.split(".")[:depth]) for name in names))


def _find_encoders(parts: Parts, shapes: Shapes) -> None:
    found: dict[str, set[str]] = {"dna": set(), "rna": set(), "protein": set()}
    for name, shape in shapes.items():
        if (stem := _STEM.fullmatch(name)) and len(shape) == 3 and shape[1] == 4:
            found["dna"].add(stem.group(1))
        elif embedding := _EMBEDDING.fullmatch(name):
            modality = _TOKENS.get(shape[0])
            if modality is None:
                known = f"Nucleotide Transformer v2 ({NT_TOKENS}) nor ESM-2 ({ESM_TOKENS})"
                parts.problems.append(f"{name} embeds {shape[0]} tokens, neither {known}")
            else:
                found[modality].add(embedding.group(1) or "")
    what = {"dna": "Enformer", "rna": "Nucleotide Transformer v2", "protein": "ESM-2"}
    for modality, prefixed in found.items():
        if prefixed == {""}:
            parts.problems.append(f"{what[modality]} has no prefix: its tensors cannot be told from others")
        elif len(prefixed) == 1:
            parts.encoders[modality] = prefixed.pop()
        elif prefixed:
            parts.problems.append(
                f"{what[modality]} is there {len(prefixed)} times, under {', '.join(sorted(prefixed))}"
            )
        else:
            parts.problems.append(f"there is no {what[modality]}")


def _dna_width(parts: Parts, shapes: Shapes) -> int:
    """Channels of the DNA encoder's output; 0 = unknown."""
    for last in ("final_pointwise.1.2.weight", "_trunk.6.1.2.weight"):
        shape = shapes.get(f"{parts.encoders.get('dna', '')}{last}")
        if shape:
            return int(shape[0])
    return 0


def _find_cross_attention(parts: Parts, rest: Shapes) -> None:
    projections: dict[str, set[str]] = {}
    for name in rest:
        if found := _PROJECTION.fullmatch(name):
            projections.setdefault(found.group(1), set()).add(found.group(2))
    whole = [prefix for prefix, kinds in projections.items() if len(kinds) == 4]
    for partner in PARTNERS:
        named = [prefix for prefix in whole if partner in prefix.rpartition(".")[2]]
        if len(named) == 1:
            parts.cross[partner] = named[0]
        else:
            parts.problems.append(
                f"{len(named)} cross-attention layers are named after {partner}, expected 1 (cross_attention_layer_"
                f"{partner})"
            )


def _find_head(parts: Parts, rest: Shapes, width: int) -> None:
    """Linear layers that lead from the width to the outputs: in the order of their names if that fits, else in any."""
    layers = [
        name.removesuffix(".weight")
        for name, shape in rest.items()
        if name.endswith(".weight") and len(shape) == 2
    ]
    layers.sort(key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])
    for order in itertools.permutations(layers) if len(layers) <= _MOST_HEAD_LAYERS else [tuple(layers)]:
        ends = [(rest[f"{name}.weight"][1], rest[f"{name}.weight"][0]) for name in order]
        if order and ends[0][0] == width and all(a[1] == b[0] for a, b in itertools.pairwise(ends)):
            parts.head.extend(order)
            return
    said = ", ".join(f"{name} {'x'.join(map(str, rest[f'{name}.weight']))}" for name in layers) or "none"
    parts.problems.append(
        f"no chain of linear layers leads from width {width} to the outputs; there are {said}"
    )
