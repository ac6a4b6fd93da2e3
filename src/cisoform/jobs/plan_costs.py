"""What a CREformer costs, from its config alone: parameters, FLOPs, memory. Pure arithmetic; no model is built.

A FLOP is a multiplication or an addition of a matrix product, attention's two products among them; norms, softmax,
activations and look-ups are left out, as in `torch.utils.flop_counter`. A training step counts three forward
passes. Bytes are those of tensors; what an allocator adds is not known here. Tests count the same numbers on models:
parameters exactly, FLOPs and the tensors that autograd keeps to a few per cent.
"""

from __future__ import annotations

from dataclasses import dataclass

from cisoform.data.gene_states import N_TOKENS
from cisoform.models.creformer import CREformerConfig, ElementaryConfig
from cisoform.models.creformer.elementary import DNA_VOCABULARY, SIGNAL_VOCABULARY

FLAT_HIDDEN = 32
"""Hidden units of the released head."""
TRAINING_PASSES = 3
"""Forward, and twice as much backward: gradients of inputs and of weights."""
ADAM_VALUES = 2
"""Running means that the optimiser keeps for each weight, in float32."""
WIDTH = {"fp32": 4, "bf16": 2}
"""Bytes of a number."""


@dataclass(frozen=True)
class Layer:
    """Sizes of a transformer layer."""

    dim: int
    heads: int
    ffn: int

    @property
    def parameters(self) -> int:
        """Packed projection, output projection, feed-forward, two norms; all with biases."""
        d, f = self.dim, self.ffn
        return 4 * d * d + 4 * d + 2 * d * f + f + d + 4 * d

    def flops(self, queries: int, keys: int) -> int:
        """A forward pass of one row in which `queries` of `keys` positions are computed."""
        d = self.dim
        projections = 4 * queries * d * d + 4 * keys * d * d
        return projections + 4 * queries * keys * d + 4 * queries * d * self.ffn

    def kept_bytes(self, dtype: str, dropout: bool = False, device: str = "cuda") -> int:
        """Bytes of one position that autograd keeps for the backward pass.

        Input and sum before the second norm (float32 under autocast too, as residuals are); the inputs of both
        projections, packed query, key and value, context, and the feed-forward's hidden units in the layer's
        type; attention's row sums and the norms' two statistics. Dropout adds two masks of the residual's width.
        On a CPU attention stays float32 under bf16 (`nn.attention.attend`), so its four tensors are kept as that.
        """
        width = WIDTH[dtype]
        attention = 4 * self.dim * width
        if device == "cpu" and dtype == "bf16":
            attention = 4 * self.dim * 4 + self.dim * width
        kept = 2 * self.dim * 4 + attention + (2 * self.dim + self.ffn) * width
        masks = 2 * self.dim * width if dropout else 0
        return kept + (self.heads + 4) * 4 + masks

    def working_bytes(self, dtype: str) -> int:
        """Most bytes of one position that are alive at once in a forward pass without gradients.

        In attention nine residuals' width (embeddings, windows of bins, input, normed, packed, context); in the
        feed-forward seven and its hidden units.
        """
        return max(9 * self.dim, 7 * self.dim + self.ffn) * WIDTH[dtype]


def layer_of(config: ElementaryConfig) -> Layer:
    """Layers of all three stacks have the same sizes."""
    return Layer(config.dim, config.heads, config.ffn)


def stack_parameters(config: ElementaryConfig, layers: int) -> int:
    """A stack: its layers and one more norm."""
    return layers * layer_of(config).parameters + 2 * config.dim


def stack_flops(layer: Layer, layers: int, positions: int, first_only: bool = False) -> int:
    """A forward pass of one row; with `first_only` the last layer computes position 0 alone."""
    last = layer.flops(1 if first_only else positions, positions)
    return (layers - 1) * layer.flops(positions, positions) + last


# --- parameters ------------------------------------------------------------------------------------------------


def elementary_parameters(config: ElementaryConfig) -> dict[str, int]:
    """Parameters of the first stage, by part."""
    d = config.dim
    return {
        "DNA table": DNA_VOCABULARY * d,
        "track tables": len(config.tracks) * SIGNAL_VOCABULARY * d,
        "positions of Elementary": (config.bin_size + 2 + config.max_bins + 1) * d,
        "bin encoder": stack_parameters(config, config.bin_layers),
        "window encoder": stack_parameters(config, config.window_layers),
    }


def pretraining_heads(config: ElementaryConfig) -> int:
    """Parameters of the heads that only pre-training has: hidden 6-mers, and per track hidden levels and bins."""
    per_track = 2 * SIGNAL_VOCABULARY * (config.dim + 1)
    return DNA_VOCABULARY * (config.dim + 1) + len(config.tracks) * per_track


def regulatory_parameters(config: CREformerConfig) -> dict[str, int]:
    """Parameters of the second stage, by part."""
    d = config.elementary.dim
    by_distance = (2 * config.distance_frequencies + 1) * d + d
    flat = config.max_peaks * d * FLAT_HIDDEN + 2 * FLAT_HIDDEN + 1
    tss = 4 * d + 2 * d * d + d + d + 1
    return {
        "attention pool": d * d,
        "padding vector": 0 if config.mask_padding else d,
        "positions of peaks": config.rank_rows * d if config.positions == "rank" else by_distance,
        "peak encoder": stack_parameters(config.elementary, config.layers),
        "head": flat if config.head == "flat" else tss,
    }


# --- FLOPs -----------------------------------------------------------------------------------------------------


def window_flops(config: ElementaryConfig, tokens: int, first_only: bool) -> int:
    """Elementary on one window of `tokens`, a multiple of the bin size.

    Args:
        config: Sizes.
        tokens: Length.
        first_only: The bin encoder's last layer computes the CLS position alone, as it does wherever tokens are
            not read; else all of them, as the released code and pre-training do.
    """
    layer, bins = layer_of(config), tokens // config.bin_size
    inside = bins * stack_flops(layer, config.bin_layers, config.bin_size + 1, first_only)
    return inside + stack_flops(layer, config.window_layers, bins)


def pool_flops(config: ElementaryConfig) -> int:
    """The attention pool over the bins of one peak."""
    return 2 * (N_TOKENS // config.bin_size) * config.dim**2


def peak_flops(config: ElementaryConfig, first_only: bool = True) -> int:
    """One peak of 1,024 tokens through Elementary and the pool."""
    return window_flops(config, N_TOKENS, first_only) + pool_flops(config)


def slots_of(config: CREformerConfig, peaks: int) -> int:
    """Positions of the peak encoder: all slots where padding takes part, else the peaks."""
    return peaks if config.mask_padding else config.max_peaks


def regulate_flops(config: CREformerConfig, peaks: int) -> int:
    """Peak transformer and head on one gene."""
    d, slots = config.elementary.dim, slots_of(config, peaks)
    total = stack_flops(layer_of(config.elementary), config.layers, slots)
    if config.positions == "distance":
        total += 2 * slots * (2 * config.distance_frequencies + 1) * d
    head = 2 * (config.max_peaks * d + 1) * FLAT_HIDDEN if config.head == "flat" else 2 * (2 * d * d + d)
    return total + head


def gene_flops(config: CREformerConfig, peaks: int, first_only: bool = True) -> int:
    """One gene in one cell with every peak encoded anew."""
    return peaks * peak_flops(config.elementary, first_only) + regulate_flops(config, peaks)


def heads_flops(config: ElementaryConfig, dna_places: int | float, level_places: int | float) -> int | float:
    """The pre-training heads at so many hidden 6-mers, and hidden levels and preserved bins together."""
    return 2 * config.dim * (dna_places * DNA_VOCABULARY + level_places * SIGNAL_VOCABULARY)


def pretraining_flops_per_token(
    config: ElementaryConfig, tokens: int, dna_share: float, level_share: float
) -> dict[str, float]:
    """Training FLOPs per token (bp) of windows of that length.

    Args:
        config: Sizes and tracks.
        tokens: Length of a window.
        dna_share: Share of hidden bases of DNA.
        level_share: The same of tracks; as if all were shown, so at most.

    Returns:
        "encoder" and "heads".
    """
    n_tracks = len(config.tracks)
    heads = heads_flops(config, dna_share, n_tracks * (level_share + 1 / config.bin_size))
    encoder = window_flops(config, tokens, first_only=False) / tokens
    return {"encoder": TRAINING_PASSES * encoder, "heads": TRAINING_PASSES * heads}


def fit_flops(config: CREformerConfig, peaks: int, cached: bool) -> int:
    """Training FLOPs of one (cell, gene) sample with Elementary frozen: pool, peak transformer and head learn.

    Args:
        config: Sizes.
        peaks: Peaks of the gene; each pays for its own pooling, though a batch pools a shared state once.
        cached: Bins come from the feature cache; else every peak is encoded anew, forward alone.
    """
    learnt = TRAINING_PASSES * (peaks * pool_flops(config.elementary) + regulate_flops(config, peaks))
    return learnt if cached else learnt + peaks * window_flops(config.elementary, N_TOKENS, first_only=True)


# --- memory ----------------------------------------------------------------------------------------------------


def summed(parts: dict[str, int]) -> dict[str, int]:
    """The parts and their total."""
    return {**parts, "total": sum(parts.values())}


def weights_bytes(parameters: int, dtype: str) -> int:
    """Weights cast to a type."""
    return parameters * WIDTH[dtype]


def training_state_bytes(trainable: int, frozen: int, dtype: str) -> dict[str, int]:
    """Float32 weights, gradients and AdamW's means; with bf16, autocast's copies of the weights come on top."""
    return {
        "weights": (trainable + frozen) * 4 + ((trainable + frozen) * 2 if dtype == "bf16" else 0),
        "gradients": trainable * 4,
        "optimiser": trainable * ADAM_VALUES * 4,
    }


def pretraining_kept_bytes(
    config: ElementaryConfig,
    tokens: int,
    dna_share: float,
    level_share: float,
    dtype: str,
    device: str = "cuda",
) -> int:
    """Activations kept for the backward pass of a batch of so many tokens, in windows of any length.

    Besides the layers: what the heads read at hidden places, and their probabilities in float32.
    """
    layer, size = layer_of(config), config.bin_size
    bins = tokens // size
    positions = bins * (size + 1) * config.bin_layers + bins * config.window_layers
    dropout = config.dropout > 0
    levels = len(config.tracks) * tokens * (level_share + 1 / size)
    read = (tokens * dna_share + levels) * config.dim * WIDTH[dtype]
    probabilities = 4 * (tokens * dna_share * DNA_VOCABULARY + levels * SIGNAL_VOCABULARY)
    ends = bins * (size + 2) * 4 * config.dim  # norm at the end (or start) of both stacks
    return round(positions * layer.kept_bytes(dtype, dropout, device) + read + probabilities + ends)


def fit_kept_bytes(
    config: CREformerConfig, samples: int, peaks: int, dtype: str, device: str = "cuda"
) -> int:
    """Activations kept of a batch of samples in the second stage; as if no two samples shared a state."""
    layer, d = layer_of(config.elementary), config.elementary.dim
    slots = samples * slots_of(config, peaks)
    bins = N_TOKENS // config.elementary.bin_size
    pooled = samples * peaks * bins * d * (4 + 4 + (2 if dtype == "bf16" else 0))
    stack = config.layers * slots * layer.kept_bytes(dtype, config.dropout > 0, device)
    return pooled + stack + slots * 4 * d


def inference_working_bytes(config: CREformerConfig, samples: int, peaks: int, dtype: str) -> int:
    """The larger of encoding a chunk of bins and of running a batch of genes."""
    layer = layer_of(config.elementary)
    chunk = config.elementary.chunk_bins * (config.elementary.bin_size + 1)
    return layer.working_bytes(dtype) * max(chunk, samples * slots_of(config, peaks))


# --- disk ------------------------------------------------------------------------------------------------------


def feature_bytes(dim: int, form: str, precision: str, bin_size: int = 128) -> int:
    """Bytes of one peak state in the feature cache: its bins, or one pooled vector."""
    width = {"fp32": 4, "fp16": 2, "bf16": 2}[precision]
    return (N_TOKENS // bin_size if form == "bins" else 1) * dim * width


def region_bytes(samples: int, tracks: int, windows: int, window: int, bin_size: int = 128) -> dict[str, int]:
    """Disk of stage 1's data: a byte a base and track, and float32 means of the bins."""
    rows = samples * windows * tracks
    return {"tokens": rows * window, "bin means": rows * (window // bin_size) * 4}
