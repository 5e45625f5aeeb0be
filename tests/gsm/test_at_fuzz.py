"""The AT side under any octets, by a line that is an object: no port, no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from otpsvc.errors import ModemError
from otpsvc.gsm.at import At
from otpsvc.gsm.port import Line, Receiver
from otpsvc.gsm.trace import TraceLine
from otpsvc.gsm.urc import Urc
from tests.gsm.far_end import CAME, PDU, TIMEOUTS

#: A recorded dialogue: what was asked, and all that came until its end.
DIALOGUE: list[tuple[str, bytes]] = [
    ("AT", b"AT\r\r\nOK\r\n"),
    ("AT+CREG?", b"AT+CREG?\r\r\n+CREG: 1\r\n\r\n+CREG: 0,1\r\n\r\nOK\r\n"),
    ("AT+CSQ", b"\r\n^RSSI:17\r\n\r\n+CSQ: 17,99\r\n\r\nOK\r\n"),
    ("AT+CMGL=4", f"\r\n+CMGL: 1,1,,14\r\n{PDU}\r\n+CMT: ,12\r\n{CAME}\r\n\r\nOK\r\n".encode()),
    ('AT+CUSD=1,"*1#",15', b'\r\n+CUSD: 1,"a\r\n\nb > c",15\r\n\r\nOK\r\n'),
    ("AT+CMGS=23", b"AT+CMGS=23\r\r\n> "),
    ("", f"{PDU}\x1a\r\nRING\r\n\r\n+CDS: 12\r\n{CAME}\r\n\r\n+CMGS: 200\r\n\r\nOK\r\n".encode()),
    ("AT+CPIN?", b"\0\xff\xfe\r\n\r\n+CPIN: NOT READY\r\n+CPIN: READY\r\r\n\r\nOK\r\n"),
    ("AT+CIMI", b"\r\n510100000000001\r\n+CMS ERROR: 38\r\n"),
]
NOISE = [
    b"\r\n", b"\r", b"\n", b">", b"> ", b"\0", b"\xff", b"\x1a", b"\x1b", b"OK\r\n", b"ERROR\r\n", b"RDY\r\n",
    b"+CPIN: READY\r\n",
    b"+CMS ERROR: 500\r\n", b"+CME ERROR: SIM busy\r\n", b"+CREG: 1\r\n", b"+CREG: 0,1\r\n", b"+CMT: ,12\r\n",
    CAME.encode() + b"\r\n", b"+CMGS: 7\r\n", b"+CMGS: x\r\n", b'+CUSD: 1,"a\r\n', b'b",15\r\n',
    b"SMS Ready\r\n", b"NORMAL POWER DOWN\r\n", b"+CMEE: 1\r\n", b"AT+CMGS=23\r", PDU.encode(), b"x" * 9000,
]  # fmt: skip
noise = st.one_of(st.binary(max_size=60), st.sampled_from(NOISE))
sizes = st.lists(st.integers(1, 40), max_size=60)


class Told:
    """A line that takes everything and says nothing."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        pass


class Talk:
    def __init__(self) -> None:
        self.line = Told()
        self.heard: list[Urc] = []
        self.traced: list[TraceLine] = []
        self.at = At(
            heard=self.heard.append,
            lost=lambda _: None,
            timeouts=TIMEOUTS,
            trace=self.traced.append,
            open_port=self._open,
        )

    async def _open(self, path: str, baud: int, receiver: Receiver) -> Line:
        return self.line

    def begin(self, command: str) -> asyncio.Task[Any]:
        if command.startswith("AT+CMGS"):
            return asyncio.create_task(self.at.submit(command, PDU, prompt=60, result=60, late=60))
        return asyncio.create_task(self.at.ask(command))


async def steps() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def cut(data: bytes, pieces: list[int]) -> Iterator[bytes]:
    while data:
        size = pieces.pop() if pieces else len(data)
        yield data[:size]
        data = data[size:]


async def replay(pieces: list[int]) -> list[object]:
    talk, results, task = Talk(), list[object](), None
    await talk.at.open("", 0)
    for command, data in DIALOGUE:
        task = talk.begin(command) if command else task
        await steps()
        for piece in cut(data, pieces):
            talk.at.received(piece)
        await steps()
        assert task is not None
        if not command.startswith("AT+CMGS"):
            results += await asyncio.gather(task, return_exceptions=True)
    return [[str(result) if isinstance(result, ModemError) else result for result in results],
            talk.heard, talk.traced, bytes(talk.line.written)]  # fmt: skip


async def test_the_dialogue_as_it_was_recorded() -> None:
    results, heard, _, _ = await replay([])

    assert isinstance(results, list)
    assert isinstance(heard, list)
    assert len(results) == 8
    assert results[5] == 200
    assert len(heard) == 7


@given(sizes)
async def test_pieces_do_not_matter(pieces: list[int]) -> None:
    assert await replay(list(pieces)) == await replay([])


@given(st.lists(st.tuples(noise, st.sampled_from(["feed", "ask", "submit", "cancel"])), max_size=40))
@settings(max_examples=200)
async def test_anything_may_come_at_any_time(script: list[tuple[bytes, str]]) -> None:
    """Nothing is raised into the loop, who asks gets an answer or a ModemError, memory stays small."""
    talk, tasks = Talk(), list[asyncio.Task[Any]]()
    await talk.at.open("", 0)
    for data, what in script:
        if what == "ask" and len(tasks) < 5:
            tasks.append(talk.begin("AT+CREG?"))
        elif what == "submit" and len(tasks) < 5:
            tasks.append(talk.begin("AT+CMGS=23"))
        elif what == "cancel" and tasks:
            tasks[-1].cancel()
        await steps()
        talk.at.received(data)
    talk.at.lost("the port is gone")
    ends = await asyncio.gather(*tasks, return_exceptions=True)

    for end in ends:
        assert not isinstance(end, BaseException) or isinstance(end, ModemError | asyncio.CancelledError)
    exchange = talk.at._exchange
    assert len(exchange._framer._open) + len(exchange._framer._quoted) <= 2 * 8192
    assert exchange._now is None


async def test_rounds_without_end_keep_nothing() -> None:
    talk = Talk()
    await talk.at.open("", 0)
    for _ in range(200):
        task = talk.begin("AT+CMGS=23")
        await steps()
        talk.at.received(b"\r\n> ")
        await steps()
        talk.at.received(b"\r\n+CMGS: 1\r\n\r\nOK\r\n")
        assert await task == 1

    assert timers(talk) == []


async def test_a_loss_between_reference_and_ok_keeps_nothing() -> None:
    talk = Talk()
    await talk.at.open("", 0)
    task = talk.begin("AT+CMGS=23")
    await steps()
    talk.at.received(b"\r\n> ")
    await steps()
    talk.at.received(b"\r\n+CMGS: 1\r\n")
    assert len(timers(talk)) == 2
    talk.at.lost("the port is gone")
    await asyncio.gather(task, return_exceptions=True)

    assert timers(talk) == []


def timers(talk: Talk) -> list[object]:
    """What is still to come: of this port, for every test has the same loop."""
    loop: Any = asyncio.get_running_loop()
    return [each for each in loop._scheduled if getattr(each._callback, "__self__", 0) is talk.at._exchange]
