"""Rows of the tables: which there are, that every recipe can be changed by them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch

from cisoform.benchmark.ablation import PAPER
from cisoform.configs import override
from cisoform.data.loader import LoaderConfig
from cisoform.data.samples import MODALITIES
from cisoform.errors import InputError
from cisoform.jobs.ablation_rows import RECIPE, TABLES, choose_table, parse_pretrained
from cisoform.models.encoders.rotary import RotaryConfig, RotaryNetwork, esm2_network, nt_v2_network
from cisoform.models.isoformer import IsoFormer
from cisoform.recipes import isoform_recipe
from cisoform.weights.rotary import RotaryWeights, save_rotary


def save_encoder(folder: Path, modality: str, seed: int = 0) -> Path:
    """A small network with random weights, in the form in which pre-trained ones are kept."""
    torch.manual_seed(seed)
    config: RotaryConfig = (esm2_network if modality == "protein" else nt_v2_network)(8, 1, 2)
    state = RotaryNetwork(config, head=False).state_dict()
    kind = "esm2" if modality == "protein" else "nt_v2"
    save_rotary(folder, RotaryWeights(kind, config, dict(state), False, {"modality": modality}))
    return folder


@pytest.mark.parametrize("recipe", ["tiny", "ablate"])
@pytest.mark.parametrize("name", [name for name in TABLES if name != "pretraining"])
def test_every_row_changes_a_recipe_into_a_model_of_its_own(name: str, recipe: str) -> None:
    table = choose_table(name)
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names) and table.reference in names
    built = [override(isoform_recipe(recipe), row.settings) for row in table.rows]
    for one in built:
        IsoFormer(one.model)
    if recipe == "ablate":
        assert len({str(one) for one in built}) == len(built)


def test_all_seven_subsets_of_the_inputs_are_there() -> None:
    table = choose_table("modalities")
    subsets = {frozenset(chosen) for size in (1, 2, 3) for chosen in combinations(MODALITIES, size)}
    assert {frozenset(row.name.split("+")) for row in table.rows} == subsets
    for row in table.rows:
        recipe = override(isoform_recipe("ablate"), row.settings)
        chosen = row.name.split("+")
        assert [*recipe.loader.modalities] == chosen
        assert [name for name in MODALITIES if getattr(recipe.model, name) is not None] == chosen


def test_all_five_aggregators_and_all_kinds_of_encoders_are_there() -> None:
    recipe = isoform_recipe("ablate")
    fused = [override(recipe, row.settings).model.aggregator.kind for row in choose_table("aggregators").rows]
    assert fused == ["cross_attention", "concatenate", "perceiver_resampler", "c_abstractor", "linear"]
    for row in choose_table("encoders").rows:
        model = override(recipe, row.settings).model
        if row.name == RECIPE:
            assert model == recipe.model
            continue
        modality, kind = row.name.split(":")
        assert getattr(model, modality).kind == kind
        unchanged = [name for name in MODALITIES if name != modality]
        assert all(getattr(model, name) == getattr(recipe.model, name) for name in unchanged)
        published = kind in ("nt_v2", "esm2", "enformer", "borzoi")
        assert ("small, not pre-trained" in row.label) == published


@pytest.mark.parametrize("name", TABLES)
def test_the_paper_has_only_rows_that_a_table_can_have(name: str, tmp_path: Path) -> None:
    runs = {m: str(save_encoder(tmp_path / m, m)) for m in MODALITIES} if name == "pretraining" else None
    assert {*PAPER[name]} <= {row.name for row in choose_table(name, runs).rows}


def test_pretrained_rows_have_the_size_of_the_weights(tmp_path: Path) -> None:
    runs = {m: str(save_encoder(tmp_path / m, m)) for m in ("rna", "protein")}
    table = choose_table("pretraining", runs)
    names = [row.name for row in table.rows]
    assert names == [
        *("recipe", "from nothing", "pre-trained, frozen", "pre-trained, tuned"),
        *("rna from nothing", "protein from nothing"),
    ]
    recipes = {row.name: override(isoform_recipe("ablate"), row.settings).model for row in table.rows}
    for name, learn, weights in (
        ("from nothing", "full", None),
        ("pre-trained, frozen", "frozen", runs["rna"]),
        ("pre-trained, tuned", "full", runs["rna"]),
        ("rna from nothing", "full", None),
        ("protein from nothing", "full", runs["rna"]),
    ):
        part = recipes[name].rna
        assert part is not None and part.kind == "nt_v2"
        assert (part.learn, part.weights) == (learn, weights)
        if weights is None:
            assert part.network == nt_v2_network(8, 1, 2)
    assert [row.name for row in choose_table("pretraining", {"rna": runs["rna"]}).rows] == names[:4]


def test_several_pretrained_encoders_read_less_than_one_and_the_label_says_so(tmp_path: Path) -> None:
    runs = {m: str(save_encoder(tmp_path / m, m)) for m in MODALITIES}
    recipe = isoform_recipe("ablate")

    def second_row(*names: str) -> tuple[LoaderConfig, str]:
        row = choose_table("pretraining", {name: runs[name] for name in names}).rows[1]
        return override(recipe, row.settings).loader, row.label

    loader, label = second_row(*MODALITIES)
    assert (loader.dna_window, loader.dna_upstream) == (384, 256)
    assert (loader.rna_max, loader.protein_max) == (900, 64)
    assert label.endswith("(-256 to +128 bp, the last 900 nt, the first 64 residues, no exchange)")
    loader, label = second_row("rna")
    assert (loader.dna_window, loader.rna_max) == (recipe.loader.dna_window, 1_200)
    assert label == "rna from nothing (the last 1,200 nt)"
    loader, label = second_row("dna")
    assert replace(loader, dna_tokens=recipe.loader.dna_tokens) == recipe.loader
    assert label == "dna from nothing"


def test_runs_are_read_by_modality() -> None:
    assert parse_pretrained(None) == {}
    assert parse_pretrained("rna=a/b, dna=hf://x/y") == {"rna": "a/b", "dna": "hf://x/y"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rna", "'rna': write modality=RUN"),
        ("rna=", "'rna=': write modality=RUN"),
        ("", "'': write modality=RUN"),
        ("mrna=run", "'mrna' is no modality"),
        ("rna=a,rna=b", "names rna twice"),
    ],
)
def test_runs_that_cannot_be_read_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_pretrained(text)


def test_tables_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--table 'tissues' is none of modalities, encoders"):
        choose_table("tissues")
    with pytest.raises(InputError, match="give at least one, --pretrained rna=RUN"):
        choose_table("pretraining")
    run = str(save_encoder(tmp_path / "rna", "rna"))
    with pytest.raises(InputError, match="leave it out of --table encoders"):
        choose_table("encoders", {"rna": run})
    with pytest.raises(InputError, match="is an encoder of rna, not of dna"):
        choose_table("pretraining", {"dna": run})
    with pytest.raises(InputError, match="nowhere"):
        choose_table("pretraining", {"dna": str(tmp_path / "nowhere")})
    with pytest.raises(InputError, match="ESM-2"):
        choose_table("pretraining", {"protein": run})
