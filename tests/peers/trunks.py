"""Make `trunks.safetensors`: Enformer and Borzoi by the public packages on drawn weights, for the parity tests.

Run by hand in an environment of its own (the package never needs these); the file is kept in the repository:

    pip install torch einops "transformers==4.56.2" enformer-pytorch==0.8.12 pandas
    pip install --no-deps borzoi-pytorch==0.5.1
    python -m tests.peers.trunks

Weights and inputs are drawn by `drawn`; names and shapes of the public tensors, and the configs, are in the metadata.
borzoi-pytorch fixes the widths of its tower: here they are divided by 32 while the model is built, and nothing else is
changed. The loss is the sum of the output times cos(0), cos(1), ... of its flat index.
"""

import json
from pathlib import Path

import torch
from borzoi_pytorch import Borzoi
from borzoi_pytorch import pytorch_borzoi_model as borzoi
from borzoi_pytorch import pytorch_borzoi_transformer as borzoi_attention
from enformer_pytorch import Enformer
from safetensors.torch import save_file
from torch import nn

from tests.peers.drawn import drawn, drawn_bases

ENFORMER = {
    "small": (
        {"dim": 48, "depth": 2, "heads": 2, "attn_dim_key": 16, "dim_divisible_by": 4, "target_length": 6},
        2,
        2048,
    ),
    "odd": (
        {"dim": 48, "depth": 1, "heads": 2, "attn_dim_key": 8, "dim_divisible_by": 4, "target_length": -1},
        1,
        1001,
    ),
    # The table of the densities of the authors' code is for 1,536 bins alone.
    "tensorflow": (
        {
            "dim": 192,
            "depth": 1,
            "heads": 1,
            "attn_dim_key": 16,
            "dim_divisible_by": 4,
            "num_downsamples": 3,
            "target_length": 12,
        },
        1,
        12_288,
    ),
}
PLACES = 8


def one_hot(bases):
    return nn.functional.one_hot(bases, 5)[..., :4].float()


def seen(model, parts, run):
    """The outputs of some modules in one run, of convolutions about 8 places spread over each row."""
    kept = {}
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: kept.__setitem__(name, out.detach()))
        for name, part in parts.items()
    ]
    out = run()
    for hook in hooks:
        hook.remove()
    return out, {name: value if "layer" in name else thinned(value) for name, value in kept.items()}


def thinned(value):
    return value[..., :: -(-value.shape[-1] // PLACES)]


def gradients(model, out, wanted):
    (out * torch.arange(out.numel()).cos().reshape(out.shape)).sum().backward()
    named = dict(model.named_parameters())
    return {f"gradient.{name}": named[name].grad.clone() for name in wanted}


def shapes(model):
    """Without the second names of the parts of Enformer."""
    state = model.state_dict()
    return {name: list(value.shape) for name, value in state.items() if not name.startswith("_trunk.")}


def load(model):
    missing, unknown = model.load_state_dict(drawn(shapes(model)), strict=False)
    assert not unknown and all(name.startswith("_trunk.") for name in missing)
    model.eval()


def enformer(name):
    sizes, rows, length = ENFORMER[name]
    tensorflow = name == "tensorflow"
    model = Enformer.from_hparams(**sizes, output_heads={"human": 5}, use_tf_gamma=tensorflow)
    load(model)
    bases = drawn_bases(rows, length, len(name))
    parts = {"tower_0": model.stem}
    parts |= {f"tower_{n + 1}": part for n, part in enumerate(model.conv_tower)}
    parts |= {f"layer_{n}": part for n, part in enumerate(model.transformer)}
    out, kept = seen(
        model, {} if tensorflow else parts, lambda: model(one_hot(bases), return_only_embeddings=True)
    )
    wanted = ["conv_tower.0.0.2.weight", "transformer.0.0.fn.1.to_rel_k.weight", "final_pointwise.1.0.weight"]
    wanted += ["stem.2.to_attn_logits.weight", "transformer.0.0.fn.1.rel_pos_bias", "stem.1.fn.0.weight"]
    found = {**kept, "out": out.detach(), "tracks": model.heads["human"](out).detach()}
    if not tensorflow:
        found |= gradients(model, out, wanted)
    return (
        found,
        {**sizes, "use_tf_gamma": tensorflow, "output_heads": {"human": 5}},
        shapes(model),
        (rows, length),
    )


def narrow(width):
    return width if width in (4, 48) else width // 32


def borzoi_small():
    public = borzoi.ConvBlock.__init__
    borzoi.ConvBlock.__init__ = lambda self, in_channels, out_channels, **more: public(
        self, narrow(in_channels), narrow(out_channels), **more
    )
    sizes = {"dim": 48, "depth": 2, "heads": 2, "attn_dim_key": 8, "attn_dim_value": 12, "bins_to_return": 41}
    model = Borzoi.from_hparams(**sizes, enable_mouse_head=False)
    borzoi.ConvBlock.__init__ = public
    model.conv_dna.conv_layer = nn.Conv1d(4, 512 // 32, 15, padding="same")
    model.human_head = nn.Conv1d(1920 // 32, 5, 1)
    load(model)
    rows, length = 2, 2048
    inputs = one_hot(drawn_bases(rows, length, 3)).transpose(1, 2)
    parts = {"stem": model.conv_dna.conv_layer, "bridge": model.unet1, "up_0": model.separable1}
    parts |= {f"tower_{n}": model.res_tower[2 * n] for n in range(5)} | {"up_1": model.separable0}
    parts |= {f"layer_{n}": part for n, part in enumerate(model.transformer)}
    run = lambda: model(inputs, return_embeddings=True)  # noqa: E731
    (tracks, out), kept = seen(model, parts, run)
    out = out.transpose(1, 2)
    wanted = [
        "res_tower.2.conv_layer.weight",
        "horizontal_conv0.norm.weight",
        "separable1.conv_layer.0.weight",
    ]
    wanted += ["transformer.0.0.fn.1.to_rel_k.weight", "upsampling_unet1.0.conv_layer.bias"]
    found = {**kept, "out": out.detach(), "tracks": tracks.detach().transpose(1, 2)}
    found["basis_70"] = borzoi_attention.get_positional_embed(70, 4096, 32, "cpu").to(torch.int8)
    return found | gradients(model, out, wanted), sizes, shapes(model), (rows, length)


if __name__ == "__main__":
    torch.set_num_threads(1)
    content, about = {}, {}
    made = {f"enformer_{name}": enformer(name) for name in ENFORMER} | {"borzoi_small": borzoi_small()}
    for name, (found, config, tensors, bases) in made.items():
        content |= {f"{name}.{key}": value.contiguous() for key, value in found.items()}
        about[name] = json.dumps({"config": config, "shapes": tensors, "bases": bases})
    path = Path(__file__).with_name("trunks.safetensors")
    save_file(content, path, metadata=about)
    path.chmod(0o644)
