"""Errands to the process that owns a modem: done once, and answered truly whoever goes meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from otpsvc.address import phone
from otpsvc.errors import BadRequest, NotFound, StoreUnavailable, Unanswered, Unavailable
from otpsvc.keyring import KeyEntry, Keyring
from otpsvc.letter import destination
from otpsvc.lines import Answered, Line
from otpsvc.store import ALL
from otpsvc.stores.desk import MOST, Desk
from otpsvc.stores.errand import Errands, answer, board, inbox
from otpsvc.stores.redis import RedisStore
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import new_key
from tests.waiting import PATIENCE, stays, until

INDEX = b"i" * 32
NODES = "lines:{*}"
TO = "+6281234567890"


class Phone:
    """A channel with modems, as the desk knows it."""

    address = phone("ID")

    def __init__(self, *names: str, **more: Any) -> None:
        self.all = [Line(name=name, channel="", **({"state": "ready"} | more)) for name in names or ("m1",)]
        self.did: list[tuple[str, ...]] = []
        self.fault: BaseException | None = None
        self.gate: asyncio.Event | None = None
        self.traced = 0

    async def lines(self) -> list[Line]:
        return self.all

    async def _do(self, *what: str) -> None:
        self.did.append(what)
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault

    async def ussd(self, name: str, code: str, *, reply: bool, operator: bool) -> Answered:
        await self._do("ussd", name, code, str(reply), str(operator))
        return Answered(text="planted balance", more=True)

    async def send_by(self, name: str, to: str, text: str) -> str:
        try:
            await self._do("send", name, to, text)
        except asyncio.CancelledError as cut:
            raise cut from self.fault
        return "sent as m1:7"

    async def trace(self, name: str, seconds: float) -> AsyncIterator[str]:
        self.traced += 1
        try:
            for at in range(3):
                yield f"line {at}"
            await self._do("trace", name, str(seconds))
        finally:
            self.traced -= 1


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(INDEX, [new_key()])


class Place:
    """Desks and askers on one server, each with a connection of its own."""

    def __init__(self, server: ValkeyServer, keyring: Keyring, stack: AsyncExitStack) -> None:
        self.server = server
        self.keyring = keyring
        self.stack = stack

    def store(self, url: str = "") -> RedisStore:
        made = RedisStore(url or self.server.url, fenced=False, timeout=PATIENCE)
        self.stack.push_async_callback(made.close)
        return made

    async def desk(self, owner: Phone, node: str = "here", *, store: RedisStore | None = None) -> Desk:
        store = store or self.store()
        made = Desk(store, self.keyring, lambda: {"sms": owner}, node=node)
        await self.stack.enter_async_context(made)
        await made.tell()
        return made

    def errands(self, store: RedisStore | None = None, keyring: Keyring | None = None) -> Errands:
        return Errands(store or self.store(), keyring or self.keyring)


@pytest.fixture
async def place(server: ValkeyServer, keyring: Keyring) -> AsyncIterator[Place]:
    server.ask("FLUSHALL")
    async with AsyncExitStack() as stack:
        yield Place(server, keyring, stack)


async def test_a_modem_is_listed_with_its_channel_node_and_time(place: Place) -> None:
    await place.desk(Phone("m2", "m1", imei="356938035643809"))
    lines = await place.errands().lines()

    assert [(line.name, line.channel, line.node, line.imei) for line in lines] == [
        ("m1", "sms", "here", "356938035643809"),
        ("m2", "sms", "here", "356938035643809"),
    ]
    assert abs(lines[0].told - time.time()) < 30


async def test_each_kind_of_errand(place: Place) -> None:
    owner = Phone()
    await place.desk(owner)
    errands = place.errands()

    answered = await errands.ussd("m1", "*123#", operator=True)
    assert (answered.text, answered.more) == ("planted balance", True)
    assert await errands.send("sms", "m1", TO, "planted words") == "sent as m1:7"
    assert await errands.send("sms", "", TO, "any") == "sent as m1:7"
    assert [line async for line in errands.trace("m1", 5)] == ["line 0", "line 1", "line 2"]
    assert owner.did == [
        ("ussd", "m1", "*123#", "False", "True"),
        ("send", "m1", TO, "planted words"),
        ("send", "", TO, "any"),
        ("trace", "m1", "5.0"),
    ]


async def test_nothing_of_it_is_readable_in_the_store_and_all_of_it_ends(place: Place) -> None:
    owner = Phone(number="+628111", imei="356938035643809")
    owner.gate = asyncio.Event()
    await place.desk(owner)
    errands = place.errands()
    sending = asyncio.create_task(errands.send("sms", "m1", TO, "planted words"))
    await until(lambda: owner.did)
    owner.gate.set()
    await sending
    await errands.ussd("m1", "*123#")
    ask: Any = place.server.ask
    keys = ask("KEYS", "*")
    kept = {key: ask("DUMP", key) for key in keys}

    assert any(key.startswith(b"answer:{*}:") for key in kept)
    for key, value in kept.items():
        for planted in (b"planted", TO[1:].encode(), b"628111", b"3569380", b"*123#"):
            assert planted not in key + value
    assert [key for key in keys if ask("PTTL", key) == -1] == [NODES.encode()]


async def test_refusals_come_back_as_they_were(place: Place) -> None:
    owner = Phone()
    await place.desk(owner)
    errands = place.errands()

    owner.fault = BadRequest("Not allowed.", code="ussd_not_allowed")
    with pytest.raises(BadRequest, match="Not allowed") as refused:
        await errands.ussd("m1", "*123#")
    assert refused.value.code == "ussd_not_allowed"
    owner.fault = NotFound("Gone.", code="unknown_modem")
    with pytest.raises(NotFound, match="Gone") as missing:
        await errands.ussd("m1", "*123#")
    assert missing.value.code == "unknown_modem"
    owner.fault = Unanswered("The network is silent.")
    with pytest.raises(Unanswered, match="network is silent"):
        await errands.send("sms", "m1", TO, "x")
    owner.fault = BadRequest("Not now.", code="late")
    with pytest.raises(BadRequest, match="Not now"):
        [line async for line in errands.trace("m1", 5)]
    with pytest.raises(NotFound):
        await errands.send("mail", "", TO, "x")
    with pytest.raises(NotFound):
        await errands.ussd("m9", "*123#")


async def test_a_bug_is_answered_without_its_words(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    owner = Phone()
    owner.fault = RuntimeError("planted words")
    await place.desk(owner)
    errands = place.errands()

    with pytest.raises(Unanswered, match="failed") as failed:
        await errands.ussd("m1", "*123#")
    # Perhaps it was sent before the bug came.
    assert (await errands.send("sms", "m1", TO, "x")).startswith("uncertain: ")
    assert "planted" not in str(failed.value) + caplog.text
    assert "RuntimeError" in caplog.text
    owner.fault = None
    assert (await errands.ussd("m1", "*123#")).text


async def test_an_owner_that_stops_in_the_middle_says_what_it_knows(place: Place) -> None:
    owner, other = Phone(), place.errands()
    owner.gate = asyncio.Event()
    async with Desk(place.store(), place.keyring, lambda: {"sms": owner}, node="here") as desk:
        await desk.tell()
        asks: list[Awaitable[object]] = [other.ussd("m1", "*123#"), other.send("sms", "m1", TO, "x")]
        running = [asyncio.ensure_future(ask) for ask in asks]
        await until(lambda: len(owner.did) == 2)
    asked, sent = await asyncio.gather(*running, return_exceptions=True)

    assert isinstance(asked, Unanswered)
    assert "stopped" in asked.message
    assert str(sent).startswith("uncertain: ")
    assert await other.lines() == []


async def test_an_owner_that_stops_before_the_radio_had_it_says_that_it_was_not_sent(place: Place) -> None:
    owner, other = Phone(), place.errands()
    owner.gate, owner.fault = asyncio.Event(), Unavailable("cut off")
    async with Desk(place.store(), place.keyring, lambda: {"sms": owner}, node="here") as desk:
        await desk.tell()
        running = asyncio.ensure_future(other.send("sms", "m1", TO, "x"))
        await until(lambda: owner.did)
    with pytest.raises(Unanswered, match="stopped"):
        await running


async def test_an_owner_that_died_leaves_a_doubt_about_a_text(place: Place) -> None:
    owner = Phone()
    owner.gate = asyncio.Event()
    await place.desk(owner)
    errands = Errands(place.store(), place.keyring, patience=0.3, sending=0.3)

    assert (await errands.send("sms", "m1", TO, "x")).startswith("uncertain: ")
    with pytest.raises(Unanswered, match="in time"):
        await errands.ussd("m1", "*123#")


async def test_a_number_that_all_block_gets_nothing_however_it_is_written(place: Place) -> None:
    owner = Phone()
    await place.desk(owner)
    await place.store().block(ALL, destination(place.keyring, TO), b"x")

    for written in (TO, "081234567890", " 6281234567890"):
        with pytest.raises(BadRequest) as refused:
            await place.errands().send("sms", "m1", written, "x")
        assert refused.value.code == "blocked"
    assert owner.did == []


# Nodes that die, and two with the same ports.


async def test_after_a_crash_the_new_node_is_the_only_one_once_the_old_is_silent(place: Place) -> None:
    imei = "356938035643809"
    store, keyring = place.store(), place.keyring
    dead = Desk(store, keyring, lambda: {"sms": Phone(imei=imei)}, node="dead")
    await dead.tell()
    assert place.server.ask("GET", f"{NODES}:dead")
    owner = Phone(imei=imei, state="opening")
    new = Desk(store, keyring, lambda: {"sms": owner}, node="new")
    errands = place.errands()
    # As long as both may live, who is ready is asked.
    await new.tell()
    assert [line.node for line in await errands.lines()] == ["dead"]
    await _told_long_ago(place, "dead")
    assert [(line.node, line.state) for line in await errands.lines()] == [("new", "opening")]


async def _told_long_ago(place: Place, node: str) -> None:
    told = board(place.store(), place.keyring)
    lines = [line for line in await told.read() if line.node == node]
    sealed = told.sealed(node, lines[0].told - 8, lines)
    await place.store().call("SET", f"{NODES}:{node}", sealed, "PX", 15_000)


async def test_of_two_processes_with_the_same_ports_the_one_that_has_them_is_listed(place: Place) -> None:
    has, lacks = Phone(imei="356938035643809"), Phone(state="absent", reason="in use by another program")
    await place.desk(has, "one")
    await place.desk(lacks, "two")
    errands = place.errands()

    [line] = await errands.lines()
    assert (line.node, line.state) == ("one", "ready")
    assert (await errands.ussd("m1", "*123#")).text
    assert lacks.did == []


async def test_two_hosts_may_give_one_name_to_two_modems(place: Place) -> None:
    await place.desk(Phone(imei="356938035643809"), "one")
    await place.desk(Phone(imei="356938035643810"), "two")

    assert len(await place.errands().lines()) == 2
    with pytest.raises(NotFound, match="Several"):
        await place.errands().ussd("m1", "*123#")


async def test_any_modem_means_one_that_is_ready(place: Place) -> None:
    idle, ready = Phone("a1", state="absent"), Phone("b1")
    await place.desk(idle, "one")
    await place.desk(ready, "two")

    await place.errands().send("sms", "", TO, "x")
    assert (len(idle.did), len(ready.did)) == (0, 1)


async def test_names_of_dead_nodes_do_not_stay(place: Place) -> None:
    long_ago = int(time.time() * 1000) - 10 * 60_000
    for at in range(50):
        place.server.ask("ZADD", NODES, long_ago, f"dead-{at}")
    await place.desk(Phone())

    assert place.server.ask("ZCARD", NODES) == 1


async def test_clocks_of_the_hosts_do_not_matter(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Phone()
    await place.desk(owner)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    errands = place.errands()

    assert [line.name for line in await errands.lines()] == ["m1"]
    assert (await errands.ussd("m1", "*123#")).text
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    assert (await errands.ussd("m1", "*123#")).text


# The store.


@pytest.fixture
async def between(place: Place) -> AsyncIterator[CutProxy]:
    async with CutProxy(place.server.path) as proxy:
        yield proxy


async def test_an_errand_whose_reply_was_lost_is_done_once(place: Place, between: CutProxy) -> None:
    owner = Phone()
    await place.desk(owner)
    store = place.store(between.url)
    errands = place.errands(store)
    await errands.ussd("m1", "*1#")
    line = (await errands.lines())[0]
    asked = await errands._errand(line, "ussd", 30.0, code="*2#")
    await between.misbehave("loses_reply")
    [word] = [word async for word in errands._ask(line.node, asked, 30.0)]

    assert word.answered
    assert [did[2] for did in owner.did] == ["*1#", "*2#"]


async def test_the_store_may_go_and_come_back_meanwhile(place: Place, between: CutProxy) -> None:
    owner = Phone()
    owner.gate = asyncio.Event()
    await place.desk(owner, store=place.store(between.url))
    errands = place.errands(place.store(between.url))
    sending = asyncio.create_task(errands.send("sms", "m1", TO, "x"))
    await until(lambda: owner.did)
    await between.misbehave("refuses", times=None)
    owner.gate.set()
    # It is done by now, and whoever waits for it has asked for the answer in vain.
    await stays(lambda: not sending.done(), seconds=1.5)
    await between.behave()

    assert await asyncio.wait_for(sending, PATIENCE) == "sent as m1:7"
    assert len(owner.did) == 1


async def test_without_the_store_nothing_is_asked(place: Place) -> None:
    errands = place.errands(RedisStore("unix:///nowhere/at/all", fenced=False))
    asks: list[Callable[[], Awaitable[object]]] = [
        errands.lines,
        lambda: errands.ussd("m1", "*1#"),
        lambda: errands.send("sms", "", TO, "x"),
    ]
    for ask in asks:
        with pytest.raises(StoreUnavailable):
            await ask()


async def test_an_answer_of_another_keyring_is_no_answer(place: Place) -> None:
    """Rotation: the owner has the new key already, who asks does not hold it."""
    owner = Phone()
    key, newer = new_key("accept"), new_key()
    asker = Keyring(INDEX, [KeyEntry(id=key.id, state="active", secret=key.secret)])
    place.keyring = asker
    desk = await place.desk(owner)
    errands = place.errands(keyring=asker)
    await errands.lines()
    line = (await errands.lines())[0]
    desk._keyring = Keyring(INDEX, [key, newer])
    asked = await errands._errand(line, "ussd", 20.0, code="*2#")

    with pytest.raises(Unanswered, match="keyring"):
        [word async for word in errands._ask(line.node, asked, 20.0)]
    assert [one.name for one in await place.errands(keyring=asker).lines()] == [line.name]


async def test_junk_in_the_lists_hurts_nobody(place: Place) -> None:
    await place.desk(Phone())
    place.server.ask("RPUSH", "errand:{*}:here", b"junk")
    place.server.ask("ZADD", NODES, 1, "other")
    place.server.ask("SET", f"{NODES}:other", b"junk")

    assert (await place.errands().ussd("m1", "*123#")).text
    assert [line.node for line in await place.errands().lines()] == ["here"]


async def test_an_errand_that_nobody_waits_for_any_more_is_not_done(place: Place) -> None:
    owner = Phone()
    await place.desk(owner)
    errands = place.errands()
    line = (await errands.lines())[0]
    late = await errands._errand(line, "send", -1.0, to=TO, text="x")
    with pytest.raises(Unanswered):
        [word async for word in errands._ask(line.node, late, 1.0)]
    await errands.ussd("m1", "*123#")

    assert [did[0] for did in owner.did] == ["ussd"]


async def test_a_short_errand_takes_no_other_along(place: Place) -> None:
    """Its owner is busy: what waits in the list waits as long as it would alone."""
    errands = place.errands()
    line = Line(name="m1", channel="sms", node="here", state="ready")
    for patience in (0.1, 90.0, 0.1):
        asked = await errands._errand(line, "send", patience, to=TO, text="x")
        asking = asyncio.ensure_future(anext(errands._ask("here", asked, patience)))
        await asyncio.wait([asking], timeout=0.2)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    assert place.server.ask("PTTL", inbox("here")) > 90_000
    assert place.server.ask("LLEN", inbox("here")) == 3


async def test_errands_are_bounded_and_the_rest_waits(place: Place) -> None:
    owner = Phone()
    owner.gate = asyncio.Event()
    await place.desk(owner)
    errands = place.errands()
    asked = [asyncio.ensure_future(errands.ussd("m1", f"*{at}#")) for at in range(MOST + 6)]
    await until(lambda: len(owner.did) == MOST)
    await stays(lambda: len(owner.did) == MOST)
    owner.gate.set()

    assert len(await asyncio.gather(*asked)) == MOST + 6


async def test_a_trace_ends_with_who_carries_it_out(place: Place) -> None:
    owner = Phone()
    owner.gate = asyncio.Event()
    async with Desk(place.store(), place.keyring, lambda: {"sms": owner}, node="here") as desk:
        await desk.tell()
        seen: list[str] = []

        async def listen() -> None:
            seen.extend([line async for line in place.errands().trace("m1", 60)])

        listening = asyncio.ensure_future(listen())
        await until(lambda: owner.did)
        assert owner.traced == 1
    with pytest.raises(Unanswered, match="stopped"):
        await listening
    assert owner.traced == 0


async def test_telling_goes_on_after_a_bug(place: Place) -> None:
    class Broken(Phone):
        times = 2

        async def lines(self) -> list[Line]:
            if self.times:
                self.times -= 1
                raise RuntimeError("planted words")
            return self.all

    owner = Broken()
    async with Desk(place.store(), place.keyring, lambda: {"sms": owner}, node="here", gap=0.05):
        errands = place.errands()
        assert await until(errands.lines)


def test_keys_of_answers_are_apart() -> None:
    assert len({answer("a", 0), answer("a", 1), answer("b", 0)}) == 3
