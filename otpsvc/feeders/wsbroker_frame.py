"""What frames say to the feeder itself: greetings and answers, in the dialect of the 2020 server.

Commands are nobody's business here: whatever is not surely silence or an answer is one.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct

PING: Final = b'{"command":"ping"}'
#: What WebSocket's own pings of ours hold, on every node: a broker that knows no kinds of frames hands
#: them to the others as a message.
_PROBE: Final = b"otpsvc-ping-"
_PROBE_LENGTH: Final = len(_PROBE) + 8
#: Octets; a greeting has about 120.
_QUIET_MAX: Final = 1024
_QUIET: Final = re.compile(rb'"command"\s*:\s*"(?:connect|ping|receive-message)"')
_QUIET_WORDS: Final = frozenset(("connect", "ping", "receive-message"))
#: Answers of ours that are known again, and for how many seconds.
_OWN_MAX: Final = 1000
_OWN_LIFE: Final = 60.0


class Quiet(Struct, frozen=True):
    """A frame that asks for nothing."""

    command: str
    response_code: str | int = ""

    @property
    def accepts(self) -> bool:
        """A greeting that says yes: `00`."""
        return self.command == "connect" and self.response_code in ("00", "0", 0)

    @property
    def rejects(self) -> bool:
        """A greeting that says no: `01`."""
        return self.command == "connect" and self.response_code != "" and not self.accepts


_read_quiet = msgspec.json.Decoder(Quiet).decode


def quiet(body: bytes) -> Quiet | None:
    """What a frame says that asks for nothing; None: it may be a command. Only small ones are read."""
    if len(body) > _QUIET_MAX or not _QUIET.search(body):
        return None
    try:
        read = _read_quiet(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return read if read.command in _QUIET_WORDS else None


def probe() -> bytes:
    """The payload of a ping; each is another."""
    return _PROBE + secrets.token_hex(4).encode()


def is_noise(body: bytes) -> bool:
    """Nothing, or a ping of this node or another one, which a broker took for a message."""
    return not body or (len(body) == _PROBE_LENGTH and body.startswith(_PROBE))


def is_answer(body: bytes) -> bool:
    """True when it carries a `response_code`, in all its rows if it has some: no command does."""
    if b'"response_code"' not in body:
        return False
    try:
        read = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if not isinstance(read, dict) or "response_code" in read:
        return isinstance(read, dict)
    rows = read.get("data")
    return isinstance(rows, list) and bool(rows) and all(_answers(row) for row in rows)


def _answers(row: Any) -> bool:
    return isinstance(row, dict) and "response_code" in row


def subscription(place: str) -> bytes:
    """Asks a 2020 server for what is published on this channel."""
    return b'{"command":"receive-message","channel":' + _text(place) + b',"data":[]}'


def envelope(place: str, answer: bytes) -> bytes:
    """An answer, or a list of them, as a 2020 server passes it on. `answer` is JSON."""
    rows = answer if answer.lstrip().startswith(b"[") else b"[" + answer + b"]"
    return b'{"command":"send-message","channel":' + _text(place) + b',"data":' + rows + b"}"


def _text(value: str) -> bytes:
    # In ASCII: PHP compares channels byte by byte after its own decoding.
    return json.dumps(value).encode()


class Own:
    """Answers that we sent: a server that tells everybody gives them back to us as if they were commands.

    Without this an echo, whose answer is the command again, would go round for ever.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """`now`: seconds of any clock that never goes back."""
        self._now = now
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def remember(self, body: bytes) -> None:
        mark = _mark(body)
        self._ends.pop(mark, None)
        self._ends[mark] = self._now() + _OWN_LIFE
        if len(self._ends) > _OWN_MAX:
            self._ends.popitem(last=False)

    def __contains__(self, body: bytes) -> bool:
        if not self._ends:
            return False
        self._forget()
        return _mark(body) in self._ends

    def _forget(self) -> None:
        now = self._now()
        while self._ends and next(iter(self._ends.values())) < now:
            self._ends.popitem(last=False)


def _mark(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
