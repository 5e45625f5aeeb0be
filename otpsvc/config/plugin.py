"""Tables whose keys a plug-in knows: each typed by the `Config` of its `type`, its files looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from msgspec import Struct, structs

from otpsvc.config.reading import Reader
from otpsvc.config.types import fields_of
from otpsvc.config.words import Key, is_sensitive
from otpsvc.errors import ConfigError

C = TypeVar("C", bound=Struct)
S = TypeVar("S", bound=Struct)


class PluginReader(Generic[C]):
    """Reads the tables of one section. `example` is a type that everybody knows.

    `types` answers the `Config` of a type (raises ConfigError, LookupError, ImportError);
    `check` looks at a config as its plug-in's constructor does (raises ConfigError).
    """

    section = ""
    noun = ""
    example = ""

    def __init__(
        self, reader: Reader, *, types: Callable[[str], type[C]], check: Callable[[C], None] | None
    ) -> None:
        self._reader = reader
        self._types = types
        self._try_out = check

    def read(self, name: str, table: object) -> C | None:
        """One table; None (and problems) when it cannot be read."""
        key: Key = (self.section, name)
        if not isinstance(table, dict):
            self._reader.wrong_value(key, "a table", table)
            return None
        cls = self._type(table, (*key, "type"))
        config = self._reader.struct(cls, table, key) if cls else None
        if config is None:
            return None
        self._check(config, key)
        config = self._with_files(config, key)
        self._warn_plain(config, key)
        self._warn(config, key)
        if self._try_out and not self._reader.is_wrong(key):
            self._ask(config, key, self._try_out)
        return config

    def _check(self, config: C, key: Key) -> None:
        """Note what is wrong beyond types."""

    def _warn(self, config: C, key: Key) -> None:
        """Note what the operator should know, and may have wanted."""

    def _type(self, table: Mapping[str, Any], key: Key) -> type[C] | None:
        name = table.get("type")
        if not isinstance(name, str):
            words = f'a type of {self.noun} such as "{self.example}"'
            if name is None:
                self._reader.wrong(key, words, "nothing")
            else:
                self._reader.wrong_value(key, words, name)
            return None
        try:
            return self._types(name)
        except ConfigError as error:
            self._reader.wrong(key, error.expected, error.got)
        except LookupError:
            self._reader.wrong_value(key, f"a known type of {self.noun}", name)
        except ImportError as error:
            self._reader.wrong(key, "a type whose packages are installed", f"{name} ({error})")
        return None

    def _with_files(self, config: S, key: Key) -> S:
        """The config with whole paths, in its tables too; every file that is read later must be there now."""
        found: dict[str, Any] = {}
        for name in fields_of(type(config)):
            value = getattr(config, name, "")
            if tables := _tables(value):
                found[name] = {at: self._with_files(one, (*key, name, at)) for at, one in tables.items()}
            if not isinstance(value, str) or not value or "\0" in value:
                continue
            if name.endswith("_file"):
                self._look_at(value, (*key, name))
                found[name] = str(self._reader.path(value))
            elif getattr(config, "type", "") == "file" and name == "path":
                found[name] = str(self._reader.path(value))
        return structs.replace(config, **found) if found else config

    def _look_at(self, path: str, key: Key) -> None:
        content = self._reader.content(key, path)
        if content is not None and is_sensitive(key):
            self._reader.warn_exposed(key, Path(path))

    def _warn_plain(self, config: Struct, key: Key) -> None:
        """Of secrets that stand in the file itself, in its tables too."""
        fields = fields_of(type(config))
        for name in fields:
            value = getattr(config, name)
            if tables := _tables(value):
                for at, one in tables.items():
                    self._warn_plain(one, (*key, name, at))
            elif is_sensitive((name,)) and not name.endswith("_file") and value:
                others = [f"{name}_file"] if f"{name}_file" in fields else []
                self._reader.warn_plain((*key, name), others=others)

    def _ask(self, config: C, key: Key, check: Callable[[C], None]) -> None:
        try:
            check(config)
        except ConfigError as error:
            here = (*key, error.key) if error.key in fields_of(type(config)) else key
            self._reader.wrong(here, error.expected, "" if is_sensitive(here) else error.got)


def _tables(value: object) -> dict[str, Struct]:
    """Tables of names, such as a channel's modems; empty for anything else."""
    if not isinstance(value, dict) or not all(isinstance(one, Struct) for one in value.values()):
        return {}
    return value
