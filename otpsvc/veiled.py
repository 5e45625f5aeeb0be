"""Values that must not be printed: their fields stay out of every repr, also rich's."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Veiled(Struct, frozen=True):
    """Shows its type alone, or what `shown` gives.

    msgspec makes a `__rich_repr__` with all fields, which rich prefers to `__repr__`:
    both are closed here.
    """

    def shown(self) -> str:
        """What may be printed of it."""
        return "…"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown()})"

    def __str__(self) -> str:
        return self.__repr__()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("", self.shown())]
