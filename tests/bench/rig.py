"""What every measurement needs: far ends, load, a yardstick, and a service to measure."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Self

from msgspec import Struct

from tests.bench import requests
from tests.bench.far_ends import Sink, Yardstick
from tests.bench.load import Job, Load, Run
from tests.bench.processes import Cost, read
from tests.bench.service import Service, Tenant, count_due

#: Seconds for all messages to arrive and to be noted in the store.
DRAIN = 120.0


class Size(Struct, frozen=True, kw_only=True):
    """How much is measured. `seconds` for each route; `challenges` in the store for the memory."""

    seconds: float = 3.0
    challenges: int = 100_000
    remains: int = 1000
    starts: int = 5
    #: Texts by one modem, seconds that one is pulled out, and whether other programs are measured too.
    texts: int = 200
    pulled: float = 10.0
    #: Commands by each broker, those that wait in RabbitMQ, seconds to look at idle feeders.
    commands: int = 10_000
    backlog: int = 100_000
    idle: float = 10.0
    peers: bool = True


#: For a test that the bench runs at all; its figures mean nothing.
QUICK = Size(
    seconds=0.1,
    challenges=200,
    remains=20,
    starts=1,
    texts=8,
    pulled=0.2,
    commands=50,
    backlog=100,
    idle=0.5,
    peers=False,
)


class Measured(Struct, frozen=True, kw_only=True):
    """One job against a service. Processor time in milliseconds a request."""

    run: Run
    service: float
    store: float
    #: Seconds from request to arrival at the sink, for creates.
    arrivals: Sequence[float] = ()
    #: Seconds from the first request to the last message in the sink.
    drained: float = 0.0

    @property
    def cpu(self) -> float:
        """Milliseconds of service and store."""
        return self.service + self.store


class Rig:
    """Far ends and load in processes of their own; services come and go."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.sink = Sink()
        self.load = Load()
        #: For a second, small load beside the first.
        self.probe = Load()
        self._yardstick = Yardstick()
        self._yards: list[float] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="otpsvc-bench-")))
        for child in (self.sink, self.load, self.probe, self._yardstick):
            self._stack.enter_context(child)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def service(self, workers: int = 1) -> Iterator[Service]:
        """A service on an empty store, ready."""
        say(f"starting a service ({processes(workers)})")
        with self._new(workers) as service:
            yield service

    def _new(self, workers: int) -> Service:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return Service(folder, sink=self.sink.port(), workers=workers)

    def starts(self) -> list[float]:
        """Seconds to become ready, on an empty folder each time."""
        times = []
        for _ in range(self.size.starts):
            with self._new(1) as service:
                times.append(service.start_time)
        return times

    # The yardstick

    def measure_yardstick(self) -> None:
        """One sample: noise of the machine passes over the routes and over this alike."""
        job = Job(
            port=self._yardstick.port(),
            requests=requests.bare(),
            seconds=self.size.seconds / 3,
            passes=0,
        )
        before = self._yard_time()
        run = self.load.run(job)
        # A short sample may see no tick of the clock.
        self._yards.append(max(self._yard_time() - before, 1e-9) / run.count * 1000)

    def _yard_time(self) -> float:
        process = read(self._yardstick.pid)
        assert process is not None
        return process.cpu

    @property
    def yard(self) -> float:
        """Milliseconds of processor time of one bare answer: the middle of all samples."""
        return median(self._yards) if self._yards else 0.0

    # Jobs

    def measure(
        self,
        service: Service,
        wanted: Sequence[bytes],
        *,
        passes: int = 1,
        connections: int = 32,
        seconds: float = 0.0,
    ) -> Measured:
        """Requests that send no message."""
        before = service.cost()
        run = self.load.run(self._job(service, wanted, passes, connections, seconds))
        return _measured(run, service.cost().since(before))

    def measure_creates(
        self, service: Service, tenant: Tenant, ids: Sequence[str], *, connections: int = 32
    ) -> Measured:
        """Creates, until every message has arrived and the store has noted it."""
        wanted = requests.create(service.authorization(tenant), ids)
        self.sink.take()
        count, before = self.sink.count(), service.cost()
        began = time.monotonic()
        run = self.load.run(self._job(service, wanted, 1, connections, 0.0))
        self.drain(service, tenant, count + run.statuses.get(200, 0))
        drained = time.monotonic() - began
        cost, came = service.cost().since(before), self.sink.take()
        took = [came[id] - sent for id, sent in zip(ids, run.sent, strict=False) if id in came]
        return _measured(run, cost, arrivals=took, drained=drained)

    def prepare(self, service: Service, tenant: Tenant, ids: Sequence[str], *, code: str = "") -> None:
        """Challenges to measure with; nothing is on its way any more."""
        wanted, count = requests.create(service.authorization(tenant), ids, code=code), self.sink.count()
        run = self.load.run(Job(port=service.port, requests=wanted, seconds=DRAIN))
        if run.statuses != {200: len(ids)}:
            raise RuntimeError(f"expected {len(ids)} creates, got {run.statuses}")
        self.drain(service, tenant, count + len(ids))
        self.sink.take()

    def drain(self, service: Service, tenant: Tenant, count: int) -> None:
        """Wait until the sink has had `count` messages and none is due. Raises: RuntimeError."""
        until = time.monotonic() + DRAIN
        while self.sink.count() < count or count_due(service, tenant):
            if time.monotonic() > until:
                raise RuntimeError(f"{count - self.sink.count()} messages did not come")
            time.sleep(0.02)

    def _job(
        self, service: Service, wanted: Sequence[bytes], passes: int, connections: int, seconds: float
    ) -> Job:
        return Job(
            port=service.port,
            requests=wanted,
            connections=connections,
            seconds=seconds or self.size.seconds,
            passes=passes,
        )


def _measured(run: Run, cost: Cost, *, arrivals: Sequence[float] = (), drained: float = 0.0) -> Measured:
    each = 1000 / max(1, run.count)
    return Measured(
        run=run, service=cost.service * each, store=cost.store * each, arrivals=arrivals, drained=drained
    )


def processes(workers: int) -> str:
    """How many, in words."""
    return "one process" if workers == 1 else f"--workers {workers}"


def say(text: str) -> None:
    """A line of progress, apart from the results."""
    print(f"  … {text}", file=sys.stderr, flush=True)
