"""One window through Enformer and Borzoi at published size, random weights: seconds and peak memory.

    python benchmarks/trunks.py [--threads 2] [--only enformer|borzoi] [--bf16]

Each case runs in a process of its own, so that the peak is its own; processor time is what counts on a shared machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

WINDOWS = {"enformer": 196_608, "borzoi": 524_288}


def measure(kind: str, threads: int, bf16: bool) -> None:
    """Build, run once, print a row."""
    import torch

    from cisoform.models.encoders.borzoi import BorzoiNetwork, BorzoiNetworkConfig
    from cisoform.models.encoders.enformer import EnformerNetwork, EnformerNetworkConfig

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network: EnformerNetwork | BorzoiNetwork
    if kind == "enformer":
        network = EnformerNetwork(EnformerNetworkConfig()).eval()
    else:
        network = BorzoiNetwork(BorzoiNetworkConfig()).eval()
    bases = torch.randint(0, 4, (1, WINDOWS[kind]))
    wall, cpu = time.perf_counter(), sum(os.times()[:2])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = network(bases)
    wall, cpu = time.perf_counter() - wall, sum(os.times()[:2]) - cpu
    assert bool(out.isfinite().all())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    million = sum(value.numel() for value in network.parameters()) / 1e6
    shape = "x".join(map(str, out.shape[1:]))
    precision = "bf16" if bf16 else "fp32"
    print(
        f"{kind:10}{million:8.1f}{WINDOWS[kind]:>10,}{shape:>12}{precision:>6}{wall:9.1f}{cpu:9.1f}{peak:8.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=WINDOWS)
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast alone; without it both")
    parser.add_argument("--one", choices=["fp32", "bf16"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure(given.only, given.threads, given.one == "bf16")
        return
    columns = ("network", "M param", "window", "output", "", "wall s", "cpu s", "GB")
    print("{:10}{:>8}{:>10}{:>12}{:>6}{:>9}{:>9}{:>8}".format(*columns))
    for kind in [given.only] if given.only else WINDOWS:
        for precision in ["bf16"] if given.bf16 else ["fp32", "bf16"]:
            words = ["--only", kind, "--threads", str(given.threads), "--one", precision]
            subprocess.run([sys.executable, __file__, *words], check=True)


if __name__ == "__main__":
    main()
