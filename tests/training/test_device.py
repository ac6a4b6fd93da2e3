from __future__ import annotations

import pytest
import torch

from cisoform.errors import InputError
from cisoform.training.device import resolve_device


def test_the_cpu_is_always_there():
    assert resolve_device("cpu") == torch.device("cpu")


def test_auto_takes_the_gpu_only_if_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "", "CPU", "mps"])
def test_another_name_is_refused(name):
    with pytest.raises(InputError, match=rf"--device '{name}' is not one of auto, cpu, cuda, cuda:N"):
        resolve_device(name)


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"--device cuda:1: no CUDA device .*use --device cpu"):
        resolve_device("cuda:1")


def test_a_gpu_past_the_last_is_named_and_torchrun_gives_each_process_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 1)
    assert resolve_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(InputError, match="--device cuda:2: there are 2 CUDA devices, cuda:0 to cuda:1"):
        resolve_device("cuda:2")
