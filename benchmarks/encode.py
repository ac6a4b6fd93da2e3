"""Encode 44 peaks: plain `nn.TransformerEncoder` modules as the released code runs them, against ours.

Same random weights on both sides (d 384, heads 6, layers 4/3, the Elementary half of size S), evaluation mode with
torch's fast path on, the released batch (all 352 bins at once). Prints medians, ratios and the largest difference,
all from one run. `--memory` shows peak memory instead: of a window against its length, with and without gradients,
and of a gene, from the tokens of its peaks to its expression, against their number.

    python benchmarks/encode.py [--threads 2] [--repeats 5]
    python benchmarks/encode.py --memory
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from cisoform.models.creformer import CREformer, CREformerConfig, ElementaryConfig
from cisoform.nn.transformer import EncoderStack

PEAKS, TOKENS, BINS = 44, 1024, 8


def plain_stack(stack: EncoderStack) -> nn.Module:
    """The released `Encoder`: a LayerNorm, then torch's own post-norm ReLU encoder, with our stack's weights."""
    config = stack.config
    layer = nn.TransformerEncoderLayer(
        config.dim, config.heads, config.ffn, dropout=0.0, batch_first=True, norm_first=False
    )
    encoder = nn.TransformerEncoder(layer, config.layers)
    for theirs, ours in zip(encoder.layers, stack.layers, strict=True):
        theirs.self_attn.in_proj_weight.data.copy_(ours.in_projection.weight)
        theirs.self_attn.in_proj_bias.data.copy_(ours.in_projection.bias)
        theirs.self_attn.out_proj.load_state_dict(ours.out_projection.state_dict())
        theirs.linear1.load_state_dict(ours.ffn_in.state_dict())
        theirs.linear2.load_state_dict(ours.ffn_out.state_dict())
        theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
        theirs.norm2.load_state_dict(ours.ffn_norm.state_dict())
    norm = nn.LayerNorm(config.dim)
    norm.load_state_dict(stack.norm.state_dict())
    return nn.Sequential(norm, encoder).eval()


def released_way(model: CREformer) -> Callable[[Tensor, Tensor], Tensor]:
    """Embed everything, one forward over all bins at once, keep the CLS rows: the released notebook's steps."""
    elementary = model.elementary
    first, second = plain_stack(elementary.bin_encoder), plain_stack(elementary.window_encoder)
    atac = elementary.tracks["atac"]
    bin_ids, window_ids = torch.arange(1, 130), torch.arange(1, BINS + 1)

    def run(dna: Tensor, signal: Tensor) -> Tensor:
        cls = elementary.dna(torch.ones(len(dna) * BINS, 1, dtype=torch.long))
        summed = elementary.dna(dna.reshape(-1, 128)) + atac(signal.reshape(-1, 128))
        embedded = torch.cat((cls, summed), dim=1)
        rows = first(embedded + elementary.position_in_bin(bin_ids))[:, 0, :].reshape(len(dna), BINS, -1)
        return model.pool(second(rows + elementary.position_of_bin(window_ids)))

    return run


def seconds(function: Callable[[], Tensor]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def build() -> tuple[CREformer, Tensor, Tensor]:
    torch.manual_seed(0)
    config = CREformerConfig(elementary=ElementaryConfig(norm_first=False))
    model = CREformer(config).eval()
    return model, torch.randint(4, 4100, (PEAKS, TOKENS)), torch.randint(1, 37, (PEAKS, TOKENS))


@torch.no_grad()
def compare(repeats: int) -> None:
    model, dna, signal = build()
    theirs = released_way(model)
    bf16 = torch.autocast("cpu", dtype=torch.bfloat16)
    ways: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], contextlib.AbstractContextManager[object]]] = {
        "released fp32": (theirs, contextlib.nullcontext()),
        "ours fp32": (lambda d, s: model.encode_peaks(d, {"atac": s}), contextlib.nullcontext()),
        "ours bf16": (lambda d, s: model.encode_peaks(d, {"atac": s}), bf16),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    for turn in range(repeats + 1):
        for name, (function, context) in ways.items():
            with context:
                begin = time.perf_counter()
                results[name] = function(dna, signal)
                spent = time.perf_counter() - begin
            if turn:
                times[name].append(spent)
    reference = results["released fp32"]
    base = statistics.median(times["released fp32"])
    print(f"{PEAKS} peaks x {TOKENS} tokens, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in ways:
        median = statistics.median(times[name])
        paired = statistics.median([a / b for a, b in zip(times["released fp32"], times[name], strict=True)])
        error = float((results[name].float() - reference).abs().max() / reference.abs().max())
        print(
            f"{name:14s} {median:7.3f} s  x{base / median:5.2f} (paired x{paired:.2f})  difference {error:.1e}"
        )


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def peak_memory(rows: int, length: int, train: bool) -> None:
    """One window, forward (and backward); or one gene of so many peaks, from tokens to expression."""
    model, _, _ = build()
    dna, signal = torch.randint(4, 4100, (rows, length)), torch.randint(1, 37, (rows, length))

    def run(rows: int, length: int) -> None:
        shown, tracks = dna[:rows, :length], {"atac": signal[:rows, :length]}
        with torch.set_grad_enabled(train):
            if train:
                model.elementary(shown, tracks).sum().backward()
            elif length == TOKENS:
                peaks = model.encode_peaks(shown, tracks)[None]
                every = torch.ones(1, rows, dtype=torch.bool)
                model(peaks, every, torch.zeros(1, rows), torch.zeros(1, dtype=torch.int64))
            else:
                model.elementary(shown, tracks)

    run(1, 128)  # what the libraries keep is there before the measurement
    before = resident_mib()
    begin = time.perf_counter()
    run(rows, length)
    spent = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{rows:5d} x {length:6d} tokens  {spent:7.2f} s  +{after - before:7.1f} MiB", flush=True)


def memory_curves(threads: int) -> None:
    """Each size in its own process: peak memory of a process never falls."""
    lengths = (128, 256, 512, 1024, 2048, 4096, 8192, 16_384)
    curves = {
        "a window, inference": [("--length", length) for length in lengths],
        "a window, forward and backward": [("--train", "--length", length) for length in lengths],
        "a gene by its peaks, inference": [("--rows", rows) for rows in (1, 5, 10, 20, 44, 75, 150, 300)],
    }
    for name, cases in curves.items():
        print(name)
        for case in cases:
            words = [sys.executable, __file__, *map(str, case), "--one", "--threads", str(threads)]
            subprocess.run(words, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, default=TOKENS, help=argparse.SUPPRESS)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.one:
        peak_memory(arguments.rows, arguments.length, arguments.train)
        return
    if arguments.memory:
        memory_curves(arguments.threads)
        return
    compare(arguments.repeats)


if __name__ == "__main__":
    main()
