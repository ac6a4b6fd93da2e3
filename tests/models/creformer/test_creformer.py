"""Laws of both stages: what is absent or padded adds nothing; chunks, batch mates and short cuts change nothing."""

from __future__ import annotations

import pytest
import torch

from cisoform.models.creformer import CREformer, CREformerConfig, Elementary, ElementaryConfig, rank_positions

TINY = ElementaryConfig(
    dim=24, heads=3, ffn=40, bin_layers=2, window_layers=2, tracks=("atac", "h3k27ac"), chunk_bins=3
)


def windows(rows: int, length: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    dna = torch.randint(4, 4100, (rows, length), generator=generator)
    tracks = {name: torch.randint(1, 37, (rows, length), generator=generator) for name in TINY.tracks}
    return dna, tracks


@pytest.fixture(params=[True, False], ids=["pre-norm", "post-norm"])
def elementary(request: pytest.FixtureRequest) -> Elementary:
    torch.manual_seed(0)
    config = ElementaryConfig(**{**TINY.__dict__, "norm_first": request.param})
    return Elementary(config).eval()


def test_an_absent_track_adds_nothing(elementary: Elementary) -> None:
    dna, tracks = windows(2, 256)
    alone = elementary(dna, {"atac": tracks["atac"]})
    blank = elementary(dna, {"atac": tracks["atac"], "h3k27ac": torch.zeros_like(dna)})
    torch.testing.assert_close(alone, blank, atol=0, rtol=0)
    assert not torch.allclose(alone, elementary(dna, tracks))


@pytest.mark.parametrize("length", [128, 640, 1024, 16_384])
def test_chunks_gradients_and_batch_mates_change_nothing(elementary: Elementary, length: int) -> None:
    dna, tracks = windows(3 if length < 2000 else 1, length)
    with_gradients = elementary(dna, tracks)
    with torch.no_grad():
        chunked = elementary(dna, tracks)
        alone = elementary(dna[:1], {name: ids[:1] for name, ids in tracks.items()})
    torch.testing.assert_close(with_gradients, chunked, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(chunked[:1], alone, atol=1e-5, rtol=1e-5)
    assert chunked.shape == (len(dna), length // 128, 24)


def test_the_first_row_alone_equals_the_first_row_of_all(elementary: Elementary) -> None:
    dna, tracks = windows(2, 384)
    embedded = elementary.embed(dna, tracks)
    every = elementary.encode_bins(embedded, first_only=False)
    torch.testing.assert_close(elementary.encode_bins(embedded), every[:, :1], atol=1e-5, rtol=1e-5)
    assert every.shape == (6, 129, 24)


def test_windows_that_do_not_fit_are_refused(elementary: Elementary) -> None:
    dna, tracks = windows(1, 130)
    with pytest.raises(ValueError, match="130 tokens"):
        elementary(dna, tracks)
    dna, tracks = windows(1, 129 * 128)
    with torch.no_grad(), pytest.raises(ValueError, match="129 bins"):
        elementary(dna, tracks)
    with pytest.raises(KeyError, match="dnase"):
        elementary(dna, {"dnase": dna})


@pytest.mark.parametrize("head", ["tss", "flat"])
@pytest.mark.parametrize("positions", ["distance", "rank"])
def test_padding_cannot_change_the_answer(head: str, positions: str) -> None:
    torch.manual_seed(1)
    config = CREformerConfig(elementary=TINY, layers=2, max_peaks=11, head=head, positions=positions)  # type: ignore[arg-type]
    model = CREformer(config).eval()
    peaks = torch.randn(2, 11, 24)
    mask = torch.arange(11)[None] < torch.tensor([[11], [5]])
    position = (
        torch.randn(2, 11) * 50_000
        if positions == "distance"
        else torch.stack([rank_positions(11, 3, "+", 11), rank_positions(5, 3, "-", 11)])
    )
    tss = torch.tensor([3, 3])
    other = peaks.clone()
    other[1, 5:] = 1e6
    moved = position.clone()
    moved[1, 5:] = 7
    first = model(peaks, mask, position, tss)
    torch.testing.assert_close(first, model(other, mask, moved, tss), atol=1e-6, rtol=1e-6)
    if head == "tss":
        short = model(peaks[1:, :5], mask[1:, :5], position[1:, :5], tss[1:])
        torch.testing.assert_close(first[1:], short, atol=1e-5, rtol=1e-5)


def test_ranks_by_hand() -> None:
    # five peaks, TSS at index 2, '+': upstream 3 1, downstream 2 4; padding 0.
    assert rank_positions(5, 2, "+", 7).tolist() == [3, 1, 0, 2, 4, 0, 0]
    assert rank_positions(5, 2, "-", 7).tolist() == [4, 2, 0, 1, 3, 0, 0]
    # the released code writes one slot too far at either edge.
    assert rank_positions(3, 0, "+", 5, released_edges=True).tolist() == [0, 2, 4, 0, 1]
    assert rank_positions(3, 2, "+", 5, released_edges=True).tolist() == [3, 1, 0, 2, 0]
    with pytest.raises(ValueError, match="tss_peak=5"):
        rank_positions(5, 5, "+", 7)


def test_one_training_step_moves_every_parameter() -> None:
    torch.manual_seed(2)
    model = CREformer(CREformerConfig(elementary=TINY, layers=1))
    dna, tracks = windows(4, 1024)
    peaks = model.encode_peaks(dna, tracks).reshape(2, 2, 24)
    mask = torch.tensor([[True, True], [True, False]])
    out = model(peaks, mask, torch.tensor([[0.0, 900.0], [-40.0, 0.0]]), torch.tensor([0, 0]))
    out.square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert silent == []
