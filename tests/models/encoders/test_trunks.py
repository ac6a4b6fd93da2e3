"""Enformer and Borzoi: parity with the public packages rung by rung, published sizes, what learns, rows of any length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from cisoform.batches import Tokens
from cisoform.models.encoders import BorzoiConfig, EnformerConfig, build_encoder
from cisoform.models.encoders.bins import crop_middle, n_kept
from cisoform.models.encoders.borzoi import BorzoiNetwork, BorzoiNetworkConfig
from cisoform.models.encoders.borzoi import relative_basis as borzoi_basis
from cisoform.models.encoders.enformer import EnformerNetwork, EnformerNetworkConfig, relative_basis
from cisoform.models.encoders.trunk import TrunkEncoder
from cisoform.nn.norm_conv import BatchNorm
from cisoform.nn.relative import by_key
from cisoform.weights.trunks import (
    Network,
    TrunkKind,
    build_network,
    heads_of,
    network_config,
    rename,
    shapes_of,
)
from tests.peers.drawn import drawn, drawn_bases

PEERS = Path(__file__).resolve().parents[2] / "peers" / "trunks.safetensors"
TOLERANCE = 1e-5
CASES = ["enformer_small", "enformer_odd", "enformer_tensorflow", "borzoi_small"]


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(str(path), "pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}


def error(found: Tensor, expected: Tensor) -> float:
    """Largest error as a share of the largest value."""
    assert found.shape == expected.shape
    return float((found.detach() - expected).abs().max() / expected.abs().max())


def loaded(kind: TrunkKind, config: dict[str, Any], public: dict[str, Tensor]) -> Network:
    torch.set_num_threads(1)
    state, dropped = rename(public, kind, "peer")
    assert all(name.endswith("num_batches_tracked") for name in dropped)
    network = build_network(network_config(kind, config, shapes_of(state), PEERS), heads_of(shapes_of(state)))
    network.load_state_dict(state)
    return network.eval()


def peer(case: str) -> tuple[Network, Tensor, dict[str, Tensor]]:
    about, tensors = read(PEERS)
    said = json.loads(about[case])
    kind: TrunkKind = "borzoi" if case.startswith("borzoi") else "enformer"
    rows, length = said["bases"]
    seed = 3 if kind == "borzoi" else len(case.removeprefix("enformer_"))
    expected = {n.removeprefix(f"{case}."): v for n, v in tensors.items() if n.startswith(f"{case}.")}
    return loaded(kind, said["config"], drawn(said["shapes"])), drawn_bases(rows, length, seed), expected


@pytest.mark.golden
@torch.no_grad()
def test_enformer_equals_the_golden_vectors(golden_dir: Path) -> None:
    about, given = read(golden_dir / "enformer_small.safetensors")
    public = {n.removeprefix("weights."): v for n, v in given.items() if n.startswith("weights.")}
    network = loaded("enformer", json.loads(about["config"]), public)
    found = network(given["in.bases"])
    assert error(found, given["out.embeddings"]) < TOLERANCE
    assert error(network.tracks(found, "human"), given["out.human"]) < TOLERANCE


def named_rungs(network: Network, bases: Tensor) -> dict[str, Tensor]:
    """Rungs under the names of the peers' file."""
    rungs = list(network.rungs(bases))
    n_tower = len(network.tower) + isinstance(network, EnformerNetwork)
    names = [f"tower_{n}" for n in range(n_tower)]
    if isinstance(network, BorzoiNetwork):
        names = ["stem", *names, "bridge"]
    names += [f"layer_{n}" for n in range(len(network.layers))]
    names += ["up_0", "up_1"] if isinstance(network, BorzoiNetwork) else []
    return dict(zip([*names, "out"], rungs, strict=True))


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_every_rung_equals_the_peers(case: str) -> None:
    network, bases, expected = peer(case)
    found = named_rungs(network, bases)
    checked = 0
    for name, value in found.items():
        if name not in expected:
            continue
        by_place = "layer" not in name and name != "out"
        thinned = value[..., :: -(-value.shape[-1] // 8)] if by_place else value
        assert error(thinned, expected[name]) < TOLERANCE, name
        checked += 1
    assert checked == (1 if case == "enformer_tensorflow" else len(found))
    head = "human"
    assert error(network.tracks(found["out"], head), expected["tracks"]) < TOLERANCE


@pytest.mark.parametrize("case", [case for case in CASES if case != "enformer_tensorflow"])
def test_gradients_equal_the_peers(case: str) -> None:
    network, bases, expected = peer(case)
    out = network(bases)
    (out * torch.arange(out.numel()).cos().reshape(out.shape)).sum().backward()
    public = {n.removeprefix("gradient."): v for n, v in expected.items() if n.startswith("gradient.")}
    wanted, _ = rename(public, "borzoi" if case.startswith("borzoi") else "enformer", "peer")
    parameters = dict(network.named_parameters())
    assert len(wanted) >= 5
    for name, value in wanted.items():
        found = parameters[name].grad
        assert found is not None and error(found, value) < TOLERANCE, name


def test_the_two_versions_of_the_gamma_densities_differ_as_documented() -> None:
    authors, port = (relative_basis(1536, 192, gamma) for gamma in ("tensorflow", "pytorch"))
    gammas = slice(64, 96)
    same = [n for n in range(192) if n % 96 < 64]
    assert torch.equal(authors[:, same], port[:, same]) and (authors - port).abs().max() > 0.9
    # Each density of the authors' has its largest value, 1, somewhere; of the port's, each distance has one.
    torch.testing.assert_close(authors[:, gammas].amax(dim=0), torch.ones(32))
    torch.testing.assert_close(port[:, gammas].amax(dim=1), torch.ones(3071))
    # The mode of a gamma density with shape k and rate r is (k - 1) / r: here mean - deviation^2 / mean.
    mean = torch.linspace(48, 1536, 32)
    modes = authors[1535:, gammas].argmax(dim=0)
    assert (modes - (mean - 24.0**2 / mean)).abs().max() < 4


def test_bases_functions_by_hand() -> None:
    # 7 positions, one function of each kind: half life 8, mask |d| < 1, gamma of the one density over itself.
    found = relative_basis(7, 6, "pytorch")
    distance = torch.arange(-6, 7)
    torch.testing.assert_close(found[:, 0], 2.0 ** (-distance.abs() / 8))
    assert torch.equal(found[:, 1], (distance == 0).float()) and torch.equal(found[:, 2], torch.ones(13))
    torch.testing.assert_close(found[:, 3:], torch.sign(distance)[:, None] * found[:, :3])
    _, expected = read(PEERS)
    assert torch.equal(borzoi_basis(70, 32, 4096), expected["borzoi_small.basis_70"].float())


def test_scores_by_distance_are_put_under_their_keys() -> None:
    for n in (1, 2, 5):
        scores = torch.arange(2 * n * 2 * n, dtype=torch.float32).reshape(1, 2, n, 2 * n)
        found = by_key(scores)
        assert found.shape == (1, 2, n, n)
        for query in range(n):
            for key in range(n):
                assert torch.equal(found[..., query, key], scores[..., query, key - query + n - 1])


@pytest.mark.parametrize(
    ("bins", "keep", "expected"), [(16, 6, 6), (16, 7, 6), (16, 16, 16), (16, None, 16), (1536, 896, 896)]
)
def test_the_middle_is_kept(bins: int, keep: int | None, expected: int) -> None:
    states = torch.arange(bins, dtype=torch.float32)[None, :, None]
    found = crop_middle(states, keep)[0, :, 0]
    assert len(found) == expected == n_kept(bins, keep)
    assert found[0] + found[-1] == bins - 1
    with pytest.raises(ValueError, match=r"3 bins is shorter than the 4"):
        n_kept(3, 4)


def test_published_sizes_have_the_published_parameters() -> None:
    # Counted in the released packages: reference 1.4 for Enformer; 7,611 human tracks for Borzoi.
    with torch.device("meta"):
        enformer = EnformerNetwork(EnformerConfig(size="published").network)
        both = EnformerNetwork(EnformerNetworkConfig(), {"human": 5313, "mouse": 1643})
        borzoi = BorzoiNetwork(BorzoiConfig(size="published").network, {"human": 7611})
    count = [sum(value.numel() for value in network.parameters()) for network in (enformer, both, borzoi)]
    # borzoi-pytorch 0.5.1 with its human head: 185,892,699, counted on the meta device.
    assert count == [229_845_504, 251_221_292, 185_892_699]
    assert EnformerNetworkConfig().widths == (768, 768, 896, 1024, 1152, 1280, 1536)
    assert EnformerConfig(size="published").dim == 3072 and BorzoiConfig(size="published").dim == 1920


SMALL = {
    "enformer": EnformerConfig(
        network=EnformerNetworkConfig(
            dim=12, layers=2, heads=2, key_dim=4, downsamples=3, divisible_by=2, bins=None
        )
    ),
    "borzoi": BorzoiConfig(
        network=BorzoiNetworkConfig(
            stem=6, tower=(8, 10), dim=12, layers=2, heads=2, key_dim=4, value_dim=5, out_dim=14, bins=None
        )
    ),
}


def encoder(kind: str, **fields: Any) -> TrunkEncoder:
    torch.manual_seed(0)
    config = SMALL[kind]
    found = build_encoder(type(config)(**{"network": config.network, **fields}))
    assert isinstance(found, TrunkEncoder)
    return found


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("mode", ["frozen", "lora", "last", "full"])
def test_each_mode_lets_its_parameters_learn_and_no_other(kind: str, mode: str) -> None:
    module = encoder(kind, learn=mode, lora_rank=2, last_layers=1).train()
    learning = {name for name, value in module.network.named_parameters() if value.requires_grad}
    every = {name for name, _ in module.network.named_parameters()}
    lora = {
        f"layers.{n}.attention.{projection}.{part}"
        for n in range(2)
        for projection in ("query", "value")
        for part in ("up", "down")
    }
    last = {name for name in every if name.startswith(("layers.1.", "last."))}
    assert learning == {"frozen": set(), "lora": lora, "last": last, "full": every}[mode]
    found = module(Tokens(drawn_bases(1, 64, 0), torch.ones(1, 64, dtype=torch.bool))).states
    assert found.requires_grad == (mode != "frozen")
    # Running statistics move only in a network that starts from nothing.
    norms = [part for part in module.modules() if isinstance(part, BatchNorm)]
    moved = any(bool(norm.mean.any()) for norm in norms)
    assert moved == (mode == "full") and module.network.training == (mode != "frozen")


def test_batch_statistics_are_of_nothing_or_asked_for() -> None:
    assert not SMALL["enformer"].frozen_norms
    assert EnformerConfig(weights="folder", learn="full").frozen_norms
    kept = EnformerConfig(weights="folder", learn="full").fitted(SMALL["enformer"].network)
    assert kept.frozen_norms and kept.weights is None and kept.mode == "full"
    assert not EnformerConfig(weights="x", learn="full", batch_norm="batch").fitted(kept.network).frozen_norms
    assert EnformerConfig(batch_norm="frozen").frozen_norms


@pytest.mark.parametrize("kind", SMALL)
def test_bins_round_the_middle_are_those_of_all(kind: str) -> None:
    whole, middle = encoder(kind).eval(), encoder(kind, bins=4).eval()
    middle.load_pretrained(whole.network.state_dict())
    size = whole.config.network.bin_size
    bases = drawn_bases(2, 16 * size, 1)
    tokens = Tokens(bases, torch.ones_like(bases, dtype=torch.bool))
    torch.testing.assert_close(middle(tokens).states, whole(tokens).states[:, 6:10])
    assert (middle.positions(16 * size), whole.positions(16 * size - 1), whole.positions(0)) == (4, 16, 0)
    with pytest.raises(ValueError, match=rf"dna_window={3 * size} has 3 bins of {size} bp, but 4"):
        middle.config.check_window(3 * size)
    middle.config.check_window(4 * size)


@pytest.mark.parametrize("kind", SMALL)
def test_recomputing_keeps_less_and_gives_the_same_gradients(kind: str) -> None:
    bases = drawn_bases(2, 256, 2)
    tokens = Tokens(bases, torch.ones_like(bases, dtype=torch.bool))
    gradients, kept = [], []
    for recompute in (False, True):
        module = encoder(kind, batch_norm="frozen", recompute=recompute).train()
        sizes: list[int] = []

        def count(value: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(value.nbytes)
            return value

        torch.manual_seed(7)  # of dropout
        with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
            out = module(tokens).states
        out.square().sum().backward()
        gradients.append({name: value.grad for name, value in module.named_parameters()})
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value)
    assert not encoder(kind, batch_norm="frozen", recompute=True).eval().network.recompute
    with pytest.raises(ValueError, match="recompute=true would move batch statistics twice"):
        encoder(kind, recompute=True)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dim": 10, "heads": 4}, "dim=10 must be even"),
        ({"dim": 16, "heads": 2}, "heads=2 times a multiple of 6"),
        ({"downsamples": 2}, "downsamples=2"),
        ({"bins": 0}, "null keeps all"),
        ({"dim": 12, "heads": 2, "divisible_by": 128}, "too large for dim=12"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EnformerNetworkConfig(**fields)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="features=31 must be even"):
        BorzoiNetworkConfig(features=31)
    with pytest.raises(ValueError, match=r"bins=-1 is below 0; 0 reads all"):
        BorzoiConfig(bins=-1)
    with pytest.raises(ValueError, match="size=published: the weights folder have width 24"):
        EnformerConfig(size="published", weights="folder").fitted(SMALL["enformer"].network)
    tensorflow = EnformerConfig(gamma="tensorflow").fitted(EnformerNetworkConfig())
    assert tensorflow.network.gamma == "tensorflow" and EnformerConfig().network.gamma == "pytorch"


def test_a_frozen_norm_uses_what_it_has_and_a_learning_one_what_it_sees() -> None:
    hidden = torch.tensor([[[1.0, 3.0]], [[5.0, 7.0]]])  # mean 4, variance 5, unbiased 20 / 3
    still, moving = BatchNorm(1, 1e-12, frozen=True).train(), BatchNorm(1, 1e-12, frozen=False).train()
    torch.testing.assert_close(still(hidden), hidden)
    torch.testing.assert_close(moving(hidden), (hidden - 4) / 5**0.5)
    torch.testing.assert_close(moving.mean, torch.tensor([0.4]))
    torch.testing.assert_close(moving.variance, torch.tensor([0.9 + 2 / 3]))
    assert not still.mean.any() and isinstance(still, nn.Module)
