"""How commands print lists: in columns, and nothing that would move a terminal's cursor."""

from __future__ import annotations

from collections.abc import Sequence


def ago(seconds: float) -> str:
    """A length of time in its largest unit."""
    for length, letter in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds / length)} {letter}"
    return f"{max(0, int(seconds))} s"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows under each other, the first with their heads; a column that is empty in all is left out."""
    rows = [[plain(cell) for cell in row] for row in rows]
    kept = [at for at in range(len(rows[0])) if any(row[at] for row in rows[1:])]
    widths = {at: max(len(row[at]) for row in rows) for at in kept}
    return ["  ".join(row[at].ljust(widths[at]) for at in kept).rstrip() for row in rows]


def clean(text: str) -> str:
    """What came from a modem, a network or a broker, without what would move a terminal's cursor."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)


def plain(text: str) -> str:
    """The same in one line: no name of a network can look like a row of ours."""
    return clean(text).replace("\n", "�")


def escaped(json: str) -> str:
    """The same JSON in printable characters: its own escapes leave out U+0080 to U+009F, and others."""
    return "".join(char if char.isprintable() else _escape(char) for char in json)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
