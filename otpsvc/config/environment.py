"""The environment as an overlay of the config: `OTPSVC_SECTION__KEY` sets `section.key`.

Names are matched without regard to case (and `_` stands for `-` too) against what the
file holds and what the types know. A value is read as TOML where the type is no string.
Variables without `__` belong to others (Kubernetes makes `OTPSVC_PORT` for a service of
our name), so they are left alone, with a warning when they look like a slip.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct, inspect

from otpsvc.config.types import fields_of, item_of, without_none, written
from otpsvc.config.words import ENVIRONMENT, Key, nearest, quoted
from otpsvc.errors import ConfigError

PREFIX = "OTPSVC_"

Tables = dict[str, Any]
#: Of the sections whose tables a plug-in types: the type that a table's `type` names, if there is one.
Plugins = Mapping[str, Callable[[str], type[Struct] | None]]


class Overlay(NamedTuple):
    """What the environment did: which key came from which variable, and what is wrong."""

    variables: dict[Key, str]
    problems: list[ConfigError]
    warnings: list[str]


class _UnknownName(Exception):
    """A part of a variable's name that no table has; says what was expected there."""


def overlay(tables: Tables, environ: Mapping[str, str], *, root: type[Struct], plugins: Plugins) -> Overlay:
    """Write the variables into `tables`, whose keys are those of `root`."""
    result = Overlay({}, [], [])
    sections = fields_of(root)
    for name in sorted(environ, key=_types_first):
        if not name.startswith(PREFIX):
            continue
        parts = name.removeprefix(PREFIX).split("__")
        if len(parts) == 1:
            result.warnings.extend(_slip(name, sections))
            continue
        try:
            environ[name].encode()
            key = _put(tables, parts, environ[name], inspect.type_info(root), plugins)
        except _UnknownName as error:
            result.problems.append(ConfigError(ENVIRONMENT, name, str(error)))
        except UnicodeEncodeError:
            result.problems.append(ConfigError(ENVIRONMENT, name, "UTF-8 text"))
        else:
            result.variables[key] = name
    return result


def _types_first(name: str) -> tuple[int, bool, str]:
    """Tables before their keys, and a plug-in's type before what depends on it."""
    return name.count("__"), not name.upper().endswith("__TYPE"), name


def _slip(name: str, sections: Iterable[str]) -> list[str]:
    section, _, rest = name.removeprefix(PREFIX).partition("_")
    if section.lower() not in sections or not rest:
        return []
    return [f"{name}: not read; write {PREFIX}{section}__{rest} (two underscores after the section)"]


def _put(tables: Tables, parts: list[str], raw: str, kind: inspect.Type, plugins: Plugins) -> Key:
    """Set one value and answer its key; an unknown name changes nothing. Raises: _UnknownName."""
    key: list[str] = []
    below: object = tables
    for part in parts:
        if not isinstance(below, dict):
            raise _UnknownName(f"a key, but {quoted('.'.join(key))} is no table")
        name, kind = _step(below, part, kind, key, plugins)
        key.append(name)
        below = below.get(name, {})
    for name in key[:-1]:
        tables = tables.setdefault(name, {})
    tables[key[-1]] = _typed(raw, kind)
    return tuple(key)


def _step(
    table: Mapping[str, Any], part: str, kind: inspect.Type, key: list[str], plugins: Plugins
) -> tuple[str, inspect.Type]:
    """The name that a part of a variable's name means, and the type that stands there."""
    kind = without_none(kind)
    if isinstance(kind, inspect.StructType) and written(kind) is None:
        fields = fields_of(kind.cls)
        return (name := _match(part, fields)), fields[name].type
    if not isinstance(kind, inspect.DictType) or not part:
        raise _UnknownName(f"nothing below {quoted('.'.join(key))}" if part else "a name between underscores")
    name = _match(part, table, new=part.lower())
    if len(key) == 1 and key[0] in plugins:
        return name, _plugin_type(table.get(name), plugins[key[0]], kind.value_type)
    return name, kind.value_type


def _plugin_type(
    table: object, types: Callable[[str], type[Struct] | None], common: inspect.Type
) -> inspect.Type:
    """What the table's own type knows; without one only what is `common` to all."""
    name = table.get("type") if isinstance(table, dict) else None
    cls = types(name) if isinstance(name, str) else None
    return inspect.type_info(cls) if cls else common


def _match(part: str, names: Iterable[str], *, new: str = "") -> str:
    """The one name that is meant; `new` when there is none. Raises: _UnknownName."""
    names = list(names)
    if part in names:
        return part
    found = [name for name in names if _folded(name) == _folded(part)]
    if len(found) > 1:
        raise _UnknownName(f"one name, but it fits {' and '.join(map(quoted, found))}")
    if not found and not new:
        raise _UnknownName(nearest(part, names))
    return found[0] if found else new


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def _typed(raw: str, kind: inspect.Type) -> object:
    """The value of a variable: a string where strings are wanted, else TOML if it is any."""
    kind = without_none(kind)
    if item := item_of(kind):
        read = _toml(raw)
        return read if isinstance(read, list) else _typed(raw, item)
    if written(kind) or isinstance(kind, inspect.StrType | inspect.LiteralType | inspect.EnumType):
        return raw
    read = _toml(raw)
    return raw if read is None else read


def _toml(raw: str) -> object:
    """The one TOML value that the text is; None when it is none."""
    try:
        tables = tomllib.loads(f"value = {raw}")
    except (ValueError, RecursionError):
        return None
    return tables["value"] if len(tables) == 1 else None
