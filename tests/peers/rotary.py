"""Make `rotary.safetensors`: layers and gradients of the golden ESM-2 and NT-v2 by `transformers`, for the parity tests.

Run by hand in an environment of its own (the package never needs `transformers`); the file is kept in the repository:

    pip install torch transformers==4.56.2
    python tests/peers/rotary.py GOLDEN_DIR

The golden files hold the weights and the embeddings; they have no gradients, and no middle layers of ESM-2. NT-v2 is
`EsmModel` with the gated feed-forward without biases of the authors' `modeling_esm.py`. Sequences with `<mask>` (the
last row of ESM-2) are left out: `transformers` divides by the padded length there. The loss is the sum of the output at
real tokens times cos(0), cos(1), ... of their flat index.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import EsmConfig, EsmModel


class Gated(nn.Module):
    def __init__(self, dim, ffn):
        super().__init__()
        self.dense = nn.Linear(dim, 2 * ffn, bias=False)

    def forward(self, hidden):
        gate, value = self.dense(hidden).chunk(2, dim=-1)
        return nn.functional.silu(gate) * value


def golden(path):
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


def esm2(folder):
    about, tensors = golden(folder / "esm2_small.safetensors")
    return EsmModel(EsmConfig(**json.loads(about["config"])), add_pooling_layer=False), tensors


def nt_v2(folder):
    about, tensors = golden(folder / "nucleotide_transformer_v2_small.safetensors")
    dim, ffn = int(about["dim"]), int(about["ffn"])
    config = EsmConfig(
        vocab_size=4107,
        hidden_size=dim,
        num_hidden_layers=int(about["layers"]),
        num_attention_heads=int(about["heads"]),
        intermediate_size=ffn,
        pad_token_id=1,
        mask_token_id=2,
        position_embedding_type="rotary",
        token_dropout=False,
        emb_layer_norm_before=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-5,
    )
    model = EsmModel(config, add_pooling_layer=False)
    for layer in model.encoder.layer:
        layer.intermediate = Gated(dim, ffn)
        layer.output.dense = nn.Linear(ffn, dim, bias=False)
    return model, tensors


def vectors(model, tensors, rows):
    state = {
        name.removeprefix("weights.esm."): value
        for name, value in tensors.items()
        if name.startswith("weights.esm.") and "contact_head" not in name
    }
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("contact_head" in n or "inv_freq" in n for n in missing), (
        missing,
        unexpected,
    )
    model.eval()
    ids = tensors["in.tokens"][:rows].long()
    mask = ids != 1
    found = model(ids, attention_mask=mask.long(), output_hidden_states=True)
    last = found.last_hidden_state[mask]
    (last * torch.arange(last.numel()).cos().reshape(last.shape)).sum().backward()
    out = {f"layer_{n}": value[mask].detach() for n, value in enumerate(found.hidden_states[1:-1], 1)}
    for name, value in model.named_parameters():
        if ".layer.0." in name or "layer_norm_after" in name:
            out[f"gradient.{name}"] = value.grad
    used = ids[mask].unique()
    out["used"] = used
    out["gradient.used_embeddings"] = model.embeddings.word_embeddings.weight.grad[used]
    return out


if __name__ == "__main__":
    torch.manual_seed(0)
    source = Path(sys.argv[1])
    content = {}
    for kind, (peer, inputs), n_rows in (("esm2", esm2(source), 3), ("nt_v2", nt_v2(source), 4)):
        content |= {
            f"{kind}.{name}": value.contiguous() for name, value in vectors(peer, inputs, n_rows).items()
        }
    save_file(content, Path(__file__).with_name("rotary.safetensors"))
