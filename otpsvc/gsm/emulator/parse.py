"""A command line, cut into commands (ITU-T V.250, 5.2 to 5.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

_EXTENDED: Final = re.compile(
    r"""([+^*$%#_][A-Z0-9!%./:_-]+)\s*(=\?|\?|=)?((?:"[^"]*"|[^;"])*"?[^;]*)""", re.IGNORECASE
)
_BASIC: Final = re.compile(r"(&?[A-Z])\s*(\d*)(=\d+|\?)?", re.IGNORECASE)


class Call(Struct, frozen=True):
    """`kind`: empty to do it, `=` to set, `?` to ask, `=?` to ask what may be set."""

    name: str
    kind: str = ""
    argument: str = ""

    @property
    def word(self) -> str:
        """What may be shown: no argument."""
        return self.name + self.kind

    def fields(self) -> list[str]:
        """The arguments, without quotes."""
        return [
            field.strip().strip('"')
            for field in re.findall(r'(?:"[^"]*"|[^,"])+|(?<=,)(?=,|$)|^(?=,)', self.argument)
        ]

    def number(self, index: int, default: int | None = None) -> int:
        """Raises ValueError or IndexError where there is none and no default."""
        fields = self.fields()
        if default is not None and (index >= len(fields) or not fields[index]):
            return default
        return int(fields[index])


def calls(line: str) -> Iterator[Call]:
    """The commands of a line without its `AT`. Raises ValueError at what is none."""
    at = 0
    while at < len(line):
        if line[at] in "; ":
            at += 1
            continue
        if line[at] in "Dd":
            yield Call("D", "", line[at + 1 :])
            return
        if found := _EXTENDED.match(line, at):
            yield Call(found[1].upper(), found[2] or "", found[3].strip())
        elif found := _BASIC.match(line, at):
            yield Call(found[1].upper(), "", found[2] or (found[3] or "").lstrip("="))
        else:
            raise ValueError("no command")
        at = found.end()
