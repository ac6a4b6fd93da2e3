"""A screen that knocks out every peak of a locus, one at a time: in place, against the released way.

The released way tokenises and encodes all peaks again for each knock-out, one at a time, in fp32, by plain
`nn.TransformerEncoder` modules with the same weights (`encode.py`; its slower tokeniser is not copied). In place,
every peak is encoded twice (as it is, and with its signal zero), under bf16 autocast, and all knock-outs pass the
peak transformer as one batch. Random weights; 44 peaks, width 384, heads 6, layers 4/3/4, 150 slots with unmasked
padding and a flat head (the released form). Wall time and, for machines shared with other work, processor time over
threads. Both predict the same knock-outs; they are compared.
The released way is measured on a few knock-outs and scaled to all (`--released 44` runs them all).

    python benchmarks/knockout_screen.py [--threads 2] [--repeats 2] [--released 2] [--precision bf16]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.perturbation import SignalEdit
from cisoform.analysis.reader import LocusReader
from cisoform.data.locus_text import Locus
from cisoform.features.states import FeatureConfig
from cisoform.jobs.perturbation import screen
from cisoform.models.creformer import CREformer, CREformerConfig, ElementaryConfig, rank_positions
from cisoform.tokens.peaks import RELEASED_EDGES, dna_tokens, signal_tokens
from encode import plain_stack, released_way

PEAKS, TSS, SLOTS = 44, 20, 150
Encode = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
ALONE = np.zeros(1, dtype=np.int64)


def network() -> CREformer:
    torch.manual_seed(0)
    elementary = ElementaryConfig(
        dim=384, heads=6, bin_layers=4, window_layers=3, tracks=("atac",), norm_first=False
    )
    sizes = {"layers": 4, "max_peaks": SLOTS, "positions": "rank", "head": "flat", "mask_padding": False}
    return CREformer(CREformerConfig(elementary=elementary, **sizes)).eval()


def locus() -> Locus:
    rng = np.random.default_rng(0)
    dna = rng.integers(0, 4, (PEAKS, 1029)).astype(np.uint8)
    signal = rng.gamma(0.5, 4.0, (PEAKS, 103)).repeat(10, axis=1)[:, :1029]
    ids = [f"chrX_{48_600_000 + 5_000 * row}_{48_600_500 + 5_000 * row}" for row in range(PEAKS)]
    return Locus(ids, dna, signal)


@torch.inference_mode()
def released(
    model: CREformer, encode: Encode, stack: torch.nn.Module, peaks: Locus, knocked_out: int
) -> float:
    """One knock-out: tokenise and encode every peak, fp32."""
    signal = peaks.signal.copy()
    signal[knocked_out] = 0.0
    dna = torch.from_numpy(dna_tokens(peaks.dna).astype(np.int32))
    vectors = encode(dna, torch.from_numpy(signal_tokens(signal)).int())
    padded = vectors.new_zeros(1, SLOTS, vectors.shape[1])
    padded[0, :PEAKS] = vectors
    mask = torch.arange(SLOTS)[None] < PEAKS
    position = rank_positions(PEAKS, TSS, "+", SLOTS)[None]
    hidden = stack(model.place(padded, mask, position))
    return float(model.read(hidden, mask, torch.tensor([TSS]))[0])


def in_place(model: CREformer, peaks: Locus, bf16: bool) -> np.ndarray:
    """All knock-outs, nothing known beforehand."""
    reader = LocusReader(
        model, "identity", peaks, TSS, "+", FeatureConfig(track="atac", bf16=bf16), RELEASED_EDGES
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        table = screen(reader, Grouping("group", ("",), ALONE, ALONE), ALONE, SignalEdit(np.arange(PEAKS)))
    return table["after"].to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--released", type=int, default=2, help="knock-outs of the released way to measure")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    model, peaks = network(), locus()
    encode, stack = released_way(model), plain_stack(model.peak_encoder)
    released(model, encode, stack, peaks, 0)  # warm
    times, spent = [], []
    for turn in range(max(words.repeats, words.released)):
        if turn < words.repeats:
            times.append(measured(lambda: in_place(model, peaks, words.precision == "bf16")))
        if turn < words.released:
            spent.append(measured(lambda row=turn: released(model, encode, stack, peaks, row)))
    found, expected = times[0][2], np.array([value for _, _, value in spent])
    apart = np.abs(found[: words.released] - expected).max()
    print(f"{PEAKS} knock-outs, {words.threads} threads, {words.precision} in place, fp32 the released way")
    for name, column in (("wall", 0), ("processor time / threads", 1)):
        ours = min(row[column] for row in times)
        theirs = min(row[column] for row in spent) * PEAKS
        print(
            f"{name:25s} in place {ours:7.2f} s   released way {theirs:8.2f} s   ratio {theirs / ours:6.1f}"
        )
    print(f"largest difference {apart:.1e} of predictions near {expected[0]:.3f}")


def measured(function: Callable[[], object]) -> tuple[float, float, object]:
    """Wall seconds, processor seconds over threads, and the result."""
    wall, spent = time.perf_counter(), time.process_time()
    found = function()
    spent = (time.process_time() - spent) / torch.get_num_threads()
    return time.perf_counter() - wall, spent, found


if __name__ == "__main__":
    main()
