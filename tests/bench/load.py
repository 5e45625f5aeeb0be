"""Many requests over kept connections, as cheaply as Python can: prepared bytes out, a status in."""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from tests.bench.child import Child, Obey

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


class Job(Struct, frozen=True, kw_only=True):
    """`requests` in order, `passes` times over (0: again and again), for at most `seconds`."""

    port: int
    requests: Sequence[bytes]
    connections: int = 32
    seconds: float
    passes: int = 1


class Run(Struct, frozen=True, kw_only=True):
    """What came of a job. `sent` holds the time of each request in order; `took` the seconds it needed."""

    statuses: dict[int, int]
    sent: array[float]
    took: array[float]
    seconds: float

    @property
    def count(self) -> int:
        return len(self.took)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.count / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return percentile(self.took, share) * 1000

    def others(self, expected: int) -> dict[int, int]:
        """Statuses that were not expected, and how many."""
        return {status: count for status, count in self.statuses.items() if status != expected}


def percentile(values: Sequence[float] | array[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class _Running:
    """One job on its way."""

    def __init__(self, job: Job) -> None:
        self._left = _requests(job)
        self._seconds = job.seconds
        self._until = 0.0
        self._open = job.connections
        self.sent = array("d")
        self.took = array("d")
        self.statuses: Counter[bytes] = Counter()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> float:
        now = time.monotonic()
        self._until = now + self._seconds
        return now

    def next(self, now: float) -> bytes | None:
        if now >= self._until:
            return None
        request = next(self._left, None)
        if request is not None:
            self.sent.append(now)
        return request

    def leave(self) -> None:
        self._open -= 1
        if not self._open and not self.ended.done():
            self.ended.set_result(None)

    def fail(self) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionError("a connection was closed"))


def _requests(job: Job) -> Iterator[bytes]:
    if job.passes:
        return itertools.chain.from_iterable(itertools.repeat(job.requests, job.passes))
    return itertools.cycle(job.requests)


class _Line(asyncio.Protocol):
    """One connection with one request on its way."""

    def __init__(self, running: _Running) -> None:
        self._running = running
        self._got = b""
        self._began = 0.0
        self._done = False

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def ask(self, now: float) -> None:
        request = self._running.next(now)
        if request is None:
            self._done = True
            self._running.leave()
            return
        self._began = now
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        got = self._got + data if self._got else data
        head = got.find(_END)
        if head < 0 or len(got) < head + 4 + _length(got, head):
            self._got = got
            return
        now, self._got = time.monotonic(), b""
        running = self._running
        running.took.append(now - self._began)
        running.statuses[got[9:12]] += 1
        self.ask(now)

    def connection_lost(self, _: Exception | None) -> None:
        if not self._done:
            self._running.fail()


def _length(got: bytes, head: int) -> int:
    at = got.find(_LENGTH, 0, head)
    if at < 0:
        at = got[:head].lower().index(_LENGTH)
    at += len(_LENGTH)
    return int(got[at : got.index(b"\r", at)])


async def _run(job: Job) -> Run:
    loop, running = asyncio.get_running_loop(), _Running(job)
    lines = []
    for _ in range(job.connections):
        _, line = await loop.create_connection(lambda: _Line(running), "127.0.0.1", job.port)
        lines.append(line)
    began = running.begin()
    for line in lines:
        line.ask(began)
    try:
        await running.ended
    finally:
        seconds = time.monotonic() - began
        for line in lines:
            line._transport.abort()
    statuses = {int(status): count for status, count in running.statuses.items()}
    return Run(statuses=statuses, sent=running.sent, took=running.took, seconds=seconds)


async def _begin() -> Obey:
    return _run


class Load(Child):
    """The load generator in a process of its own."""

    def __init__(self) -> None:
        super().__init__(_begin)

    def run(self, job: Job) -> Run:
        """Do the job and wait for its end."""
        run: Run = self.ask(job, seconds=job.seconds)
        return run

    def start(self, job: Job) -> None:
        """Begin the job; `finish` must follow."""
        self.tell(job)

    def finish(self, job: Job) -> Run:
        """Wait for the end of what was started."""
        run: Run = self.answer(seconds=job.seconds)
        return run
