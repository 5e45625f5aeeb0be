"""Classes that a config names by a `type`: ours, and those that other packages bring by entry points.

Our own are imported on first use, so that a missing library hurts nobody who does not use
it; their names cannot be taken over by another package.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from otpsvc.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """`own` maps types to `module:attribute`; `kind` is what all of them are subclasses of."""

    def __init__(self, group: str, own: Mapping[str, str], kind: type[T]) -> None:
        self._group = group
        self._own = own
        self._kind = kind

    def types(self) -> list[str]:
        """What a config may name, sorted."""
        return sorted({*self._own, *(point.name for point in entry_points(group=self._group))})

    def find(self, name: str) -> type[T]:
        """Raises: ConfigError."""
        if place := self._own.get(name):
            module, _, attribute = place.partition(":")
            return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
        found = list(entry_points(group=self._group, name=name))
        if not found:
            raise ConfigError("", "type", f"one of {', '.join(self.types())}", repr(name))
        if len({point.value for point in found}) > 1:
            packages = ", ".join(point.value for point in found)
            raise ConfigError("", f"type {name!r}", "one package that brings it", packages)
        return self._foreign(found[0])

    def _foreign(self, point: EntryPoint) -> type[T]:
        where = f"type {point.name!r}"
        try:
            found = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError("", where, f"{point.value} to be importable", repr(error)) from None
        if not (isinstance(found, type) and issubclass(found, self._kind)):
            wanted = f"a subclass of {self._kind.__module__}.{self._kind.__name__}"
            raise ConfigError("", where, wanted, point.value)
        return found
