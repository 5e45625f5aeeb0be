"""A process of the bench beside this one: an event loop that obeys a pipe, and ends with us.

Far ends and load run apart, so that the processor time of one is never counted for another.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import signal
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, Self

import uvloop

Obey = Callable[[Any], Awaitable[Any]]
#: Seconds for a process to come up, and for an answer beyond what was asked for.
PATIENCE = 60.0


class Child:
    """`begin` runs in the new process's loop; what it returns obeys what `ask` sends."""

    def __init__(self, begin: Callable[[], Awaitable[Obey]]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        # daemon: it must not outlive a bench that fails.
        self._process = context.Process(target=_live, args=(begin, far), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, what: object, *, seconds: float = 0.0) -> Any:
        """Send, and wait for the answer; `seconds` is how long the work should take."""
        self.tell(what)
        return self.answer(seconds=seconds)

    def tell(self, what: object) -> None:
        """Send without waiting; `answer` must follow."""
        self._pipe.send(what)

    def answer(self, *, seconds: float = 0.0) -> Any:
        """What came of the last `tell`. Raises: RuntimeError."""
        if not self._pipe.poll(seconds + PATIENCE):
            raise RuntimeError("a process of the bench does not answer")
        failed, answer = self._pipe.recv()
        if failed:
            raise RuntimeError(f"a process of the bench failed: {failed}")
        return answer


def _live(begin: Callable[[], Awaitable[Obey]], pipe: Connection) -> None:
    # Ctrl-C is the bench's, which then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    uvloop.run(_obey(begin, pipe))


async def _obey(begin: Callable[[], Awaitable[Obey]], pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    obey = await begin()
    while True:
        try:
            # In a thread: the loop's own watching would make the pipe non-blocking.
            asked = await loop.run_in_executor(None, pipe.recv)
        except EOFError:
            return
        try:
            answer = "", await obey(asked)
        except Exception as error:
            # The one who asked is told.
            answer = f"{type(error).__name__}: {error}", None
        pipe.send(answer)
