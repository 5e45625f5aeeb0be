"""National language tables, by their numbers in 3GPP TS 23.038, Annex A: a file each, read when first needed.

A file has the tables `locking` (Spanish has none) and `single` in rows: the code of the
first, then 16 characters as Unicode in hexadecimal, `----` where the code has none.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

#: Turkish, Spanish, Portuguese, Bengali, Gujarati, Hindi, Kannada, Malayalam, Oriya,
#: Punjabi, Tamil, Telugu, Urdu.
LANGUAGES: Final = range(1, 14)
#: Stands for a code to which a table gives no character.
NONE: Final = "\x00"


def locking(language: int) -> str:
    """128 characters, `NONE` where there is none; empty: there is no such table."""
    table = _tables(language).get("locking")
    return "".join(table.get(code, NONE) for code in range(128)) if table else ""


def single(language: int) -> dict[int, str]:
    """Code to character after an escape; empty: there is no such table."""
    return _tables(language).get("single", {})


@cache
def _tables(language: int) -> dict[str, dict[int, str]]:
    if language not in LANGUAGES:
        return {}
    found: dict[str, dict[int, str]] = {}
    rows = (files(__name__) / f"{language:02}.txt").read_text("ascii").splitlines()
    for row in rows[1:]:
        first, *cells = row.split()
        if not cells:
            table = found[first] = {}
        for code, cell in enumerate(cells, int(first, 16) if cells else 0):
            if cell != "----":
                table[code] = chr(int(cell, 16))
    return found
