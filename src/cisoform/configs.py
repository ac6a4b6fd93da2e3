"""Configs as JSON and on the command line: nested frozen dataclasses, their values checked by pydantic.

A choice between parts is a union of dataclasses told apart by their field `kind`. Unknown keys, wrong types and
values that a config refuses are one-line `InputError`s that name the key.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cisoform.errors import InputError

Config = TypeVar("Config")
Fields = dict[str, Any]


def config_to_json(config: object) -> str:
    """The config as JSON text, keys in the order of the fields, ending in a newline."""
    return json.dumps(_to_fields(config), indent=2) + "\n"


def config_from_json(cls: type[Config], text: str, where: str = "config") -> Config:
    """The config that the text describes; fields that it leaves out have their defaults.

    Raises:
        InputError: If the text is not JSON, has a key that `cls` lacks, or a value that a field refuses;
            `where` names the file.
    """
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON at line {error.lineno}: {error.msg}") from None
    return _build(cls, fields, where, ())


def override(config: Config, settings: Sequence[str]) -> Config:
    """The config with some fields changed, each given as `key=value` (`model.dna.dim=64`).

    The value is JSON (`64`, `0.1`, `true`, `null`, `["dna","rna"]`), else plain text. Setting the `kind` of a
    part exchanges the part: what the new kind needs and has no default for is taken from the old part, all else
    has the new kind's defaults. Further settings apply to the new part, wherever they stand in the list.

    Raises:
        InputError: For a key that does not exist (names the near ones) or a value that does not fit.
    """
    fields = _to_fields(config)
    for keys, value in sorted(map(_parse, settings), key=lambda pair: pair[0][-1] != "kind"):
        _set(type(config), fields, keys, value)
    return _build(type(config), fields, "--set", ())


def _to_fields(config: object) -> Fields:
    fields: Fields = TypeAdapter(type(config)).dump_python(config, mode="json")
    return fields


def _build(cls: type[Config], fields: object, where: str, path: tuple[str, ...]) -> Config:
    """Dataclass from plain values, parts first."""
    if not isinstance(fields, dict):
        raise InputError(
            f"{where}: {_dotted(path) or 'the whole'} must be an object, got {json.dumps(fields)}"
        )
    hints, values = get_type_hints(cls), {}
    known = dataclasses.fields(cls)  # type: ignore[arg-type]  # every config is a dataclass
    for key in fields:
        _require_key(key, [field.name for field in known], where, path)
    for field in known:
        here = (*path, field.name)
        if field.name in fields:
            values[field.name] = _build_field(hints[field.name], fields[field.name], where, here)
        elif not _has_default(field):
            raise InputError(f"{where}: key {_dotted(here)} is missing")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: " + (f"{_dotted(path)}: " if path else "") + str(error)) from None


def _build_field(hint: Any, value: object, where: str, path: tuple[str, ...]) -> object:
    members = _members(hint)
    if members and isinstance(value, dict):
        return _build(_member(members, value.get("kind"), where, path), value, where, path)
    try:
        return TypeAdapter(hint, config=_checks(hint)).validate_json(json.dumps(value))
    except ValidationError as error:
        said = error.errors(include_url=False)[-1]["msg"]
        raise InputError(
            f"{where}: {_dotted(path)}: {said[0].lower()}{said[1:]}, got {json.dumps(value)}"
        ) from None


def _checks(hint: Any) -> ConfigDict | None:
    # pydantic refuses a config for a bare dataclass; those reach it only when the value is no object at all.
    return None if dataclasses.is_dataclass(hint) else ConfigDict(strict=True, allow_inf_nan=False)


def _members(hint: Any) -> list[type]:
    """The dataclasses that a field of this type may hold."""
    return [
        member
        for member in (get_args(hint) or (hint,))
        if isinstance(member, type) and dataclasses.is_dataclass(member)
    ]


def _member(members: list[type], kind: object, where: str, path: tuple[str, ...]) -> type:
    """The dataclass of that kind; a part of one kind only needs no `kind`."""
    if len(members) == 1:
        return members[0]
    by_kind = {getattr(member, "kind", None): member for member in members}
    if not isinstance(kind, str) or kind not in by_kind:
        kinds = ", ".join(map(str, by_kind))
        raise InputError(f"{where}: {_dotted(path)}.kind is {json.dumps(kind)}; choose from {kinds}")
    return by_kind[kind]


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _require_key(key: str, known: Iterable[str], where: str, path: tuple[str, ...]) -> None:
    known = list(known)
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or known
    names = ", ".join(_dotted((*path, name)) for name in near)
    raise InputError(f"{where}: no key {_dotted((*path, key))}; did you mean {names}?")


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(path)


def _parse(setting: str) -> tuple[tuple[str, ...], Any]:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {setting}: write key=value, for example --set model.head_dropout=0.2")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    return tuple(key.strip().split(".")), value


def _set(cls: type, fields: Fields, keys: tuple[str, ...], value: object) -> None:
    """Change one value of `fields`, which describe a `cls`, in place."""
    for depth, key in enumerate(keys):
        path = keys[:depth]
        _require_key(key, [field.name for field in dataclasses.fields(cls)], "--set", path)
        if depth == len(keys) - 1:
            fields[key] = value
            return
        if key not in fields:  # a part that was exchanged: what its kind has by default
            fields[key] = _default_fields(cls, key)
        members, part = _members(get_type_hints(cls)[key]), fields[key]
        if members and keys[depth + 1 :] == ("kind",):
            fields[key] = _exchange(_member(members, value, "--set", keys[: depth + 1]), part, value)
            return
        if not isinstance(part, dict):
            raise InputError(f"--set: {_dotted(keys)}: {_dotted(keys[: depth + 1])} is {json.dumps(part)}")
        cls = _member(members, part.get("kind"), "--set", keys[: depth + 1])
        fields = part


def _default_fields(cls: type, key: str) -> object:
    """The default of a field as plain values; None if it has none."""
    field = next(field for field in dataclasses.fields(cls) if field.name == key)
    if field.default_factory is not dataclasses.MISSING:
        value: object = field.default_factory()
    else:
        value = None if field.default is dataclasses.MISSING else field.default
    return _to_fields(value) if dataclasses.is_dataclass(value) else value


def _exchange(cls: type, part: Fields | None, kind: object) -> Fields:
    """The part as a `cls`: unchanged if it is one, else what `cls` has no default for is taken over."""
    old = part or {}
    if old.get("kind") == kind:
        return old
    needed = {field.name for field in dataclasses.fields(cls) if not _has_default(field)}
    return {"kind": kind} | {name: value for name, value in old.items() if name in needed}
