"""Checkpoints of every kind of encoder that has published weights. Nothing is fetched and no pickle is run.

    encoder = from_pretrained("esm2", "hf://facebook/esm2_t30_150M_UR50D")     # frozen, in evaluation mode

A new kind is a line in `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from cisoform.errors import InputError
from cisoform.models.encoders.pretrained import PretrainedEncoder
from cisoform.weights.rotary import read_rotary
from cisoform.weights.trunks import read_trunk


@runtime_checkable
class PretrainedWeights(Protocol):
    """What a reader gives."""

    @property
    def kind(self) -> str:
        """Of the encoder's config."""
        ...

    @property
    def config(self) -> Any:
        """The encoder's `network`."""
        ...

    @property
    def about(self) -> Mapping[str, Any]:
        """Source, hash of its file, names of what was left out; plain JSON."""
        ...

    @property
    def body(self) -> Mapping[str, Tensor]:
        """Weights of the encoder's network by our names, without a head."""
        ...

    def encoder(self) -> PretrainedEncoder:
        """The frozen encoder, in evaluation mode."""
        ...


Reader = Callable[[str, Any], PretrainedWeights]
"""From a source and the kind that it must be."""

READERS: dict[str, Reader] = {
    "esm2": read_rotary,
    "nt_v2": read_rotary,
    "enformer": read_trunk,
    "borzoi": read_trunk,
}


def read_pretrained(kind: str, source: str | Path) -> PretrainedWeights:
    """Read the checkpoint of an encoder.

    Args:
        kind: Of the encoder's config.
        source: Folder of the public files or of `weights convert`, or hf://owner/name.

    Raises:
        InputError: If it is not there, damaged, refused, or of another kind or form.
    """
    if kind not in READERS:
        raise InputError(f"{kind!r} is no encoder with published weights; choose from {', '.join(READERS)}")
    return READERS[kind](str(source), kind)


def from_pretrained(kind: str, source: str | Path) -> PretrainedEncoder:
    """The frozen encoder of a checkpoint, in evaluation mode; see `read_pretrained`."""
    return read_pretrained(kind, source).encoder()
