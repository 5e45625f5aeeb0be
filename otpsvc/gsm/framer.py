"""Octets from a modem become lines, and the prompt while one is awaited.

Lines end with CR, LF or any run of them (ITU-T V.250, 5.7; what modems really send).
A prompt (3GPP 27.005, 3.5.1) is `>` where a line begins, whatever stands around it.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from otpsvc.veiled import Veiled

#: Octets of one line; a longer one is dropped. The longest of use, `+COPS=?`, has about 2,000.
LINE_MOST: Final = 8192
_ENDS: Final = re.compile(rb"[\r\n]")
# Blanks, and the Ctrl-Z and ESC that are echoed.
_EDGES: Final = b" \t\x1a\x1b"
# A quoted USSD text may hold line ends (27.007, 7.15): the line goes on until the quote is closed.
_CUSD: Final = b"+CUSD:"
_CLOSED: Final = re.compile(rb'"\s*(,\s*\d{1,3})?\s*$')
# Octets behind which the quote may end: never a search through the whole text for each of its lines.
_TAIL: Final = 16
# What must never be taken for the rest of such a text.
_NEVER_INSIDE: Final = re.compile(rb"(OK|ERROR|\+CM[ES] ERROR:.*|[+^][A-Z]{2,15}:.*)$")


class Line(Veiled, frozen=True):
    """One line without its ends; a USSD text's own line ends are LF."""

    text: bytes

    def shown(self) -> str:
        return f"{len(self.text)} octets"


class Prompt(Struct, frozen=True):
    """The modem waits for the body."""


_PROMPT: Final = Prompt()


class Framer:
    """Bounded by `LINE_MOST`, whatever comes."""

    def __init__(self) -> None:
        self._open = bytearray()
        self._dropping = False
        self._quoted = bytearray()
        self._awaited: bytes | None = None

    def await_prompt(self, command: bytes) -> None:
        """From now on `>` is a prompt, once. `command`: its echo may stand before it without a line end."""
        self._awaited = command

    def forget_prompt(self) -> None:
        """No prompt is awaited."""
        self._awaited = None

    def feed(self, data: bytes) -> list[Line | Prompt]:
        """What is whole now. Never raises; the same octets in other pieces give the same events."""
        events: list[Line | Prompt] = []
        pieces = _ENDS.split(data.replace(b"\0", b""))
        for piece in pieces[:-1]:
            self._take(piece, events)
            self._end(events)
        self._take(pieces[-1], events)
        return events

    def give_up_quote(self) -> list[Line | Prompt]:
        """The rest of an open USSD text will not come any more: what is there of it."""
        events: list[Line | Prompt] = []
        self._flush_quoted(events)
        return events

    def _take(self, piece: bytes, events: list[Line | Prompt]) -> None:
        if self._dropping:
            return
        self._open += piece
        if self._awaited is not None and self._open:
            self._look_for_prompt(self._awaited, events)
        if len(self._open) > LINE_MOST:
            self._dropping = True
            self._open.clear()

    def _look_for_prompt(self, echo: bytes, events: list[Line | Prompt]) -> None:
        start = self._open.lstrip(_EDGES).removeprefix(echo).lstrip(_EDGES)
        if start.startswith(b">"):
            self._flush_quoted(events)
            self._awaited = None
            self._open = start[1:]
            events.append(_PROMPT)

    def _end(self, events: list[Line | Prompt]) -> None:
        if self._dropping:
            self._dropping = False
            return
        text = bytes(self._open)
        self._open.clear()
        if self._quoted and self._continues(text.strip(_EDGES)):
            self._quoted += b"\n" + text
            if _CLOSED.search(text[-_TAIL:]):
                self._flush_quoted(events)
            return
        # A prompt that nobody awaits may stand before anything.
        text = text.lstrip(b"> \t\x1a\x1b").rstrip(_EDGES)
        if not text:
            return
        self._flush_quoted(events)
        body = text.partition(b'"')[2] if text.startswith(_CUSD) else b""
        if body and not _CLOSED.search(body[-_TAIL:]):
            self._quoted += text
        else:
            events.append(Line(text))

    def _continues(self, text: bytes) -> bool:
        return len(self._quoted) + len(text) < LINE_MOST and not _NEVER_INSIDE.match(text)

    def _flush_quoted(self, events: list[Line | Prompt]) -> None:
        if self._quoted:
            # CR LF inside the quotes ended two lines.
            events.append(Line(re.sub(rb"\n\n+", b"\n", self._quoted.rstrip(b"\n"))))
            self._quoted = bytearray()
