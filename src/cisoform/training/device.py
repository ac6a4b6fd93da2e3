"""Which device to train or predict on."""

from __future__ import annotations

import os
import re

import torch

from cisoform.errors import InputError


def resolve_device(name: str = "auto") -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:N` means here.

    Under `torchrun`, `auto` and `cuda` are the process's own device (`$LOCAL_RANK`).

    Raises:
        InputError: If the name is none of these, or the device is not there.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if name == "auto":
        name = "cuda"
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not match:
        raise InputError(f"--device {name!r} is not one of auto, cpu, cuda, cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        build = "a build for the CPU only" if torch.version.cuda is None else "but no GPU is visible to it"
        raise InputError(
            f"--device {name}: no CUDA device (torch {torch.__version__}, {build}); use --device cpu"
        )
    index = int(match.group(1) or os.environ.get("LOCAL_RANK") or torch.cuda.current_device())
    if index >= count:
        raise InputError(f"--device {name}: there are {count} CUDA devices, cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)
