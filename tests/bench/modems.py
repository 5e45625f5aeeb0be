"""Texts by emulated modems, and by the peers that are installed.

`python -m tests.bench --only modems`, or `python -m tests.bench.modems` for other sizes.

    pool or peer ──> pty ──> emulated modem ──> emulated network

The emulator takes its processor time from the same cores, and so does whatever else runs:
beside the pool's rate stands that of a client which writes AT+CMGS and does nothing else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
from msgspec import Struct

from otpsvc.gsm.at import At
from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.ledger import MemoryLedger
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Submit
from otpsvc.gsm.pool import Pool
from otpsvc.gsm.settings import ModemSettings, PoolSettings, Timeouts
from otpsvc.gsm.types import Job
from tests.bench.figures import Figure
from tests.bench.rig import say
from tests.bench.table import Results, written

#: Seconds of radio time that the aims are stated for.
RADIO: Final = 0.05
_RADIO: Final = f"{RADIO * 1000:.0f} ms radio time"
NUMBER: Final = "+6281234567890"


Texts = Sequence[tuple[str, str]]


class Peer(Struct, frozen=True):
    """`prepare` fills a folder with settings and texts for a port, and gives the command to run."""

    name: str
    program: str
    prepare: Callable[[Path, str, Texts], list[str]]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--texts", default=200, show_default=True, help="For each rate.")
@click.option("--pause", default=10.0, show_default=True, help="Seconds that a modem is pulled out.")
@click.option("--peers/--no-peers", default=True, help="Measure those that are installed, too.")
def main(texts: int, pause: float, peers: bool) -> None:
    """Measure how fast texts leave by modems."""
    found = asyncio.run(measure(texts, pause, installed() if peers else ()))
    print(written(Results(yardstick=0.0, rows=[], figures=found)))


async def measure(texts: int, pause: float, peers: Sequence[Peer]) -> list[Figure]:
    found = [*await _rates(1, texts, 18.5), *await _rates(8, 8 * texts, 140)]
    found += await _accept(texts)
    found.append(await _failover(max(5, texts // 10)))
    found.append(await _replug(pause))
    return found + [await _peer(peer, min(30, texts)) for peer in peers]


# The pool


@asynccontextmanager
async def _emulated(count: int) -> AsyncIterator[tuple[list[EmulatedModem], Network]]:
    net = Network(latency=RADIO)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_modem(net, number)) for number in range(count)], net


def _modem(net: Network, n: int) -> EmulatedModem:
    return EmulatedModem(net, number=f"+62811{n:07d}", imei=f"3569380356{n:05d}", iccid=f"8962{n:015d}")


@asynccontextmanager
async def _fleet(count: int, **settings: Any) -> AsyncIterator[tuple[Pool, list[EmulatedModem], Network]]:
    async with _emulated(count) as (modems, net):
        wanted = [ModemSettings(name=f"m{n}", path=modem.path) for n, modem in enumerate(modems)]
        pool = Pool(wanted, PoolSettings(**settings), ledger=MemoryLedger(), tell=lambda _: None)
        async with pool:
            # All three memories of each are read once, and who it is.
            await _until(lambda: all(pool.modem(each.name).ready for each in wanted))
            await _until(lambda: all(modem.asked_for("+CMGL=") >= 3 for modem in modems))
            await asyncio.sleep(0.1)
            yield pool, modems, net


async def _until(true: Callable[[], object], step: float = 0.01) -> None:
    async with asyncio.timeout(120):
        while not true():
            await asyncio.sleep(step)


def _job(number: int = 0) -> Job:
    deadline = time.monotonic() + 300
    return Job(
        id=str(number),
        to=NUMBER,
        text=f"Your code is {number:06d}. It is good for 5 minutes.",
        deadline=deadline,
    )


async def _rates(count: int, texts: int, aim: float) -> list[Figure]:
    """With more jobs than modems all the time; beside it a client that knows nothing but AT+CMGS."""
    modems = f"{count} modem{'s' * (count > 1)}"
    say(f"{texts} texts by {modems}")
    async with _fleet(count) as (pool, _, net):
        rate, cost = await _rate(net, [pool.send(_job(number)) for number in range(texts)])
    async with _emulated(count) as (emulated, net):
        bare, least = await _rate(net, [_bare(modem.path, texts // count) for modem in emulated])
    return [
        Figure(name=f"texts by {modems}", value=rate, unit="/s", note=f"{_RADIO}; aim ≥ {aim}"),
        Figure(name=f"bare AT+CMGS by {modems}", value=bare, unit="/s", note=f"{_RADIO}; the ceiling now"),
        Figure(
            name=f"processor time of a text by {modems}",
            value=cost,
            unit="ms",
            note=f"with its emulator; bare {least:.2f}; load {os.getloadavg()[0]:.1f}",
        ),
    ]


async def _rate(net: Network, works: Sequence[Coroutine[Any, Any, object]]) -> tuple[float, float]:
    """Texts a second, and milliseconds of processor time of each."""
    began, spent = time.perf_counter(), time.process_time()
    await asyncio.gather(*works)
    took, spent = time.perf_counter() - began, time.process_time() - spent
    return len(net.sent) / took, spent * 1000 / len(net.sent)


async def _bare(path: str, texts: int) -> None:
    at = At(heard=lambda _: None, lost=lambda _: None, timeouts=Timeouts())
    await at.open(path, 115_200)
    try:
        for command in ("ATE0", "AT+CMGF=0"):
            await at.ask(command)
        for number in range(texts):
            (part,) = split(_job(number).text, reference=0)
            body, length = Submit(to=NUMBER, part=part, validity=300).encoded()
            await at.submit(f"AT+CMGS={length}", body, prompt=5, result=60, late=120)
    finally:
        at.close()


async def _accept(texts: int) -> list[Figure]:
    """From `send` on an idle pool to AT+CMGS at the modem."""
    say(f"{texts} texts one by one")
    waits = []
    async with _fleet(1) as (pool, (modem,), _):
        for number in range(texts):
            began = time.monotonic()
            await pool.send(_job(number))
            waits.append(
                (next(at for word, at in reversed(modem.commands) if word == "+CMGS=") - began) * 1000
            )
            await asyncio.sleep(0.005)
    waits.sort()
    worst = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
    return [
        Figure(name="accept to AT+CMGS, median", value=median(waits), unit="ms", note="idle; aim ≤ 5"),
        Figure(name="accept to AT+CMGS, p99", value=worst, unit="ms", note="idle; aim ≤ 50"),
    ]


async def _failover(times: int) -> Figure:
    """From the AT+CMGS that fails to that of the other modem, less the radio time of the first."""
    say("failures")
    waits = list[float]()
    while len(waits) < times:
        async with _fleet(2) as (pool, modems, _net):
            modems[0].fail_next("CMS 42")
            await pool.send(_job())
            handed = [modem.handed for modem in modems]
            # Else the other one was quicker to be ready, and nothing failed.
            if handed[0]:
                waits.append(handed[1][0] - handed[0][0] - RADIO)
    return Figure(
        name="failure to the other modem",
        value=max(waits) * 1000,
        unit="ms",
        note=f"worst of {times}; aim ≤ 500",
    )


async def _replug(pause: float) -> Figure:
    """From the return of the port to the AT+CMGS of a text that waits."""
    say(f"{pause:g} s without a modem")
    async with _fleet(1, patience=200) as (pool, (modem,), _):
        await modem.unplug()
        waits = asyncio.create_task(pool.send(_job()))
        await asyncio.sleep(pause)
        back = time.monotonic()
        await modem.plug()
        await waits
        took = modem.handed[-1] - back
    return Figure(
        name="plugged in again to AT+CMGS", value=took, unit="s", note=f"after {pause:g} s; aim ≤ 3"
    )


# Peers


def _smsd(folder: Path, port: str, texts: Texts) -> list[str]:
    for name in ("outgoing", "checked", "incoming", "failed", "sent"):
        (folder / name).mkdir()
    places = "\n".join(
        f"{name} = {folder / name}" for name in ("outgoing", "checked", "incoming", "failed", "sent")
    )
    settings = folder / "smsd.conf"
    settings.write_text(
        f"devices = M\n{places}\nlogfile = {folder}/log\nloglevel = 3\ninfofile = {folder}/info\n"
        f"pidfile = {folder}/pid\ndelaytime = 1\ndelaytime_mainprocess = 1\nreceive_before_send = no\n"
        f"[M]\ndevice = {port}\nincoming = no\nreport = no\n"
    )
    for number, (to, text) in enumerate(texts):
        (folder / "outgoing" / f"{number:04d}").write_text(f"To: {to.lstrip('+')}\n\n{text}\n")
    return ["smsd", f"-c{settings}", "-t"]


def _gammu(folder: Path, port: str, texts: Texts) -> list[str]:
    for name in ("inbox", "outbox", "sent", "error"):
        (folder / name).mkdir()
    settings = folder / "smsdrc"
    settings.write_text(
        f"[gammu]\ndevice = {port}\nconnection = at115200\n[smsd]\nservice = files\nlogfile = {folder}/log\n"
        f"commtimeout = 1\nreceivefrequency = 0\nstatusfrequency = 0\nchecksecurity = 0\n"
        f"inboxpath = {folder}/inbox/\noutboxpath = {folder}/outbox/\n"
        f"sentsmspath = {folder}/sent/\nerrorsmspath = {folder}/error/\n"
    )
    for number, (to, text) in enumerate(texts):
        (folder / "outbox" / f"OUTC20260101_000000_{number:02d}_{to}_.txt").write_text(text)
    return ["gammu-smsd", "-c", str(settings)]


def installed() -> list[Peer]:
    """Those that are installed."""
    known = Peer("gammu-smsd", "gammu-smsd", _gammu), Peer("smstools", "smsd", _smsd)
    return [peer for peer in known if shutil.which(peer.program, path="/usr/bin:/usr/sbin")]


async def _peer(peer: Peer, texts: int) -> Figure:
    """Its outbox is filled, then it is started: from its first AT+CMGS to its last text."""
    say(f"{texts} texts by {peer.name}")
    net = Network(latency=RADIO)
    folder = Path(tempfile.mkdtemp(prefix="otpsvc-bench-"))
    async with EmulatedModem(net) as modem:
        command = peer.prepare(folder, modem.path, [(NUMBER, f"Text {n}") for n in range(texts)])
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await _until(lambda: len(net.sent) >= texts)
            rate = texts / (time.monotonic() - modem.handed[0])
        except TimeoutError:
            rate = len(net.sent) / 120
        finally:
            process.terminate()
            await process.wait()
            shutil.rmtree(folder, ignore_errors=True)
    return Figure(name=f"texts by {peer.name}, 1 modem", value=rate, unit="/s", note="beside 1 modem above")


if __name__ == "__main__":
    main()
