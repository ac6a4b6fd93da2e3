"""What stands in each table of ablations: rows as settings of a recipe, so that `isoform train --set` trains the same.

Sizes are chosen for two CPU cores and a yeast; they are no published ones. Encoders in the form of published ones are
small here and trained from nothing, and their rows say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from cisoform.configs import config_to_json
from cisoform.data.samples import MODALITIES
from cisoform.errors import InputError
from cisoform.recipes import DNA_IDS, PROTEIN_IDS, RNA_CHANNELS, RNA_IDS, TOKENS_OF_KIND
from cisoform.weights.pretrained import PretrainedWeights, read_pretrained

TABLES = ("modalities", "encoders", "aggregators", "pretraining")
SMALL = "small, not pre-trained"
RECIPE = "recipe"
KIND_OF_MODALITY = {"dna": "nt_v2", "rna": "nt_v2", "protein": "esm2"}
"""What `isoform pretrain` makes of each modality."""

_RNA_MAX, _PROTEIN_MAX = 1_200, 200
_CROPS = {
    "rna": (f"loader.rna_max={_RNA_MAX}", f"the last {_RNA_MAX:,} nt"),
    "protein": (f"loader.protein_max={_PROTEIN_MAX}", f"the first {_PROTEIN_MAX} residues"),
}
_NARROW, _UPSTREAM, _RNA_SHORT, _PROTEIN_SHORT = 384, 256, 900, 64
_SHORT = {
    "dna": (
        (f"loader.dna_window={_NARROW}", f"loader.dna_upstream={_UPSTREAM}"),
        f"-{_UPSTREAM} to +{_NARROW - _UPSTREAM} bp",
    ),
    "rna": ((f"loader.rna_max={_RNA_SHORT}",), f"the last {_RNA_SHORT} nt"),
    "protein": ((f"loader.protein_max={_PROTEIN_SHORT}",), f"the first {_PROTEIN_SHORT} residues"),
}
"""What several pre-trained encoders at once read, so that a run takes some two minutes of one CPU core."""
_JOINED = ("model.aggregator.kind=concatenate",)
"""Several at once are pooled side by side: cross-attention over all of their positions would take most of the time."""
_IDS = {"dna": DNA_IDS, "rna": RNA_IDS, "protein": PROTEIN_IDS}
_TINY = ("dim=16",)
_CONV = ("embedding=8", "widths=[16,32]", "bins=[8,4]", "stem_kernel=11", "conv_layers=2")
_ENFORMER = tuple(
    f"network.{one}"
    for one in ("dim=24", "layers=1", "heads=2", "divisible_by=2", "bins=null", "dropout=0.1")
)
_BORZOI = tuple(
    f"network.{one}"
    for one in (
        *("stem=16", "tower=[20,24,28,32,40]", "dim=48", "layers=1", "heads=2", "key_dim=16", "value_dim=24"),
        *("out_dim=48", "bins=null", "dropout=0.1", "residual_dropout=0.1"),
    )
)
_ROTARY = ("network.dim=32", "network.layers=1", "network.heads=2", "network.ffn=128")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: Short; its key in the table.
        label: In words.
        settings: `key=value` overrides of the recipe.
    """

    name: str
    label: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows that are compared.

    Attributes:
        name: One of `TABLES`.
        reference: The row that the others are compared with.
        rows: In the order in which they are shown.
        needs: Modalities without which the table says nothing.
        n_needed: Of those of the data, at least so many.
    """

    name: str
    reference: str
    rows: tuple[Row, ...]
    needs: tuple[str, ...] = ()
    n_needed: int = 1


def choose_table(name: str, pretrained: Mapping[str, str] | None = None) -> Table:
    """The table of that name.

    Args:
        name: One of `TABLES`.
        pretrained: For "pretraining": by modality, a run of `isoform pretrain` or public weights of the same kind.

    Raises:
        InputError: For an unknown name, or runs that are missing, damaged or not asked for.
    """
    if name not in TABLES:
        raise InputError(f"--table {name!r} is none of {', '.join(TABLES)}")
    if name == "pretraining":
        return _pretraining(pretrained or {})
    if pretrained:
        raise InputError(f"--pretrained goes with --table pretraining; leave it out of --table {name}")
    return {"modalities": _modalities, "encoders": _encoders, "aggregators": _aggregators}[name]()


def parse_pretrained(text: str | None) -> dict[str, str]:
    """`dna=RUN,rna=RUN` as runs by modality.

    Raises:
        InputError: For another form, an unknown modality or one given twice.
    """
    found: dict[str, str] = {}
    for item in [] if text is None else text.split(","):
        modality, equals, run = (part.strip() for part in item.partition("="))
        if not equals or not run:
            raise InputError(f"--pretrained {item!r}: write modality=RUN, for example rna=rna_encoder")
        if modality not in MODALITIES:
            raise InputError(
                f"--pretrained {item!r}: {modality!r} is no modality; use {', '.join(MODALITIES)}"
            )
        if modality in found:
            raise InputError(f"--pretrained {text!r} names {modality} twice; name it once")
        found[modality] = run
    return found


def _modalities() -> Table:
    rows = []
    for size in (1, 2, 3):
        for chosen in combinations(MODALITIES, size):
            absent = [name for name in MODALITIES if name not in chosen]
            settings = [*(f"model.{name}=null" for name in absent)]
            if absent:
                settings.append(f"loader.modalities={json.dumps([*chosen])}")
            rows.append(Row("+".join(chosen), " + ".join(chosen), tuple(settings)))
    return Table("modalities", "+".join(MODALITIES), tuple(rows), needs=MODALITIES)


def _aggregators() -> Table:
    key = "model.aggregator"
    rows = (
        Row(
            "cross_attention",
            "cross-attention, one branch per modality",
            (f"{key}.kind=cross_attention", f"{key}.aggregate=all", f"{key}.heads=4"),
        ),
        Row("concatenate", "no exchange: pooled side by side", (f"{key}.kind=concatenate",)),
        Row(
            "perceiver_resampler",
            "perceiver resampler, 16 latents",
            (f"{key}.kind=perceiver_resampler", f"{key}.latents=16", f"{key}.heads=4"),
        ),
        Row(
            "c_abstractor",
            "C-Abstractor in 1-D, 16 positions a modality",
            (f"{key}.kind=c_abstractor", f"{key}.depth=2"),
        ),
        Row("linear", "linear map of all positions into one sequence", (f"{key}.kind=linear",)),
    )
    return Table("aggregators", "cross_attention", rows, n_needed=2)


def _encoders() -> Table:
    rows = [Row(RECIPE, "the recipe's own encoders")]
    for modality in MODALITIES:
        channels = RNA_CHANNELS if modality == "rna" else 0
        plain = (f"ids={_IDS[modality]}", f"channels={channels}")
        rows.append(_encoder(modality, "tiny", (*plain, *_TINY), ""))
        rows.append(_encoder(modality, "conv", (*plain, *_CONV), ""))
        rows.append(_encoder(modality, KIND_OF_MODALITY[modality], _ROTARY, SMALL))
        if modality == "dna":
            rows.append(_encoder(modality, "enformer", _ENFORMER, SMALL))
            rows.append(_encoder(modality, "borzoi", _BORZOI, SMALL))
    return Table("encoders", RECIPE, tuple(rows), needs=MODALITIES)


def _encoder(modality: str, kind: str, settings: tuple[str, ...], remark: str) -> Row:
    """A row whose other two modalities are encoded as in the recipe."""
    crop, cropped = _CROPS.get(modality, ("", ""))
    remarks = ", ".join(text for text in (remark, cropped) if text)
    return Row(
        f"{modality}:{kind}",
        f"{modality} by {kind}" + (f" ({remarks})" if remarks else ""),
        (
            f"model.{modality}.kind={kind}",
            *(f"model.{modality}.{setting}" for setting in settings),
            *_tokens(modality, kind),
            *([crop] if crop else []),
        ),
    )


def _tokens(modality: str, kind: str) -> list[str]:
    return [f"loader.{modality}_tokens={TOKENS_OF_KIND[kind]}"] if kind in TOKENS_OF_KIND else []


def _pretraining(runs: Mapping[str, str]) -> Table:
    if not runs:
        raise InputError(
            "--table pretraining compares encoders of `cisoform isoform pretrain`; give at least one, "
            "--pretrained rna=RUN"
        )
    found = {name: read_pretrained(KIND_OF_MODALITY[name], run) for name, run in runs.items()}
    for name, weights in found.items():
        made_of = weights.about.get("modality", name)
        if made_of != name:
            raise InputError(f"--pretrained {name}={runs[name]}: is an encoder of {made_of}, not of {name}")

    crops = {part: _crop(part, alone=len(runs) == 1) for part in runs}
    remark = ", ".join(text for _, text in crops.values() if text)
    joined = _JOINED if len(runs) > 1 else ()
    remark += ", no exchange" if joined else ""

    def row(name: str, label: str, starts: Mapping[str, str]) -> Row:
        settings = [
            (*_start(part, start, runs[part], found[part]), *crops[part][0]) for part, start in starts.items()
        ]
        shown = f"{label} ({remark})" if remark else label
        return Row(name, shown, (*joined, *(setting for part in settings for setting in part)))

    what = ", ".join(runs)
    rows = [
        Row(RECIPE, "the recipe's own encoders"),
        row("from nothing", f"{what} from nothing", dict.fromkeys(runs, "nothing")),
        row("pre-trained, frozen", f"{what} pre-trained, frozen", dict.fromkeys(runs, "frozen")),
        row("pre-trained, tuned", f"{what} pre-trained, tuned", dict.fromkeys(runs, "full")),
    ]
    for one in runs if len(runs) > 1 else ():
        starts = {name: "nothing" if name == one else "full" for name in runs}
        rows.append(row(f"{one} from nothing", f"{one} from nothing, the others pre-trained, tuned", starts))
    return Table("pretraining", "from nothing", tuple(rows), needs=tuple(runs))


def _crop(modality: str, alone: bool) -> tuple[tuple[str, ...], str]:
    """Settings that shorten what a modality's encoder reads, and in words; `alone` = the others are the recipe's."""
    if not alone:
        return _SHORT[modality]
    if modality not in _CROPS:
        return (), ""
    setting, text = _CROPS[modality]
    return (setting,), text


def _start(modality: str, start: str, run: str, weights: PretrainedWeights) -> list[str]:
    """Settings of an encoder of one size: from nothing, frozen, or tuned in full."""
    key = f"model.{modality}"
    settings = [f"{key}.kind={weights.kind}", *_tokens(modality, weights.kind)]
    if start == "nothing":
        network = json.dumps(json.loads(config_to_json(weights.config)))
        return [*settings, f"{key}.network={network}", f"{key}.learn=full"]
    return [*settings, f"{key}.weights={json.dumps(run)}", f"{key}.learn={start}"]
