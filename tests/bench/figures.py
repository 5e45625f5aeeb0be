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
#: Turns of bare hashes and of checks.
_TURNS: Final = 3
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
    measured = rig.measure(service, wanted)
    run, delivered = measured.run, rig.sink.count() - count
    rig.sink.delay(0)
    rig.drain(service, "fast", count + run.statuses.get(200, 0))
    rig.sink.take()
    # The rate follows what others leave of the cores; the time that one takes does not.
    note = (
        f"p99 {run.percentile(0.99):.0f} ms, {measured.service:.3f} + {measured.store:.3f} ms each, "
        f"{measured.service * run.rate / 1000:.2f} cores; {delivered / run.seconds:.0f}/s delivered meanwhile"
    )
    if run.others(200):
        note += f"; statuses besides 200: {run.others(200)}"
    return [Figure(name="creates with a slow sink", value=run.rate, unit="/s", workers=workers, note=note)]


# Slow hashes


def argon2(rig: Rig, service: Service) -> list[Figure]:
    """Checks against bare hashes, and who else is kept waiting."""
    say("argon2id: bare rate, checks, and a status beside them")
    bare, checks = [], []
    # In turns: a neighbour's load falls on both.
    for _ in range(_TURNS):
        bare.append(bare_hashes(rig.size.seconds / 2))
        checks.append(_saturate(rig, service, rig.size.seconds / 2)[0])
    _, probe = _saturate(rig, service, rig.size.seconds, beside=True)
    assert probe is not None
    bare_rate, rate = (
        sum(rates) / _TURNS for rates in ([b.rate for b in bare], [c.run.rate for c in checks])
    )
    own, all_in_all = min(b.milliseconds for b in bare), min(c.cpu for c in checks)
    return [
        Figure(
            name="argon2id checks of the bare rate",
            value=rate / bare_rate * 100,
            unit="%",
            note=f"{rate:.1f}/s of {bare_rate:.1f}",
        ),
        Figure(
            name="argon2id, the hash's share of a check's processor time",
            value=own / all_in_all * 100,
            unit="%",
            note=f"{own:.2f} of {all_in_all:.2f} ms",
        ),
        Figure(
            name="p99 of a status beside argon2id checks",
            value=probe.percentile(0.99),
            unit="ms",
            note=f"p50 {probe.percentile(0.5):.2f} ms, {probe.count} asked over one connection",
        ),
    ]


def _saturate(
    rig: Rig, service: Service, seconds: float, *, beside: bool = False
) -> tuple[Measured, Run | None]:
    """Wrong guesses of slow codes over 32 connections; `beside` asks for a status all the while."""
    slow, fast = service.authorization("slow"), service.authorization("fast")
    ids, asked = new_ids(max(8, int(12 * seconds))), new_ids(1)
    rig.prepare(service, "slow", ids)
    rig.prepare(service, "fast", asked, code=CODE)
    rig.measure(service, requests.check(fast, asked, CODE), connections=1)
    job = Job(
        port=service.port, requests=requests.status(fast, asked), connections=1, seconds=seconds, passes=0
    )
    if beside:
        rig.probe.start(job)
    guesses = requests.check(slow, ids, WRONG)
    checks = rig.measure(service, guesses, passes=ATTEMPTS, seconds=seconds)
    return checks, rig.probe.finish(job) if beside else None


class Bare(Struct, frozen=True):
    """Hashes a second, and milliseconds of processor time of one."""

    rate: float
    milliseconds: float


def bare_hashes(seconds: float) -> Bare:
    """In as many threads as cores, with nothing around them."""
    cost, began = Cost(), time.monotonic()
    until, before = began + seconds, time.process_time()

    def work() -> int:
        count = 0
        while time.monotonic() < until:
            hash_secret_raw(
                os.urandom(32), os.urandom(16), cost.passes, cost.memory, 1, hash_len=16, type=Type.ID
            )
            count += 1
        return count

    with ThreadPoolExecutor(cores()) as pool:
        total = sum(pool.map(lambda _: work(), range(cores())))
    spent = (time.process_time() - before) / total * 1000
    return Bare(total / (time.monotonic() - began), spent)
