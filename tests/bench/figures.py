"""Figures that are no rate of a route: memory, start, a slow far end, slow hashes."""

from __future__ import annotations

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, Final

from argon2.low_level import Type, hash_secret_raw
from msgspec import Struct

from otpsvc.hashpool import Cost
from tests.bench import requests
from tests.bench.load import Job, Run
from tests.bench.requests import ATTEMPTS, CODE, WRONG, new_ids
from tests.bench.rig import Measured, Rig, processes, say
from tests.bench.service import Service, cores, info

#: Keys that are looked at one by one.
_SAMPLE: Final = 1000
#: Seconds; what the store keeps for longer is there for its day.
_LONG: Final = 3 * 3600
#: Seconds that the slow far end takes.
_SLOW: Final = 0.1


class Figure(Struct, frozen=True, kw_only=True):
    """One figure with its unit, and what it holds for."""

    name: str
    value: float
    unit: str
    workers: int = 1
    note: str = ""


# Memory


def memory(rig: Rig, service: Service) -> list[Figure]:
    """Bytes of the store for each open challenge."""
    count = rig.size.challenges
    say(f"{count} open challenges")
    rig.prepare(service, "fast", new_ids(32))
    with service.store() as store:
        before = int(info(store, "memory")["used_memory"])
        rig.prepare(service, "fast", new_ids(count))
        each = (int(info(store, "memory")["used_memory"]) - before) / count
        keys = list(itertools.islice(store.scan_iter("otp:{fast}:*"), _SAMPLE))
        sizes = _pipelined(store, "MEMORY USAGE", keys)
    return [
        Figure(name="store per open challenge", value=each, unit="bytes", note=f"used_memory, {count}"),
        Figure(
            name="store per open challenge, its key alone",
            value=sum(sizes) / len(sizes),
            unit="bytes",
            note=f"MEMORY USAGE of {len(sizes)}",
        ),
    ]


def remains(rig: Rig, service: Service) -> list[Figure]:
    """What creates leave in the store for longer than their challenge needs, by default guards."""
    count, found = rig.size.remains, []
    say(f"what {count} creates leave")
    for name, idempotent in (("", False), (" with Idempotency-Key", True)):
        before = _kept(service)
        wanted = requests.create(
            service.authorization("guarded"), new_ids(count), idempotent=idempotent, life=300
        )
        posts = rig.sink.count()
        run = rig.load.run(Job(port=service.port, requests=wanted, seconds=60))
        if run.statuses != {200: count}:
            raise RuntimeError(f"expected {count} creates, got {run.statuses}")
        rig.drain(service, "guarded", posts + count)
        value = (_kept(service) - before) * 1000 / count
        found.append(Figure(name=f"left for a day by 1,000 creates{name}", value=value, unit="bytes"))
    return found


def _kept(service: Service) -> int:
    """Bytes of the keys that live for hours, but for challenges made to live long."""
    with service.store() as store:
        keys = [key for key in store.scan_iter(count=1000) if not key.startswith(b"otp:{fast}")]
        lives = _pipelined(store, "PTTL", keys)
        long = [key for key, life in zip(keys, lives, strict=True) if life > _LONG * 1000]
        return sum(_pipelined(store, "MEMORY USAGE", long))


def _pipelined(store: Any, command: str, keys: list[bytes]) -> list[int]:
    with store.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.execute_command(*command.split(), key)
        return list(pipe.execute())


def resident(service: Service, workers: int, *, after: str = "") -> list[Figure]:
    """Memory of the largest process, `after` what was asked of it."""
    note = ", ".join(
        f"{'store' if process.is_store else process.name} {process.memory / 1e6:.0f}"
        for process in service.processes()
    )
    most = max(process.memory for process in service.processes() if not process.is_store)
    return [Figure(name=f"RSS{after}", value=most / 1e6, unit="MB", workers=workers, note=f"of {note}")]


# Start and a slow far end


def start(rig: Rig) -> list[Figure]:
    """From the command to the first yes of /api/health."""
    say("starts")
    times = rig.starts()
    note = f"middle of {len(times)}, {min(times):.2f} to {max(times):.2f}"
    return [Figure(name="start to ready", value=median(times), unit="s", note=note)]


def slow_sink(rig: Rig, service: Service, workers: int) -> list[Figure]:
    """Creates that are accepted while every message takes 100 ms."""
    say(f"a sink that takes 100 ms, {processes(workers)}")
    rig.sink.delay(_SLOW)
    count = rig.sink.count()
    ids = new_ids(int(8000 * rig.size.seconds))
    wanted = requests.create(service.authorization("fast"), ids)
    run = rig.load.run(Job(port=service.port, requests=wanted, seconds=rig.size.seconds))
    delivered = rig.sink.count() - count
    rig.sink.delay(0)
    rig.drain(service, "fast", count + run.statuses.get(200, 0))
    rig.sink.take()
    note = f"p99 {run.percentile(0.99):.0f} ms; {delivered / run.seconds:.0f}/s delivered meanwhile"
    if run.others(200):
        note += f"; statuses besides 200: {run.others(200)}"
    return [Figure(name="creates with a slow sink", value=run.rate, unit="/s", workers=workers, note=note)]


# Slow hashes


def argon2(rig: Rig, service: Service) -> list[Figure]:
    """Checks a second against bare hashes a second, and who else is kept waiting."""
    say("argon2id: bare rate, checks, and a status beside them")
    bare = [bare_rate(rig.size.seconds)]
    checks = _saturate(rig, service, beside=False)[0]
    bare.append(bare_rate(rig.size.seconds))
    _, probe = _saturate(rig, service, beside=True)
    rate = sum(bare) / len(bare)
    assert probe is not None
    return [
        Figure(
            name="argon2id checks of the bare rate",
            value=checks.run.rate / rate * 100,
            unit="%",
            note=f"{checks.run.rate:.1f}/s of {bare[0]:.1f} (before) and {bare[1]:.1f} (after)",
        ),
        Figure(
            name="p99 of a status beside argon2id checks",
            value=probe.percentile(0.99),
            unit="ms",
            note=f"p50 {probe.percentile(0.5):.2f} ms, {probe.count} asked over one connection",
        ),
    ]


def _saturate(rig: Rig, service: Service, *, beside: bool) -> tuple[Measured, Run | None]:
    """Wrong guesses of slow codes over 32 connections; `beside` asks for a status all the while."""
    slow, fast = service.authorization("slow"), service.authorization("fast")
    ids, asked = new_ids(max(8, int(12 * rig.size.seconds))), new_ids(1)
    rig.prepare(service, "slow", ids)
    rig.prepare(service, "fast", asked, code=CODE)
    rig.measure(service, requests.check(fast, asked, CODE), connections=1)
    job = Job(
        port=service.port,
        requests=requests.status(fast, asked),
        connections=1,
        seconds=rig.size.seconds,
        passes=0,
    )
    if beside:
        rig.probe.start(job)
    guesses = requests.check(slow, ids, WRONG)
    checks = rig.measure(service, guesses, passes=ATTEMPTS)
    return checks, rig.probe.finish(job) if beside else None


def bare_rate(seconds: float) -> float:
    """Hashes a second in as many threads as cores, with nothing around them."""
    cost, until = Cost(), time.monotonic() + seconds

    def work() -> int:
        count = 0
        while time.monotonic() < until:
            hash_secret_raw(
                os.urandom(32), os.urandom(16), cost.passes, cost.memory, 1, hash_len=16, type=Type.ID
            )
            count += 1
        return count

    began = time.monotonic()
    with ThreadPoolExecutor(cores()) as pool:
        counts = [pool.submit(work) for _ in range(cores())]
        total = sum(count.result() for count in counts)
    return total / (time.monotonic() - began)
