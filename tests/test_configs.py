from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cisoform.configs import config_from_json, config_to_json, override
from cisoform.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Small:
    kind: Literal["small"] = "small"
    ids: int
    dim: int = 4


@dataclass(frozen=True, kw_only=True)
class Large:
    kind: Literal["large"] = "large"
    ids: int
    dim: int = 64
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.dim % 2:
            raise ValueError(f"dim={self.dim} is odd")


@dataclass(frozen=True, kw_only=True)
class Loader:
    names: tuple[str, ...] = ("dna", "rna")
    shuffle: bool = True
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    rna: Small | Large
    dna: Small | Large | None = None
    loader: Loader = field(default_factory=Loader)


RECIPE = Recipe(rna=Small(ids=5), dna=Large(ids=7, dropout=0.1))


@given(st.integers(), st.integers().map(lambda x: 2 * x), st.floats(allow_nan=False, allow_infinity=False),
       st.lists(st.text()), st.none() | st.integers(), st.booleans())  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_a_config_survives_json(ids, dim, dropout, names, limit, absent):
    loader = Loader(names=tuple(names), limit=limit)
    dna = None if absent else Large(ids=ids, dim=dim, dropout=dropout)
    recipe = Recipe(rna=Small(ids=ids), dna=dna, loader=loader)
    assert config_from_json(Recipe, config_to_json(recipe)) == recipe


def test_left_out_fields_have_their_defaults():
    assert config_from_json(Recipe, '{"rna": {"kind": "small", "ids": 5}}') == Recipe(rna=Small(ids=5))


@pytest.mark.parametrize(
    ("given_settings", "expected"),
    [
        ([], RECIPE),
        (["rna.dim=8"], Recipe(rna=Small(ids=5, dim=8), dna=RECIPE.dna)),
        (["dna=null"], Recipe(rna=RECIPE.rna)),
        (["dna.dropout=0"], Recipe(rna=RECIPE.rna, dna=Large(ids=7, dropout=0.0))),
        (['loader.names=["rna"]'], Recipe(rna=RECIPE.rna, dna=RECIPE.dna, loader=Loader(names=("rna",)))),
        (["loader.limit=3", "loader.limit=null"], RECIPE),
        # The new kind keeps `ids`, which it needs, and takes its own defaults for the rest.
        (["dna.kind=small"], Recipe(rna=RECIPE.rna, dna=Small(ids=7))),
        (["dna.dim=9", "dna.kind=small"], Recipe(rna=RECIPE.rna, dna=Small(ids=7, dim=9))),
        (["dna.kind=large"], RECIPE),
    ],
)
def test_settings_change_what_they_name_and_nothing_else(given_settings, expected):
    assert override(RECIPE, given_settings) == expected


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("rna.dimm=8", "no key rna.dimm; did you mean rna.dim?"),
        ("loder.limit=8", "no key loder; did you mean loader?"),
        ("zzz=8", "no key zzz; did you mean rna, dna, loader?"),
        ("rna.dim=x", 'rna.dim: input should be a valid integer, got "x"'),
        ("rna.dim=1.5", "rna.dim: input should be a valid integer, got 1.5"),
        ("rna.dim=null", "rna.dim: input should be a valid integer, got null"),
        ("loader.shuffle=1", "loader.shuffle: input should be a valid boolean, got 1"),
        ("dna.dim=3", "dna: dim=3 is odd"),
        ("dna.dropout=NaN", "dna.dropout: input should be a finite number"),
        ("rna.kind=medium", 'rna.kind is "medium"; choose from small, large'),
        ("rna=5", "rna: input should be an object, got 5"),
        ("loader=null", "loader: input should be an object, got null"),
        ("rna.dim.x=5", "rna.dim is 4"),
        ("rna.dim", "write key=value"),
        ("=5", "write key=value"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_in_one_line(setting, said):
    with pytest.raises(InputError) as error:
        override(RECIPE, [setting])
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "run/config.json: not JSON at line 1"),
        ("[]", "run/config.json: the whole must be an object"),
        ("{}", "key rna is missing"),
        ('{"rna": {"kind": "small"}}', "key rna.ids is missing"),
        ('{"rna": {"ids": 5}}', "rna.kind is null; choose from small, large"),
        ('{"rna": {"kind": "small", "ids": 5, "heads": 2}}', "no key rna.heads"),
    ],
)
def test_a_config_file_that_does_not_fit_is_refused_with_its_name(text, said):
    with pytest.raises(InputError) as error:
        config_from_json(Recipe, text, where="run/config.json")
    assert said in str(error.value)


@dataclass(frozen=True, kw_only=True)
class Nested:
    kind: Literal["nested"] = "nested"
    loader: Loader = field(default_factory=lambda: Loader(limit=3))


@dataclass(frozen=True, kw_only=True)
class Outer:
    part: Small | Nested


def test_a_setting_reaches_into_a_part_of_a_part_that_was_just_exchanged():
    outer = Outer(part=Small(ids=5))
    found = override(outer, ["part.loader.shuffle=false", "part.kind=nested"])
    assert found == Outer(part=Nested(loader=Loader(shuffle=False, limit=3)))
