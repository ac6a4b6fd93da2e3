"""Several processes that train one model (`torchrun`): each takes its own batches, gradients are summed.

The sum is taken by hand rather than by `DistributedDataParallel`: parameters that a batch does not touch (an absent
modality), unequal numbers of labels and a last step with fewer batches than processes are then exact without
special cases. One process: every function here is the identity.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int = 0
    size: int = 1
    joined_here: bool = False

    @property
    def writes(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def from_first(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The values of process 0."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        dist.broadcast(tensor, 0)
        return [float(value) for value in tensor.tolist()]

    def barrier(self) -> None:
        """Wait for every process."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """Take leave of the other processes, if `join_world` made the connection.

        A gloo group is left to the end of the process: destroying it earlier aborted about one run
        in six ("terminate called without an active exception", torch 2.13), after all work was done.
        """
        if self.joined_here and dist.get_backend() == "nccl":
            dist.destroy_process_group()

    def share_weights(self, model: nn.Module) -> None:
        """Give every process the weights of process 0."""
        if self.size > 1:
            for value in model.state_dict().values():
                dist.broadcast(value, 0)

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients over the processes; one that this process lacks counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat(
            [parameter.grad.reshape(-1) for parameter in parameters if parameter.grad is not None]
        )
        dist.all_reduce(flat)
        start = 0
        for parameter in parameters:
            assert parameter.grad is not None
            end = start + parameter.numel()
            parameter.grad.copy_(flat[start:end].view_as(parameter))
            start = end


def join_world(device: torch.device) -> World:
    """The world that `torchrun` describes in the environment, joined if that has not been done; else one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1 or "RANK" not in os.environ:
        return World()
    join = not dist.is_initialized()
    if join:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(rank=dist.get_rank(), size=dist.get_world_size(), joined_here=join)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of the randomness of one step in one process: a splitmix64 mix, distinct streams for distinct arguments."""
    value = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return (value ^ (value >> 31)) % 2**63
