"""`weights convert isoformer` on a synthetic public checkpoint: what it computes, what is reported, what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from cisoform.batches import IsoformBatch, Modality, Tokens
from cisoform.data.normalisation_values import RELEASED_TISSUES, read_normalisation_values
from cisoform.errors import InputError
from cisoform.genome.files import sha256_file
from cisoform.jobs.isoform_model import IsoformModel
from cisoform.weights.isoformer import read_isoformer
from cisoform.weights.isoformer_parts import find_parts
from cisoform.weights.rotary import read_rotary
from cisoform.weights.trunks import read_trunk, shapes_of
from tests.cli.mini import write_mini_project
from tests.cli.test_weights_rotary import evil
from tests.peers.drawn import drawn_bases
from tests.weights.public_isoformer import (
    PREFIXES,
    isoformer_config,
    isoformer_tensors,
    normalisation_csv,
    write_isoformer,
)
from tests.weights.public_rotary import esm2_config, nt_config
from tests.weights.public_rotary import tensors as rotary_tensors
from tests.weights.public_rotary import write as write_public
from tests.weights.public_trunks import write_trunk

Cli = Callable[..., Any]
CliError = Callable[..., str]


def attended(public: dict[str, Tensor], partner: str, hidden: Tensor, keys: Tensor) -> Tensor:
    """The released layer by hand: 8 heads, scaled queries, no positions, residual."""

    def linear(kind: str, inputs: Tensor) -> Tensor:
        layer = f"cross_attention_layer_{partner}.{kind}"
        return inputs @ public[f"{layer}.weight"].T + public[f"{layer}.bias"]

    query, key, value = linear("query", hidden), linear("key", keys), linear("value", keys)
    width = query.shape[1] // 8
    context = []
    for head in range(8):
        part = slice(head * width, (head + 1) * width)
        scores = query[:, part] / math.sqrt(width) @ key[:, part].T
        context.append(torch.exp(scores) / torch.exp(scores).sum(dim=1, keepdim=True) @ value[:, part])
    return linear("dense", torch.cat(context, dim=1)) + hidden


@torch.no_grad()
def test_the_converted_model_computes_what_its_parts_do_by_hand(cli: Cli, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    public = isoformer_tensors()
    folder = write_isoformer(tmp_path / "public", tensors=public)
    digest = sha256_file(folder / "pytorch_model.bin")
    result = cli("weights", "convert", "isoformer", folder, tmp_path / "ours", "--sha256", digest, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["prefixes"]["dna"] == "enformer_model." and found["head"] == [
        "expression_head.0",
        "expression_head.2",
    ]
    assert (found["dna_window"], found["rna_max"], found["protein_max"]) == (2048, 600, 400)
    model = IsoformModel.load(tmp_path / "ours")
    assert (
        model.tissues == list(RELEASED_TISSUES) and "base and offset not published" in model.columns[0].unit
    )
    # Encoders that are read from checkpoints of their own.
    dna = read_trunk(write_trunk(tmp_path / "dna", "enformer"), "enformer").network()
    rna = read_rotary(write_public(tmp_path / "rna", nt_config()), "nt_v2").network()
    protein = read_rotary(write_public(tmp_path / "protein", esm2_config()), "esm2").network()
    bases, kmers, residues = (
        drawn_bases(1, 2048, 5),
        torch.tensor([[3, 9, 77, 4102]]),
        torch.tensor([[0, 7, 9, 2]]),
    )
    every = torch.ones(1, 4, dtype=torch.bool)
    hidden = attended(public, "rna", dna(bases)[0], rna(kmers, every)[0])
    pooled = attended(public, "protein", hidden, protein(residues, every)[0]).mean(dim=0)
    inner = pooled @ public["expression_head.0.weight"].T + public["expression_head.0.bias"]
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    standardised = inner @ public["expression_head.2.weight"].T + public["expression_head.2.bias"]

    def modality(ids: Tensor) -> Modality:
        one = torch.zeros(1, dtype=torch.long)
        return Modality(Tokens(ids, torch.ones_like(ids, dtype=torch.bool)), one, one == 0)

    batch = IsoformBatch(
        modality(bases), modality(kmers), modality(residues), torch.zeros(1, dtype=torch.long)
    )
    out = model.model(batch)[0]
    assert (out - standardised).abs().max() <= 1e-5 * standardised.abs().max()
    expected = standardised.numpy() * (1 + 0.1 * np.arange(30)) + 2 + 0.1 * np.arange(30)
    np.testing.assert_allclose(model.normaliser.to_log1p(out[None].numpy())[0], expected, rtol=1e-4)


def test_a_converted_model_predicts_and_says_what_is_assumed(cli: Cli, tmp_path: Path) -> None:
    folder = write_isoformer(tmp_path / "public")
    result = cli("weights", "convert", "isoformer", folder, tmp_path / "ours")
    assert result.exit_code == 0 and "30 tissues; windows of 2,048 bp" in result.stdout
    for said in ("pool window 0..1 means all bins", "GELU between the 2 linear layers", "not published"):
        assert said in result.stderr
    mini = write_mini_project(tmp_path / "mini")
    out = tmp_path / "predictions.tsv"
    words = ("--genome", mini.genome, "--annotation", mini.annotation, "--out", out, "--device", "cpu")
    predicted = cli("isoform", "predict", tmp_path / "ours", *words)
    assert predicted.exit_code == 0, predicted.stderr
    table = pl.read_csv(out, separator="\t", comment_prefix="#")
    values = table.select(RELEASED_TISSUES).to_numpy()
    assert table.columns[2:] == list(RELEASED_TISSUES) and np.isfinite(values).all() and values.std() > 0


@pytest.mark.parametrize("head", [(), (20,), (96, 96)])
def test_a_head_of_any_depth_is_read_from_its_shapes(head: tuple[int, ...], tmp_path: Path) -> None:
    public = isoformer_tensors(head=head, tissues=7)
    found = read_isoformer(write_isoformer(tmp_path / "public", tensors=public))
    assert (found.config.head_layers, found.config.tissues) == (head, 7)
    assert torch.equal(found.state["head.weight"], public[f"expression_head.{2 * len(head)}.weight"])


def test_parts_are_found_under_other_prefixes_and_in_another_order(tmp_path: Path) -> None:
    other = {"dna": "dna.", "rna": "omics.rna_lm.", "protein": "esm_model.esm."}
    public = isoformer_tensors(other)
    renamed = {
        n.replace("cross_attention_layer_", "fusion.x_")
        .replace("expression_head.0", "tissue_out.b")
        .replace("expression_head.2", "tissue_out.a"): v
        for n, v in public.items()
    }
    names = list(renamed)[::-1]
    parts = find_parts(shapes_of({name: renamed[name] for name in names}))
    assert parts.encoders == {**other, "protein": "esm_model."} or parts.encoders == other
    assert parts.cross == {"rna": "fusion.x_rna", "protein": "fusion.x_protein"}
    assert parts.head == ["tissue_out.b", "tissue_out.a"] and not parts.unknown and not parts.problems
    found = read_isoformer(write_isoformer(tmp_path / "other", tensors=renamed))
    plain = read_isoformer(write_isoformer(tmp_path / "plain"))
    assert found.config == plain.config
    assert all(torch.equal(value, plain.state[name]) for name, value in found.state.items())


def test_unknown_prefixes_are_reported_and_left_out_only_when_asked(
    cli: Cli, cli_error: CliError, tmp_path: Path
) -> None:
    extra = {
        "adapter.gate.weight": torch.zeros(3),
        "adapter.gate.bias": torch.zeros(3),
        "scale": torch.ones(1),
    }
    folder, out = (
        write_isoformer(tmp_path / "public", tensors={**isoformer_tensors(), **extra}),
        tmp_path / "ours",
    )
    error = cli_error("weights", "convert", "isoformer", folder, out)
    assert "of no known part: 2 tensors under adapter.gate, 1 tensors under scale (--drop PREFIX" in error
    assert not out.exists()
    inspected = json.loads(cli("weights", "inspect", folder, "--json").stdout)[0]["architecture"]
    assert inspected["name"] == "IsoFormer" and "2 tensors under adapter.gate" in inspected["differences"][0]
    assert inspected["sizes"]["outputs"] == 30 and inspected["sizes"]["unknown"] == 3
    done = cli("weights", "convert", "isoformer", folder, out, "--drop", "adapter.", "--drop", "scale")
    assert done.exit_code == 0 and "3 tensors were left out by --drop" in done.stderr


def test_lengths_and_pool_windows_of_the_config_are_respected(tmp_path: Path) -> None:
    config = isoformer_config(pool_window_start=2, pool_window_end=4)
    found = read_isoformer(write_isoformer(tmp_path / "middle", config))
    assert found.config.dna is not None and found.config.dna.network.bins == 2  # type: ignore[union-attr]
    assert found.about["assumed"][0] == "pool window 2..4 counts bins"


WIDE = "what,{names}\nmean,{means}\nstd,{stds}\n"


def test_normalisation_values_are_read_in_both_forms_and_in_any_order(tmp_path: Path) -> None:
    names, path = ["A", "B b", "C"], tmp_path / "values.csv"
    path.write_text(normalisation_csv(names))
    long = read_normalisation_values(path, 3)
    path.write_text(WIDE.format(names=",".join(names), means="2.0,2.1,2.2", stds="1.0,1.1,1.2"))
    wide = read_normalisation_values(path, 3)
    assert long.columns == wide.columns == ("A", "B b", "C")
    np.testing.assert_allclose([*long.mean, *long.std], [*wide.mean, *wide.std])
    path.write_text(normalisation_csv(list(RELEASED_TISSUES)[::-1]))
    turned = read_normalisation_values(path, 30)
    assert turned.columns == RELEASED_TISSUES and turned.mean[0] == pytest.approx(4.9)
    path.write_text("\n".join(["mean,std", *["1.5,2.5"] * 30]))
    assert read_normalisation_values(path, 30).columns == RELEASED_TISSUES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "begins with 'a, b', without a column or row called mean"),
        ("tissue,mean,std\nA,1,2\nB,1\n", "no table of at least two rows of one length"),
        ("tissue,mean,std\nA,1,2\nB,x,2\n", "tissue 'B': 'x' is not a number"),
        ("tissue,mean,std\nA,1,0\nB,1,2\n", "tissue 'A': '0' is not a standard deviation above 0"),
        ("tissue,mean,std\nA,1,2\nA,1,2\n", "tissue 'A' stands there twice"),
        ("tissue,mean,std\nA,1,2\n", "has 1 tissues, the model has 2 outputs"),
        ("mean,std\n1,2\n1,2\n", "names no tissues"),
        ("", "the file is empty"),
    ],
)
def test_wrong_normalisation_values_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "values.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_normalisation_values(path, 2)


def test_a_hostile_pickle_is_refused_and_does_nothing(cli_error: CliError, tmp_path: Path) -> None:
    folder, marker = write_isoformer(tmp_path / "public"), tmp_path / "marker"
    evil(folder / "pytorch_model.bin", marker)
    error = cli_error("weights", "convert", "isoformer", folder, tmp_path / "out")
    assert "refused to read this pickle: it calls posix.mkdir" in error
    assert not marker.exists() and not (tmp_path / "out").exists()


def test_wrong_checkpoints_are_one_line(cli_error: CliError, tmp_path: Path) -> None:
    given, out = isoformer_tensors(), tmp_path / "out"
    bare = isoformer_tensors({**PREFIXES, "dna": ""})
    two = {**given, **{f"second.{n}": v for n, v in rotary_tensors(esm2_config()).items()}}
    alias = {**given, "enformer_model._trunk.1.0.bias": given["enformer_model.stem.0.bias"] + 1}
    narrow = {**given, "cross_attention_layer_rna.key.weight": torch.zeros(96, 13)}
    tokens = {**given, "nt_model.esm.embeddings.word_embeddings.weight": torch.zeros(4105, 12)}

    def without(*prefixes: str) -> dict[str, Tensor]:
        return {name: value for name, value in given.items() if not name.startswith(prefixes)}

    def config(**changes: Any) -> dict[str, Any]:
        return isoformer_config(**changes)

    cases: list[tuple[dict[str, Any] | None, dict[str, Tensor] | None, str]] = [
        (esm2_config(), None, "has no num_heads_omics_cross_attention: not the config.json of an IsoFormer"),
        (None, without("enformer_model."), "there is no Enformer"),
        (None, without("nt_model."), "there is no Nucleotide Transformer v2"),
        (None, two, "ESM-2 is there 2 times, under esm_model., second."),
        (None, bare, "Enformer has no prefix"),
        (None, tokens, "embeds 4105 tokens, neither Nucleotide Transformer v2 (4107) nor ESM-2 (33)"),
        (None, without("cross_attention_layer_protein"), "0 cross-attention layers are named after protein"),
        (
            None,
            without("expression_head"),
            "no chain of linear layers leads from width 96 to the outputs; there are none",
        ),
        (None, alias, "another tensor that means stem.first.bias"),
        (None, narrow, "key.weight has shape (96, 13), expected (96, 12)"),
        (config(num_heads_omics_cross_attention=7), None, "7, which does not divide the width 96"),
        (config(enformer_depth=3), None, "encoders.dna.network.layers.2"),
        (config(nt_num_hidden_layers=1), None, "encoders.rna.network.layers.1"),
        (config(esm_hidden_size="12"), None, "hidden_size is '12', expected a whole number"),
        (config(pool_window_start=3, pool_window_end=4), None, "no other meaning is known"),
    ]
    for number, (fields, tensors, said) in enumerate(cases):
        folder = write_isoformer(tmp_path / str(number), fields, tensors)
        assert said in cli_error("weights", "convert", "isoformer", folder, out), said
    assert not out.exists()


def test_wrong_files_and_options_are_one_line(cli_error: CliError, tmp_path: Path) -> None:
    out, folder = tmp_path / "out", write_isoformer(tmp_path / "public")
    lost, cut, short = (write_isoformer(tmp_path / name) for name in ("lost", "cut", "short"))
    (lost / "normalization_values.csv").unlink()
    file = cut / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:20_000])
    (short / "normalization_values.csv").write_text(normalisation_csv(["A", "B"]))
    cases: list[tuple[tuple[object, ...], str]] = [
        ((lost, out), "normalization_values.csv: no such file; outputs are standardised: fetch"),
        ((cut, out), "pytorch_model.bin"),
        ((short, out), "has 2 tissues, the model has 30 outputs"),
        ((folder, out, "--sha256", "0" * 64), sha256_file(folder / "pytorch_model.bin")),
        ((folder, out, "--drop", "adapter."), "no tensor begins with 'adapter.'"),
        ((folder, out, "--normalisation", tmp_path / "no.csv"), "no.csv: no such file"),
        ((folder, out, "--gamma", "pytorch"), "--gamma pytorch is for enformer, not isoformer"),
        (("hf://InstaDeepAI/isoformer", out), "nothing is fetched unasked"),
        ((tmp_path / "nothing", out), "no such folder"),
        ((folder, folder), "already exists"),
    ]
    for words, said in cases:
        assert said in cli_error("weights", "convert", "isoformer", *words), words
    assert "--drop ['x'] is for isoformer, not nt" in cli_error(
        "weights", "convert", "nt", folder, out, "--drop", "x"
    )
    assert not out.exists()
