"""One command on the line: which of the lines that come are its answer."""

from __future__ import annotations

import asyncio
import re
from typing import Final, Literal

from otpsvc.errors import CommandFailed, ModemError
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.urc import prefix_of
from otpsvc.gsm.wordings import number_of
from otpsvc.veiled import Veiled

Stage = Literal["command", "prompt", "result"]

#: Octets of one answer; what comes on top is dropped. 255 stored texts have about 100,000.
ANSWER_MOST: Final = 262_144
_FAILED: Final = re.compile(rb"\+(CM[ES]) ERROR:\s*(?:(\d{1,3})$|(.*))")
_BARE: Final = frozenset({b"ERROR", b"COMMAND NOT SUPPORT", b"TOO MANY PARAMETERS"})
# Words of a call: they end a dialling command; otherwise somebody else hung up.
_CALL: Final = frozenset({b"NO CARRIER", b"BUSY", b"NO ANSWER", b"NO DIALTONE"})
_PRINTABLE: Final = re.compile(r"[ -~]+")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_NAME: Final = re.compile(r"(?:AT)?([+^*$%#&!][A-Z0-9]+)(.*)", re.DOTALL)
# Asked for by reading alone: after `AT+CREG=1` or `AT+CPIN=…` a line with the same prefix is a URC.
_READ_ALONE: Final = frozenset({b"+CREG", b"+CGREG", b"+CEREG", b"+CUSD", b"+CPIN", b"+CLIP", b"+CSQ"})
_NEVER_ASKED: Final = frozenset({b"+CMT", b"+CMTI", b"+CDS", b"+CDSI", b"+CBM"})
_REGISTRATION: Final = frozenset({b"+CREG", b"+CGREG", b"+CEREG"})
_TWO_NUMBERS: Final = re.compile(rb"\s*(\(|\d\s*,\s*\d{1,2}\s*(,|$))")


class Response(Veiled, frozen=True):
    """An answer: its information lines without echo and URCs, and its final result (`OK`)."""

    lines: tuple[bytes, ...] = ()
    final: str = "OK"

    def shown(self) -> str:
        return f"{len(self.lines)} lines, {self.final}"


class Transaction:
    """What was asked, what came so far. `answer` ends the wait of the present stage.

    Raises ValueError for a command that is not one printable line, or a body that is not
    hex: nothing else may reach a modem (a Ctrl-Z would send what stands before it).
    """

    def __init__(self, command: str, *, prefix: str = "", body: str = "", mark: bytes = b"") -> None:
        if not _PRINTABLE.fullmatch(command):
            raise ValueError("a command is one line of printable ASCII")
        if not _HEX.fullmatch(body):
            raise ValueError("a body is a PDU in hex")
        self.name = name_of(command)
        self.echo = command.encode("ascii")
        self.body = body.encode("ascii")
        self.stage: Stage = "prompt" if body else "command"
        self.lines: list[bytes] = []
        #: TP-MR of +CMGS; -1: came without one.
        self.reference: int | None = None
        #: Nobody waits any more, its final result is still to come.
        self.abandoned = False
        self.prompted = False
        #: Only an answer with a line that begins so ends it; `refused`: an error came instead,
        #: `bare`: an OK alone.
        self.mark = mark
        self.refused = self.bare = False
        #: Runs from +CMGS to its OK.
        self.grace: asyncio.TimerHandle | None = None
        #: How it ended before its body was written.
        self.early: ModemError | None = None
        self.answer = _future()
        self._asked = _asked(command) | ({prefix.encode("ascii")} if prefix else frozenset())
        self._dials = command.upper().startswith(("ATD", "ATA", "ATH"))
        self._size = 0

    def begin_result(self) -> None:
        """The body was written: the next wait is for the result."""
        self.stage = "result"
        self.answer = _future()

    def without_echo(self, line: bytes) -> bytes:
        """What is left of a line when the echo of command and body is taken off."""
        if line == self.echo:
            return b""
        if self.body and line.startswith(self.body):
            return line[len(self.body) :].lstrip(b"\x1a\x1b ")
        return line

    def waits_for_mark(self, outcome: Response | CommandFailed) -> bool:
        """Whether this final result belongs to an earlier command."""
        if not self.mark or any(line.startswith(self.mark) for line in self.lines):
            return False
        failed = isinstance(outcome, CommandFailed)
        self.refused, self.bare = self.refused or failed, self.bare or not failed
        return True

    def settle(self, outcome: Response | ModemError | None) -> None:
        """End the wait, if it has not ended."""
        if self.grace is not None:
            self.grace.cancel()
        if not self.answer.done():
            self.answer.set_result(outcome)

    def final(self, line: bytes) -> Response | CommandFailed | None:
        """What this line ends the command with, if it does."""
        came = final_of(line, dials=self._dials)
        if came is None:
            return None
        kind, number = came
        return Response(tuple(self.lines)) if kind == "OK" else CommandFailed(self.name, kind, number)

    def wants(self, line: bytes) -> bool:
        """Whether a line with a prefix is part of the answer; one without always is."""
        prefix = prefix_of(line)
        if not prefix:
            return True
        if prefix not in self._asked or prefix in _NEVER_ASKED:
            return False
        rest = line[len(prefix) + 1 :]
        if prefix in _REGISTRATION or prefix == b"+CLIP":
            # `n,stat` was asked for; `stat` or `stat,"lac","ci"` comes by itself.
            return _TWO_NUMBERS.match(rest) is not None
        if prefix == b"+CUSD":
            return b"," not in rest or b"(" in rest
        return prefix != b"+CSQ" or not any(prefix_of(other) == prefix for other in self.lines)

    def keep(self, line: bytes) -> bytes:
        """Add a line to the answer; gives back one that turned out to be unasked (else empty)."""
        if line.startswith(b"+CPIN:"):
            # Both look alike: the last one tells the state of now.
            for index, other in enumerate(self.lines):
                if other.startswith(b"+CPIN:"):
                    self.lines[index] = line
                    return other
        self._size += len(line)
        if self._size <= ANSWER_MOST:
            self.lines.append(line)
        return b""


def _future() -> asyncio.Future[Response | ModemError | None]:
    return asyncio.get_running_loop().create_future()


def final_of(line: bytes, *, dials: bool = False) -> tuple[str, int] | None:
    """`OK`, `CMS`, `CME` or empty (a bare ERROR), and the number (-1: none); None: no final result."""
    if line == b"OK":
        return "OK", -1
    if line in _BARE or (dials and line in _CALL):
        return "", -1
    if found := _FAILED.match(line):
        kind = found.group(1).decode("ascii")
        return kind, int(found.group(2)) if found.group(2) else number_of(kind, found.group(3))
    return None


def name_of(command: str) -> str:
    """`AT+CPIN` of `AT+CPIN="1234"`: what may stand in errors and logs."""
    found = re.match(r"AT([+^*$%#&!][A-Z0-9]{1,15}|[A-Z]?)", command)
    return found.group(0) if found else "AT"


def limit_of(command: str, timeouts: Timeouts) -> float:
    """Seconds in which a command of this class is answered."""
    if command == "AT+COPS=?":
        return 180.0  # the modem looks for every network
    if re.match(r"AT(\+CPIN=|\+CFUN=|\+COPS)", command):
        return timeouts.slow
    if re.match(r"AT\+CMG[LRD]=", command):
        return timeouts.storage
    if re.match(r"AT([A-Z&]|$|\+CMEE)", command):
        return timeouts.basic
    return timeouts.setting


def _asked(command: str) -> frozenset[bytes]:
    asked = set()
    for part in command.split(";"):
        if found := _NAME.match(part):
            name, form = found.group(1).encode("ascii"), found.group(2)
            reads = form.endswith("?") or not form.startswith("=")
            if reads or name not in _READ_ALONE:
                asked.add(name)
    return frozenset(asked)
