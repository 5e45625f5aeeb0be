"""Reads TOML tables into structs, and collects everything that is wrong instead of the first thing.

After a problem the reading goes on with the field's default, so that one run of
`otpsvc check` names them all; a config with any problem is never used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct, inspect

from otpsvc.config.types import fields_of, fits, item_of, without_none, written
from otpsvc.config.words import ENVIRONMENT, Key, dotted, expected, is_sensitive, nearest, shown
from otpsvc.errors import ConfigError

S = TypeVar("S", bound=Struct)
T = TypeVar("T")

#: Raises ValueError with a sentence when a text is no template.
CheckTemplate = Callable[[str], None]

#: Characters of a secret that is looked for in sentences.
_CENSORED_MIN = 4
#: Bytes; no template and no secret is longer.
_TEXT_MAX = 65_536
_COLLECTIONS: Mapping[type[inspect.Type], Callable[[list[Any]], Any]] = {
    inspect.FrozenSetType: frozenset,
    inspect.ListType: list,
    inspect.SetType: set,
    inspect.VarTupleType: tuple,
}


class _Unread:
    """What the reading of a bad value answers."""


_UNREAD = _Unread()


class Reader:
    """One reading of one config.

    `base` is the folder where relative paths start, `variables` what the environment set.
    """

    def __init__(self, file: str, base: Path, variables: Mapping[Key, str]) -> None:
        self.base = base
        self.problems: list[ConfigError] = []
        self.warnings: list[str] = []
        self._file = file
        self._variables = variables
        self._wrong: set[Key] = set()

    def wrong(self, key: Key, words: str, got: str = "") -> None:
        """Note a problem; a second one of the same key is a consequence and is left out."""
        if key in self._wrong:
            return
        self._wrong.add(key)
        variable = self.variable(key)
        file, name = (ENVIRONMENT, variable) if variable else (self._file, dotted(key))
        self.problems.append(ConfigError(file, name, words, got))

    def wrong_value(self, key: Key, words: str, value: object) -> None:
        """Note a value that is not what it should be; secrets are not shown."""
        self.wrong(key, words, shown(value, key))

    def warn(self, key: Key, sentence: str) -> None:
        """Note what the operator should know, and may have wanted."""
        self.warnings.append(f"{dotted(key)}: {sentence}")

    def warn_plain(self, key: Key, *, others: list[str]) -> None:
        """Warn of a secret that stands in the file itself; `others` are keys for other places."""
        if not self.variable(key):
            self.warn(
                key, f"stands in the file in clear text; better {' or '.join([*others, 'the environment'])}"
            )

    def warn_exposed(self, key: Key, path: Path) -> None:
        """Warn when others than its owner may read the file of a secret."""
        if self.path(path).stat().st_mode & 0o044:
            self.warn(key, "others than its owner can read this file (chmod 600)")

    def is_wrong(self, key: Key) -> bool:
        """True when this table has a problem."""
        return any(wrong[: len(key)] == key for wrong in self._wrong)

    def variable(self, key: Key) -> str:
        """The environment variable that set this key or a table above it; empty: none."""
        for end in range(len(key), 0, -1):
            if name := self._variables.get(key[:end]):
                return name
        return ""

    def refine(self, key: Key, words: str, value: str, read: Callable[[str], T]) -> T | None:
        """The value as `read` makes it (it raises ValueError); None and a problem when it cannot."""
        try:
            return read(value)
        except ValueError:
            self.wrong_value(key, words, value)
            return None

    def struct(self, cls: type[S], table: object, key: Key) -> S | None:
        """The table as a `cls`; None when it is none or lacks a required key."""
        if not isinstance(table, dict):
            self.wrong_value(key, "a table", table)
            return None
        fields = fields_of(cls)
        for name in sorted(table.keys() - fields.keys()):
            self.wrong((*key, name), nearest(name, fields))
        values: dict[str, object] = {}
        complete = True
        for field in fields.values():
            value = self._field(field, table, key)
            if value is not _UNREAD:
                values[field.name] = value
            complete = complete and (value is not _UNREAD or not field.required)
        return self._made(cls, values, table, key) if complete else None

    def _field(self, field: inspect.Field, table: Mapping[str, object], key: Key) -> object:
        here = (*key, field.encode_name)
        if field.encode_name in table:
            return self.value(field.type, table[field.encode_name], here)
        if field.required:
            self.wrong(here, expected(field.type), "nothing")
        return _UNREAD

    def _made(
        self, cls: type[S], values: dict[str, object], table: Mapping[str, object], key: Key
    ) -> S | None:
        """The struct; what its own `__post_init__` says against it is a problem of the table."""
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            if any(isinstance(value, dict) for value in table.values()) and self.is_wrong(key):
                # A table below that could not be read is missing now: no second problem.
                return None
            name, found, words = _censored(str(error), table).partition(": ")
            here, words = (
                ((*key, name), words) if found and name in fields_of(cls) else (key, name + found + words)
            )
            self.wrong(here, words.removeprefix("expected "))
            return None

    def value(self, kind: inspect.Type, value: object, key: Key) -> Any:
        """The value as a type wants it, or a mark after a problem."""
        optional, kind = kind, without_none(kind)
        # TOML has no null: "" is how a file says "off" over a default.
        if kind is not optional and value == "" and not isinstance(kind, inspect.StrType):
            return None
        if form := written(kind):
            return self._written(form.read, value, key, words=form.words)
        if item := item_of(kind):
            return self._list(kind, item, value, key)
        if isinstance(kind, inspect.StructType):
            made: Struct | None = self.struct(kind.cls, value, key)
            return _UNREAD if made is None else made
        if isinstance(kind, inspect.DictType):
            return self._dict(kind, value, key)
        if not fits(kind, value):
            self.wrong_value(key, expected(kind), value)
            return _UNREAD
        if isinstance(kind, inspect.EnumType):
            return kind.cls(value)
        return float(value) if isinstance(kind, inspect.FloatType) else value  # type: ignore[arg-type]

    def _written(self, read: Callable[[str], Any], value: object, key: Key, *, words: str) -> Any:
        try:
            if isinstance(value, str):
                return read(value)
        except ValueError:
            pass
        self.wrong_value(key, words, value)
        return _UNREAD

    def _list(self, kind: inspect.Type, item: inspect.Type, value: object, key: Key) -> Any:
        """A list; its only item may be written without brackets."""
        if isinstance(value, list):
            items = [self.value(item, one, here) for here, one in each(key, value)]
        else:
            items = [self.value(item, value, key)]
        if any(one is _UNREAD for one in items):
            return _UNREAD
        return _COLLECTIONS[type(kind)](items)

    def _dict(self, kind: inspect.DictType, value: object, key: Key) -> Any:
        if not isinstance(value, dict):
            self.wrong_value(key, "a table", value)
            return _UNREAD
        read = {name: self.value(kind.value_type, one, (*key, name)) for name, one in value.items()}
        return {name: one for name, one in read.items() if one is not _UNREAD}

    def path(self, path: Path | str) -> Path:
        """A path of the file: relative ones start at the file's folder."""
        return self.base / path

    def text(self, key: Key, path: str) -> str | None:
        """The text of a file; None and a problem when it cannot be read or is no short text."""
        content = self.content(key, path)
        if content is None:
            return None
        try:
            return content.decode()
        except UnicodeDecodeError:
            self.wrong(key, "a file of UTF-8 text", shown(path, key))
            return None

    def content(self, key: Key, path: str) -> bytes | None:
        """The bytes of a regular file (a pipe would hold the start up); None and a problem without."""
        full = self.path(path)
        try:
            if not full.is_file():
                self.wrong(key, "an existing file", shown(path, key))
                return None
            with full.open("rb") as file:
                content = file.read(_TEXT_MAX + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "unusable"
            self.wrong(key, "a readable file", f"{shown(path, key)} ({reason})")
            return None
        if len(content) > _TEXT_MAX:
            self.wrong(key, f"a file of at most {_TEXT_MAX} bytes", shown(path, key))
            return None
        return content


def each(key: Key, items: Sequence[T]) -> list[tuple[Key, T]]:
    """The items of a list with the key of each; the only one has the key of its list."""
    if len(items) == 1:
        return [(key, items[0])]
    return [((*key, at), item) for at, item in enumerate(items)]


def check_text(reader: Reader, text: str, key: Key, check_template: CheckTemplate | None) -> None:
    """Note what is wrong with a template; a subject is a header and so one line."""
    if str(key[-1]).startswith("subject") and len(text.splitlines()) > 1:
        reader.wrong(key, "a template of one line")
    if not text or check_template is None:
        return
    try:
        check_template(text)
    except ValueError as error:
        reader.wrong(key, f"a template ({error})")


def _censored(sentence: str, table: Mapping[str, object]) -> str:
    """A foreign sentence without the secrets of its table.

    One of few letters stands in our own words too, which must be read.
    """
    for name, value in table.items():
        if isinstance(value, str) and len(value) >= _CENSORED_MIN and is_sensitive((name,)):
            sentence = sentence.replace(value, "…")
    return sentence
