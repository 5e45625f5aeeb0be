"""Looks for planted values in whatever the service left, in every form that a reader could undo."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from urllib.parse import quote


def forms(value: str) -> Iterator[bytes]:
    """As it is, quoted, in hex, in base64 at any place of a longer text; the search folds letter case."""
    raw = value.encode()
    yield raw
    yield quote(value, safe="").encode()
    yield ascii(value)[1:-1].encode()
    yield value.encode("utf-16-le")
    yield raw.hex().encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        # What does not hang on the bytes before and after it.
        start, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        yield encoded[start:end]
        yield encoded[start:end].translate(bytes.maketrans(b"+/", b"-_"))


class Planted:
    """Values that must be found nowhere."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}

    def plant(self, value: str) -> str:
        """Remember a value; it comes back for use."""
        assert len(value) >= 9, "a shorter one may stand there by chance"
        for form in forms(value):
            self._forms[form] = value
            self._forms[form.lower()] = value
        return value

    def found(self, left: bytes | str) -> set[str]:
        """The values that `left` holds."""
        raw = left.encode() if isinstance(left, str) else left
        lower = raw.lower()
        return {value for form, value in self._forms.items() if form in raw or form in lower}

    def found_in(self, many: Iterable[bytes | str]) -> set[str]:
        return set().union(*map(self.found, many))
