"""The words of config errors: what a type expects, what came, and never a secret."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

from msgspec import inspect

from otpsvc.config.types import item_of, without_none, written

#: Where a value stands: names of tables and keys, and positions in lists.
Key = tuple[str | int, ...]

#: The "file" of values that came from no file.
ENVIRONMENT = "environment"

_BARE = re.compile(r"[A-Za-z0-9_-]{1,80}")
_SENSITIVE = re.compile(r"secret|passw|token|passphrase|credential|\bpin\b|^pin_file$", re.IGNORECASE)
#: Scheme and host: user info, paths and queries of URLs may all hold passwords or tokens.
_URL = re.compile(
    r"([a-z0-9+.-]{1,32}://)(.*@)?([a-z0-9.-]+|\[[0-9a-f:.]+\])?(:[0-9]{1,5}(?![0-9]))?(.*)",
    re.IGNORECASE | re.DOTALL,
)
_SHOWN_MAX = 60
#: Longer integers are not shown; `str` of a very long one raises.
_INTEGER_MAX = 10**20


def dotted(key: Key) -> str:
    """`channels.smtp.port`, `app.listen[1]`; odd names are quoted."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else quoted(part))
    return text


def quoted(text: str) -> str:
    """The text in double quotes, cut, without anything that could steer a terminal."""
    cut = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
    return json.dumps(cut, ensure_ascii=not cut.isprintable())


def is_sensitive(key: Key) -> bool:
    """True when values under this key are never shown."""
    return any(isinstance(part, str) and _SENSITIVE.search(part) for part in key)


def shown(value: object, key: Key) -> str:
    """What came, for an error: of a secret only its type and length."""
    if isinstance(value, str):
        if is_sensitive(key):
            return f"a string of {len(value)} characters"
        return _shown_url(value) if _is_url(value, key) else quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value, key)
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "a date or time"


def _number(value: float, key: Key) -> str:
    kind = "an integer" if isinstance(value, int) else "a number"
    if is_sensitive(key):
        return kind
    if isinstance(value, int) and abs(value) >= _INTEGER_MAX:
        return f"{kind} of more than 20 digits"
    return repr(value)


def _is_url(text: str, key: Key) -> bool:
    name = next((part for part in reversed(key) if isinstance(part, str)), "")
    return "://" in text or (bool(text) and name.lower().endswith("url"))


def _shown_url(text: str) -> str:
    """Scheme, host and port of a URL; of anything else at this place the length alone."""
    found = _URL.match(text)
    if not found:
        return f"a string of {len(text)} characters"
    scheme, user, host, port, rest = found.groups("")
    kept = rest if rest in {"", "/"} else "/…" if rest.startswith("/") else "…"
    return quoted(f"{scheme}{user and '…@'}{host}{host and port}{kept}")


def nearest(name: str, known: Iterable[str]) -> str:
    """What was expected in place of an unknown name: the nearest one, else all."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=1)
    if close:
        return f"a known key (did you mean {quoted(close[0])}?)"
    return f"one of {', '.join(names)}" if names else "nothing"


def expected(kind: inspect.Type) -> str:
    """What a type expects, in words."""
    kind = without_none(kind)
    if form := written(kind):
        return form.words
    if item := item_of(kind):
        return f"{expected(item)}, or a list of those"
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            return _expected_number(kind)
        case inspect.StrType():
            return _expected_text(kind)
        case inspect.LiteralType():
            return " or ".join(quoted(str(value)) for value in kind.values)
        case inspect.EnumType():
            return " or ".join(quoted(str(one.value)) for one in kind.cls)
        case inspect.UnionType():
            return " or ".join(expected(one) for one in kind.types if not isinstance(one, inspect.NoneType))
        case inspect.StructType() | inspect.DictType():
            return "a table"
    return f"a value of type {type(kind).__name__.removesuffix('Type').lower()}"


def _expected_number(kind: inspect.IntType | inspect.FloatType) -> str:
    noun = "an integer" if isinstance(kind, inspect.IntType) else "a number"
    if kind.ge is not None and kind.le is not None:
        return f"{noun} from {kind.ge} to {kind.le}"
    words = (("of at least", kind.ge), ("above", kind.gt), ("of at most", kind.le), ("below", kind.lt))
    bounds = [f"{word} {bound}" for word, bound in words if bound is not None]
    return " ".join([noun, *bounds])


def _expected_text(kind: inspect.StrType) -> str:
    words = "a string"
    if kind.min_length is not None and kind.max_length is not None:
        words += f" of {kind.min_length} to {kind.max_length} characters"
    elif kind.min_length is not None:
        words += f" of at least {kind.min_length} characters"
    elif kind.max_length is not None:
        words += f" of at most {kind.max_length} characters"
    return words + (f" that matches {kind.pattern}" if kind.pattern else "")
