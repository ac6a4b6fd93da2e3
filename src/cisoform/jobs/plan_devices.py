"""How fast a device computes: published peaks, and the share of them that training is assumed to sustain."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from cisoform.errors import InputError


@dataclass(frozen=True)
class Device:
    """A device by its published figures.

    Attributes:
        about: What it is.
        kind: "cuda" or "cpu".
        dtype: Type that it is planned to compute in.
        peak: Dense matrix FLOP/s in that type (vendors' data sheets, without sparsity).
        memory: Bytes; None = that of the machine.
        utilisation: Share of the peak sustained unless the user says otherwise.
    """

    about: str
    kind: str
    dtype: str
    peak: float
    memory: float | None
    utilisation: float = 0.4


DEVICES: dict[str, Device] = {
    # Two AVX-512 cores: 2 x 64 FLOP a cycle x 3.1 GHz. 0.4 of it is what encoding size S reaches (docs/performance.md).
    "cpu": Device("two CPU cores", "cpu", "fp32", 4.0e11, None),
    "a10": Device("one NVIDIA A10, 24 GB", "cuda", "bf16", 1.25e14, 24e9),
    "l40s": Device("one NVIDIA L40S, 48 GB", "cuda", "bf16", 3.62e14, 48e9),
    "a100": Device("one NVIDIA A100, 80 GB", "cuda", "bf16", 3.12e14, 80e9),
    "h100": Device("one NVIDIA H100 SXM, 80 GB", "cuda", "bf16", 9.89e14, 80e9),
    "h200": Device("one NVIDIA H200, 141 GB", "cuda", "bf16", 9.89e14, 141e9),
    "b200": Device("one NVIDIA B200, 180 GB", "cuda", "bf16", 2.25e15, 180e9),
}


@dataclass(frozen=True)
class Speed:
    """A stated throughput.

    Attributes:
        name: As given.
        about: What it is.
        kind: "cuda" or "cpu", for what memory holds.
        dtype: Type that is planned to compute in.
        peak: FLOP/s at most; None where the sustained rate was given.
        utilisation: Share of the peak; None likewise.
        sustained: FLOP/s.
        memory: Bytes of the device, if known.
    """

    name: str
    about: str
    kind: str
    dtype: str
    peak: float | None
    utilisation: float | None
    sustained: float
    memory: float | None

    def seconds(self, flops: int | float) -> float:
        """Time of so many FLOPs."""
        return flops / self.sustained


def choose_speed(device: str, utilisation: float | None = None) -> Speed:
    """Throughput of a device by name, or of a number of sustained FLOP/s.

    Raises:
        InputError: For an unknown name, or a number or share out of range.
    """
    if utilisation is not None and not 0 < utilisation <= 1:
        raise InputError(f"--utilisation {utilisation:g}: must be above 0 and at most 1")
    known = DEVICES.get(device.lower())
    if known is not None:
        share = known.utilisation if utilisation is None else utilisation
        return Speed(
            device.lower(),
            known.about,
            known.kind,
            known.dtype,
            known.peak,
            share,
            known.peak * share,
            known.memory,
        )
    try:
        rate = float(device)
    except ValueError:
        raise InputError(_unknown(device)) from None
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"--device {device}: a throughput must be a number of FLOP/s above 0")
    if utilisation is not None:
        return Speed(device, "given peak", "cuda", "bf16", rate, utilisation, rate * utilisation, None)
    return Speed(device, "given sustained throughput", "cuda", "bf16", None, None, rate, None)


def fits(uses: dict[str, dict[str, int]], speed: Speed) -> dict[str, bool] | None:
    """Whether the total of each use fits into the device's memory; None if that is not known."""
    if speed.memory is None:
        return None
    return {use: parts["total"] <= speed.memory for use, parts in uses.items()}


def _unknown(device: str) -> str:
    near = difflib.get_close_matches(device.lower(), DEVICES, n=1)
    names = ", ".join(DEVICES)
    hint = f"did you mean {near[0]!r}?" if near else f"give one of {names}, or FLOP/s such as 3e14"
    return f"--device {device!r} is unknown; {hint}"
