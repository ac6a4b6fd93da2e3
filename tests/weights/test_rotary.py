"""Public checkpoints of ESM-2 and NT-v2: read by their names and config, strictly; where a source is looked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from cisoform.errors import InputError
from cisoform.genome.files import sha256_file, user_cache_dir
from cisoform.tokens.kmer import vocabulary
from cisoform.tokens.protein import ESM_VOCABULARY
from cisoform.weights.rotary import read_rotary, save_rotary
from tests.weights.public_rotary import esm2_config, nt_config, tensors, write

CONFIGS = {"esm2": esm2_config, "nt_v2": nt_config}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("pickled", [False, True])
def test_every_public_tensor_lands_where_it_belongs(kind: str, pickled: bool, tmp_path: Path) -> None:
    config = CONFIGS[kind]()
    given = tensors(config)
    found = read_rotary(write(tmp_path / "public", config, given, pickled))
    assert (found.kind, found.head, found.config.norm_eps) == (kind, True, config["layer_norm_eps"])
    state, layer = found.state, "esm.encoder.layer.1"
    pairs = {
        "embedding.weight": "esm.embeddings.word_embeddings.weight",
        "layers.1.attention.key.bias": f"{layer}.attention.self.key.bias",
        "layers.1.attention.dense.weight": f"{layer}.attention.output.dense.weight",
        "layers.1.attention_norm.weight": f"{layer}.attention.LayerNorm.weight",
        "layers.1.ffn_norm.bias": f"{layer}.LayerNorm.bias",
        "layers.1.ffn_in.weight": f"{layer}.intermediate.dense.weight",
        "layers.1.ffn_out.weight": f"{layer}.output.dense.weight",
        "norm.bias": "esm.encoder.emb_layer_norm_after.bias",
        "head.dense.bias": "lm_head.dense.bias",
        "head.norm.weight": "lm_head.layer_norm.weight",
        "head.decoder.weight": "lm_head.decoder.weight",
        "head.decoder.bias": "lm_head.bias",
    }
    for ours, public in pairs.items():
        assert torch.equal(state[ours], given[public]), ours
    assert len(state) + len(found.about["left_out"]) == len(given)
    network = found.network()
    assert network.config.gated == (kind == "nt_v2") and network.config.token_dropout == (kind == "esm2")
    assert torch.equal(found.encoder().network.norm.bias, state["norm.bias"])


def test_a_converted_folder_reads_as_its_source(tmp_path: Path) -> None:
    source = read_rotary(write(tmp_path / "public", nt_config()), "nt_v2")
    save_rotary(tmp_path / "ours", source)
    again = read_rotary(tmp_path / "ours", "nt_v2")
    assert (again.kind, again.config, again.about) == (source.kind, source.config, source.about)
    assert again.state.keys() == source.state.keys()
    assert all(torch.equal(value, source.state[name]) for name, value in again.state.items())
    with pytest.raises(InputError, match=r"is Nucleotide Transformer v2, but ESM-2 is asked for"):
        read_rotary(tmp_path / "ours", "esm2")


@pytest.mark.golden
def test_the_golden_files_as_public_folders_give_the_golden_outputs(golden_dir: Path, tmp_path: Path) -> None:
    with safe_open(str(golden_dir / "esm2_small.safetensors"), "pt") as file:
        config = {"model_type": "esm", **json.loads(file.metadata()["config"])}
        given = {name: file.get_tensor(name) for name in file.keys()}
    state = {name.removeprefix("weights."): v for name, v in given.items() if name.startswith("weights.")}
    network = read_rotary(write(tmp_path / "esm2", config, state)).network()
    ids, mask = given["in.tokens"][:3], given["in.mask"][:3]
    with torch.no_grad():
        found = network.logits(ids, mask)[mask]
    expected = given["out.logits"][:3][mask]
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_tied_headless_and_half_precision_checkpoints(tmp_path: Path) -> None:
    config = esm2_config()
    given = tensors(config)
    del given["lm_head.decoder.weight"]
    tied = read_rotary(write(tmp_path / "tied", config, given))
    assert torch.equal(tied.state["head.decoder.weight"], tied.state["embedding.weight"])
    bare = {
        n.removeprefix("esm."): v.half() for n, v in given.items() if n.startswith("esm.") and "ids" not in n
    }
    bare["pooler.dense.weight"] = torch.zeros(1)
    headless = read_rotary(write(tmp_path / "headless", config, bare))
    assert not headless.head and headless.state["norm.bias"].dtype == torch.float32
    untied = esm2_config(tie_word_embeddings=False)
    with pytest.raises(InputError, match=r"head.decoder.weight is missing"):
        read_rotary(write(tmp_path / "untied", untied, given))


def changed(**changes: Any) -> dict[str, Any]:
    return esm2_config(**changes)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (changed(model_type="bert"), r"config.json: model_type is 'bert', not 'esm'"),
        (
            changed(position_embedding_type="absolute"),
            r"'absolute': ESM-1 or the first Nucleotide Transformer",
        ),
        (changed(vocab_size=34), r"vocab_size is 34, ESM-2 has 33"),
        (changed(mask_token_id=2), r"mask_token_id is 2, ESM-2 has 32"),
        (changed(hidden_size="12"), r"hidden_size is '12', expected a whole number"),
        (changed(num_attention_heads=5), r"dim=12 is not heads=5 times"),
    ],
)
def test_configs_of_other_networks_are_refused(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_rotary(write(tmp_path / "public", config, tensors(esm2_config())))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (changed(num_hidden_layers=3), r"layers.2.attention_norm.weight is missing; .*13 more differences"),
        (changed(num_hidden_layers=1), r"layers.1.*is not part of it"),
        (changed(intermediate_size=24), r"layers.0.ffn_in.weight has shape \(20, 12\), expected \(24, 12\)"),
        (changed(emb_layer_norm_before=True), r"norm_before.weight is missing"),
    ],
)
def test_a_difference_between_config_and_tensors_is_an_error_that_says_it(
    config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        read_rotary(write(tmp_path / "public", config, tensors(esm2_config())))


def test_tensors_that_contradict_the_network_are_refused(tmp_path: Path) -> None:
    config, given = esm2_config(), tensors(esm2_config())
    other = {**given, "classifier.dense.weight": torch.zeros(2, 2)}
    with pytest.raises(InputError, match="classifier.dense.weight is not part of it"):
        read_rotary(write(tmp_path / "classifier", config, other))
    name = "esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq"
    with pytest.raises(InputError, match="base 10000"):
        read_rotary(write(tmp_path / "frequencies", config, {**given, name: given[name] * 2}))
    twice = {**given, "lm_head.decoder.bias": given["lm_head.bias"] + 1}
    with pytest.raises(InputError, match="differs from another tensor that means head.decoder.bias"):
        read_rotary(write(tmp_path / "twice", config, twice))
    same = {**given, "lm_head.decoder.bias": given["lm_head.bias"].clone()}
    assert read_rotary(write(tmp_path / "same", config, same)).head


@pytest.mark.parametrize(("kind", "words"), [("esm2", list(ESM_VOCABULARY)), ("nt_v2", vocabulary())])
def test_a_vocabulary_beside_the_weights_must_be_ours(kind: str, words: list[str], tmp_path: Path) -> None:
    folder = write(tmp_path / "public", CONFIGS[kind]())
    for extra in ([], ["<bos>"]):
        (folder / "vocab.txt").write_text("\n".join([*words, *extra]))
        assert read_rotary(folder).kind == kind
    words = [*words[:5], words[6], words[5], *words[7:]]
    (folder / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(InputError, match=rf"vocab.txt: line 6: '{words[5]}'"):
        read_rotary(folder)


def test_a_hub_name_is_looked_for_here_and_never_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    name = "facebook/esm2_t6_8M_UR50D"
    with pytest.raises(
        InputError, match=r"fetch config.json and model.safetensors .*hub/facebook/esm2_t6_8M_UR50D"
    ):
        read_rotary(f"hf://{name}")
    with pytest.raises(InputError, match=rf"or hf://{name} for a repository"):
        read_rotary(name)
    with pytest.raises(InputError, match="hf://OWNER/NAME"):
        read_rotary("hf://../../etc")
    write(user_cache_dir("hub") / name, esm2_config())
    assert read_rotary(f"hf://{name}").about["source"] == f"hf://{name}"


def test_the_cache_of_the_hubs_tools_is_read_and_its_hashes_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    root = tmp_path / "hub" / "models--a--b"
    snapshot = write(root / "snapshots" / "c0ffee", esm2_config())
    file = snapshot / "model.safetensors"
    (root / "blobs").mkdir()
    blob = root / "blobs" / sha256_file(file)
    file.rename(blob)
    file.symlink_to(blob)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("c0ffee")
    assert read_rotary("hf://a/b").kind == "esm2"
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(InputError, match=f"expected {blob.name}"):
        read_rotary("hf://a/b")
