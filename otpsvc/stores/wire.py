"""What travels to the store and back: commands, scripts, and refusals without their text."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Final, final

import hiredis

from otpsvc.errors import StoreUnavailable

#: Answers that may pass, and what people read about them. Every other error is a bug of ours.
PASSING: Final = {
    "LOADING": "the store is loading its data",
    "READONLY": "the store is a replica",
    "MASTERDOWN": "the store has lost its master",
    "OOM": "the store is out of memory",
    "MISCONF": "the store cannot write to its disk",
    "BUSY": "the store is busy with a script",
    "TRYAGAIN": "the store is moving its slots",
    "CLUSTERDOWN": "the store's cluster is down",
    "NOREPLICAS": "the store has too few replicas",
}
#: Answers of a server that is not the master any more: nothing was changed, another connection may be.
DEMOTED: Final = ("READONLY", "MASTERDOWN")
_WORD = re.compile(r"[A-Z]{2,20}\b")
# Redis 6.2 wraps what a command in a script was told: "ERR Error running script (…): … -OOM command …"
_WRAPPED = re.compile(r"[: ]-?(" + "|".join(PASSING) + r") ")
LOST: Final = "the connection to the store was lost"
#: No reply has come yet.
MISSING: Final = object()


@final
class RunId:
    """Stands in a command for the run id of the server that the command is packed for."""

    def __repr__(self) -> str:
        return "RUN_ID"


RUN_ID: Final = RunId()
Arg = bytes | str | int | RunId


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended.

    Once is not always enough: on Python 3.11 `asyncio.wait_for`, which redis-py uses, may
    swallow a cancellation that comes together with its result.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.05)


class StoreError(StoreUnavailable):
    """The store refused a command of ours: a bug or a wrong set-up. Holds no argument.

    `word` is the first word of the answer (`ERR`, `WRONGTYPE`, `NOPERM`), `where`
    the name of the script or command.
    """

    def __init__(self, word: str, where: str) -> None:
        super().__init__(f"the store answered {word} to {where}")
        self.word = word
        self.where = where


class ErrorReply(Exception):
    """An error that the store answered, cut down to its first word as soon as it is read."""

    def __init__(self, text: str) -> None:
        found = _WORD.match(text)
        self.word = found.group() if found else "ERR"
        if text.startswith("ERR Error running script") and (inner := _WRAPPED.search(text)):
            self.word = inner.group(1)
        super().__init__(self.word)

    def as_error(self, where: str) -> StoreUnavailable:
        """What the caller is told."""
        phrase = PASSING.get(self.word)
        return StoreUnavailable(phrase) if phrase else StoreError(self.word, where)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script. `name` is for people; the store knows it by `sha1`."""

    name: str
    source: str = field(repr=False)
    sha1: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha1", digest)


class Call:
    """One command and who waits for its answer."""

    __slots__ = ("again", "args", "deadline", "future", "loaded", "repeatable", "script")

    def __init__(
        self,
        args: tuple[Arg, ...],
        future: asyncio.Future[Any],
        deadline: float,
        repeatable: bool,
        script: Script | None,
    ) -> None:
        self.args = args
        self.future = future
        self.deadline = deadline
        self.repeatable = repeatable
        self.script = script
        #: Sent once more after a lost connection; after its script was missing.
        self.again = self.loaded = False

    def args_for(self, run_id: bytes) -> tuple[bytes | str | int, ...]:
        """The command for the server of this run id.

        Raises: StoreError when the command needs the run id and the server told none.
        """
        args = self.args
        if RUN_ID not in args:
            return args  # type: ignore[return-value]
        if not run_id:
            raise StoreError("no run_id", "INFO server")
        return tuple([run_id if isinstance(arg, RunId) else arg for arg in args])

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    @property
    def where(self) -> str:
        """The script's or the command's name, never an argument."""
        first = self.args[0]
        return self.script.name if self.script else first.decode() if isinstance(first, bytes) else str(first)


class Wire(asyncio.Protocol):
    """The socket of one connection: `answered` hears of replies, `lost` of its end."""

    def __init__(
        self,
        run_id: bytes,
        detached: tuple[asyncio.Transport, object],
        answered: Callable[[Wire], None],
        lost: Callable[[Wire, str], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.run_id = run_id
        self.closed: asyncio.Future[None] = loop.create_future()
        self.heard = loop.time()
        #: The server said that it is not the master any more.
        self.demoted = False
        #: Written and not answered yet, in order.
        self.flying: deque[Call] = deque()
        #: To be written again, in order, when the batch is over.
        self.again: list[Call] = []
        self._time = loop.time
        self._answered = answered
        self._lost = lost
        self._reader = hiredis.Reader(replyError=ErrorReply, notEnoughData=MISSING)
        #: The next reply; `MISSING` when it has not come yet.
        self.reply: Callable[[], Any] = self._reader.gets
        self.transport, self._kept = detached
        self.transport.set_protocol(self)

    def write(self, packed: list[bytes]) -> None:
        self.heard = self._time()
        self.transport.write(b"".join(packed))

    def data_received(self, data: bytes) -> None:
        self.heard = self._time()
        try:
            self._reader.feed(data)
            self._answered(self)
        except hiredis.ProtocolError:
            self._lost(self, LOST)

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        self._lost(self, LOST)
