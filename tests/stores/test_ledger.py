"""The modems' ledger, in memory and on a server: both count, remember and answer alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.gsm.ledger import Ledger, Match, MemoryLedger
from otpsvc.gsm.types import Quota, Text, Used, Window
from otpsvc.keyring import Keyring
from otpsvc.stores.ledger import RedisLedger
from otpsvc.stores.redis import RedisStore
from tests.far_ends.cut_proxy import CutProxy
from tests.flows.rig import new_key
from tests.stores.conftest import a_place
from tests.stores.places import RedisPlace
from tests.waiting import PATIENCE

SIM, OTHER = "8962100012345678901", "8962100012345678902"
NUMBER, ANOTHER = "+6281234567890", "+6281234567891"
ZONE = "Asia/Jakarta"
#: Half past ten in the morning there, in the middle of a month.
BEGIN = datetime(2026, 11, 18, 3, 30, 20, tzinfo=UTC).timestamp()
NONE: tuple[Quota, ...] = ()


class Rig:
    """A ledger and the time that it goes by."""

    def __init__(self, place: RedisPlace | None) -> None:
        self.time = BEGIN
        self.place = place
        self.kept: dict[str, Text] = {}
        self.ledger: Ledger = self.node() if place else MemoryLedger(lambda: self.time)

    def node(self, store: RedisStore | None = None) -> RedisLedger:
        assert self.place
        node = store or self.place.node()
        assert isinstance(node, RedisStore)
        return RedisLedger(node, KEYRING.name, self._keep, clock=lambda: self.time)

    async def _keep(self, text: Text) -> None:
        self.kept[text.id] = text

    def advance(self, seconds: float) -> None:
        self.time += seconds
        if self.place:
            self.place.advance(seconds)

    def until(self, hour: int, minute: int, second: int = 0, *, day: int = 18) -> None:
        """Go on to a time of that month, in UTC."""
        self.advance(datetime(2026, 11, day, hour, minute, second, tzinfo=UTC).timestamp() - self.time)

    async def take(self, parts: int = 1, *quotas: Quota, sim: str = SIM) -> float:
        return (await self.ledger.take(sim, parts, quotas, ZONE)).wait

    async def counts(self, sim: str = SIM) -> list[int]:
        return [used.parts for used in await self.ledger.used(sim, NONE, ZONE)]

    def texts(self) -> list[str]:
        kept = self.ledger.texts if isinstance(self.ledger, MemoryLedger) else self.kept
        return list(kept)


KEYRING = Keyring(b"index secret of the test, 32 by.", [new_key()])


@pytest.fixture(params=["memory", "redis", "embedded"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with a_place(request, fenced=False) as place:
        yield Rig(place if isinstance(place, RedisPlace) else None)


@pytest.fixture(params=["redis", "embedded"])
async def real_rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with a_place(request, fenced=False) as place:
        assert isinstance(place, RedisPlace)
        yield Rig(place)


# --- quotas ----------------------------------------------------------------


async def test_parts_are_counted_in_every_window(rig: Rig) -> None:
    quotas = (Quota(10, "minute"), Quota(100, "day"))
    first = await rig.ledger.take(SIM, 2, quotas, ZONE)
    second = await rig.ledger.take(SIM, 3, quotas, ZONE)

    assert (first.wait, second.wait) == (0, 0)
    assert second.used == (Used("minute", 5, 10), Used("hour", 5), Used("day", 5, 100), Used("month", 5))
    assert await rig.ledger.used(SIM, quotas, ZONE) == second.used
    assert await rig.ledger.used(SIM, NONE, ZONE) == tuple(Used(u.window, 5) for u in second.used)
    assert await rig.counts(OTHER) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("window", "wait"),
    # It is 10:30:20 on the 18th of a month of 30 days.
    [("minute", 40), ("hour", 29 * 60 + 40), ("day", 13 * 3600 + 1780), ("month", 12 * 86_400 + 48_580)],
)
async def test_a_full_window_refuses_and_counts_nothing(rig: Rig, window: Window, wait: int) -> None:
    quota = Quota(3, window)
    assert await rig.take(2, quota) == 0
    refused = await rig.ledger.take(SIM, 2, (quota,), ZONE)

    assert refused.wait == pytest.approx(wait, abs=1)
    assert refused.used[["minute", "hour", "day", "month"].index(window)] == Used(window, 2, 3)
    assert await rig.counts() == [2, 2, 2, 2]
    assert await rig.take(1, quota) == 0, "a smaller one still fits"
    assert await rig.take(1, quota) > 0
    rig.advance(refused.wait)
    assert await rig.take(3, quota) == 0


async def test_the_first_full_window_says_how_long(rig: Rig) -> None:
    hour, minute = Quota(2, "hour"), Quota(2, "minute")
    await rig.take(2)

    assert await rig.take(1, minute, hour) == pytest.approx(40, abs=1)
    assert await rig.take(1, hour, minute) == pytest.approx(29 * 60 + 40, abs=1)
    assert await rig.take(1, Quota(5, "day"), hour, minute) == pytest.approx(29 * 60 + 40, abs=1)


async def test_a_text_that_is_too_long_for_a_quota_never_fits(rig: Rig) -> None:
    assert await rig.take(4, Quota(3, "minute")) > 0
    assert await rig.counts() == [0, 0, 0, 0]


async def test_the_day_ends_at_midnight_of_its_time_zone(rig: Rig) -> None:
    await rig.take(3, Quota(3, "day"))
    rig.until(16, 59, 50)
    assert await rig.take(1, Quota(3, "day")) == pytest.approx(10, abs=1)
    rig.until(17, 0, 1)

    assert await rig.take(1, Quota(3, "day")) == 0
    assert await rig.counts() == [1, 1, 1, 4]


async def test_a_time_zone_may_be_utc(rig: Rig) -> None:
    taken = await rig.ledger.take(SIM, 3, [Quota(3, "day")], "UTC")
    assert taken.wait == 0
    taken = await rig.ledger.take(SIM, 1, [Quota(3, "day")], "UTC")

    assert taken.wait == pytest.approx(20 * 3600 + 1780, abs=1)


async def test_each_window_begins_anew(rig: Rig) -> None:
    await rig.take()
    rig.until(3, 31, 0)
    assert await rig.counts() == [0, 1, 1, 1]
    rig.until(4, 0, 0)
    assert await rig.counts() == [0, 0, 1, 1]
    rig.until(17, 0, 0)
    assert await rig.counts() == [0, 0, 0, 1]
    rig.until(17, 0, 0, day=30)
    assert await rig.counts() == [0, 0, 0, 0]


async def test_many_nodes_count_together(real_rig: Rig) -> None:
    nodes, quota = [real_rig.node(), real_rig.node()], (Quota(7, "hour"),)
    taken = await asyncio.gather(*(nodes[at % 2].take(SIM, 2, quota, ZONE) for at in range(20)))

    assert sum(not one.wait for one in taken) == 3
    assert await real_rig.counts() == [6, 6, 6, 6]
    assert sorted(one.reference for one in taken if not one.wait) == [0, 1, 2]


# --- references ------------------------------------------------------------


async def test_every_text_has_another_reference(rig: Rig) -> None:
    async def reference(sim: str = SIM, *quotas: Quota) -> int:
        return (await rig.ledger.take(sim, 1, quotas, ZONE)).reference

    assert [await reference() for _ in range(3)] == [0, 1, 2]
    assert await reference(OTHER) == 0
    await reference(SIM, Quota(1, "minute"))
    rig.advance(86_400)
    assert await reference() == 3, "a refused one has none"


async def test_references_go_round(real_rig: Rig) -> None:
    await real_rig.take()
    assert real_rig.place
    [key] = real_rig.place.all_keys("gsm:*:reference")
    real_rig.place.ask.set(key, 65_535, keepttl=True)
    taken = [await real_rig.ledger.take(SIM, 1, NONE, ZONE) for _ in range(2)]

    assert [one.reference for one in taken] == [65_535, 0]


# --- given back ------------------------------------------------------------


async def test_what_was_not_sent_is_given_back(rig: Rig) -> None:
    await rig.take(3)
    await rig.ledger.give_back(SIM, 2, ZONE)

    assert await rig.counts() == [1, 1, 1, 1]
    assert await rig.take(2, Quota(3, "minute")) == 0


async def test_never_more_is_given_back_than_was_taken(rig: Rig) -> None:
    await rig.ledger.give_back(SIM, 2, ZONE)
    await rig.take(1)
    await rig.ledger.give_back(SIM, 5, ZONE)

    assert await rig.counts() == [0, 0, 0, 0]
    assert await rig.take(2, Quota(2, "minute")) == 0


async def test_a_window_that_ended_is_left_alone(rig: Rig) -> None:
    await rig.take(2)
    rig.advance(60)
    await rig.ledger.give_back(SIM, 1, ZONE)

    assert await rig.counts() == [0, 1, 1, 1]


# --- PINs ------------------------------------------------------------------


async def test_a_pin_is_tried_once(rig: Rig) -> None:
    assert await rig.ledger.may_try_pin("digest")
    assert not await rig.ledger.may_try_pin("digest")
    assert await rig.ledger.may_try_pin("another digest")
    rig.advance(3 * 365 * 86_400)
    assert not await rig.ledger.may_try_pin("digest")
    assert not await rig.ledger.may_try_pin("another digest")


async def test_a_pin_that_was_right_may_be_tried_again(rig: Rig) -> None:
    for _ in range(3):
        assert await rig.ledger.may_try_pin("digest")
        await rig.ledger.pin_accepted("digest")
    await rig.ledger.pin_accepted("never tried")


async def test_of_many_nodes_one_tries_a_pin(real_rig: Rig) -> None:
    nodes = [real_rig.node(), real_rig.node()]

    assert sum(await asyncio.gather(*(nodes[at % 2].may_try_pin("digest") for at in range(10)))) == 1


# --- delivery reports ------------------------------------------------------


async def test_reports_find_their_job(rig: Rig) -> None:
    ledger = rig.ledger
    await ledger.expect(SIM, [7, 8, 9], NUMBER, "job 1", 60)
    await ledger.expect(SIM, [7], ANOTHER, "job 2", 60)
    await ledger.expect(OTHER, [7], NUMBER, "job 3", 60)

    assert await ledger.match(SIM, 8, NUMBER, final=True) == Match("job 1", 2)
    assert await ledger.match(SIM, 7, NUMBER, final=True) == Match("job 1", 1)
    assert await ledger.match(SIM, 7, ANOTHER, final=True) == Match("job 2", 0)
    assert await ledger.match(OTHER, 7, NUMBER, final=True) == Match("job 3", 0)
    assert await ledger.match(SIM, 9, NUMBER, final=True) == Match("job 1", 0)


async def test_a_report_that_comes_twice_counts_once(rig: Rig) -> None:
    await rig.ledger.expect(SIM, [1, 2], NUMBER, "job", 60)
    assert await rig.ledger.match(SIM, 1, NUMBER, final=True) == Match("job", 1)

    assert await rig.ledger.match(SIM, 1, NUMBER, final=True) is None
    assert await rig.ledger.match(SIM, 1, NUMBER, final=False) is None
    assert await rig.ledger.match(SIM, 2, NUMBER, final=True) == Match("job", 0)


async def test_a_report_that_is_not_final_ends_nothing(rig: Rig) -> None:
    await rig.ledger.expect(SIM, [1, 2], NUMBER, "job", 60)
    for _ in range(2):
        assert await rig.ledger.match(SIM, 1, NUMBER, final=False) == Match("job", 2)

    assert await rig.ledger.match(SIM, 1, NUMBER, final=True) == Match("job", 1)


async def test_unknown_reports_are_nobodys(rig: Rig) -> None:
    assert await rig.ledger.match(SIM, 1, NUMBER, final=True) is None
    await rig.ledger.expect(SIM, [], NUMBER, "job", 60)
    await rig.ledger.expect(SIM, [1], NUMBER, "job", 60)

    assert await rig.ledger.match(SIM, 2, NUMBER, final=True) is None
    assert await rig.ledger.match(SIM, 1, ANOTHER, final=True) is None
    assert await rig.ledger.match(OTHER, 1, NUMBER, final=True) is None


async def test_reports_are_waited_for_as_long_as_was_asked(rig: Rig) -> None:
    await rig.ledger.expect(SIM, [1], NUMBER, "job 1", 60)
    await rig.ledger.expect(SIM, [2], NUMBER, "job 2", 100)
    rig.advance(61)

    assert await rig.ledger.match(SIM, 1, NUMBER, final=True) is None
    assert await rig.ledger.match(SIM, 2, NUMBER, final=True) == Match("job 2", 0)


async def test_a_newer_part_goes_before_an_older(rig: Rig) -> None:
    """The network counts from 0 to 255 and begins again."""
    await rig.ledger.expect(SIM, [1, 2], NUMBER, "older", 60)
    await rig.ledger.expect(SIM, [2, 3], NUMBER, "newer", 60)

    assert await rig.ledger.match(SIM, 2, NUMBER, final=True) == Match("newer", 1)
    assert await rig.ledger.match(SIM, 1, NUMBER, final=True) == Match("older", 0)


async def test_parts_may_be_told_one_after_another(rig: Rig) -> None:
    await rig.ledger.expect(SIM, [1], NUMBER, "job", 60)
    rig.advance(40)
    await rig.ledger.expect(SIM, [1, 2], NUMBER, "job", 60)
    rig.advance(40)

    assert await rig.ledger.match(SIM, 1, NUMBER, final=True) == Match("job", 1)


async def test_any_word_may_name_a_job(rig: Rig) -> None:
    await rig.ledger.expect(SIM, [1], NUMBER, "cé |\n 1", 60.5)

    assert await rig.ledger.match(SIM, 1, NUMBER, final=True) == Match("cé |\n 1", 0)


# --- texts -----------------------------------------------------------------


async def test_texts_are_kept_by_the_program(rig: Rig) -> None:
    text = Text(id="t1", modem="m", sim=SIM, sender=NUMBER, text="hello")
    await rig.ledger.keep(text)
    await rig.ledger.keep(text)

    assert rig.texts() == ["t1"]


# --- what is on the server -------------------------------------------------


async def test_no_number_stands_in_the_store_and_everything_ends(real_rig: Rig) -> None:
    await real_rig.take(2, Quota(5, "day"))
    await real_rig.ledger.give_back(SIM, 1, ZONE)
    await real_rig.ledger.may_try_pin(f"{SIM} 1234")
    await real_rig.ledger.expect(SIM, [7], NUMBER, "job", 60)
    assert real_rig.place
    ask: Any = real_rig.place.ask
    kept: dict[bytes, bytes] = {key: ask.dump(key) for key in real_rig.place.all_keys()}

    for key, value in kept.items():
        assert key.startswith(b"gsm:{*}:")
        for secret in (SIM, NUMBER, NUMBER[1:], "1234567890"):
            assert secret.encode() not in key + value
    [pin] = [key for key in kept if ask.pttl(key) == -1]
    assert pin.startswith(b"gsm:{*}:pin:")
    real_rig.advance(86_400 * 50)
    assert real_rig.place.all_keys() == [pin]


async def test_without_the_store_nothing_is_sent(real_rig: Rig) -> None:
    assert real_rig.place
    store = real_rig.place.node()
    assert isinstance(store, RedisStore)
    ledger = real_rig.node(store)
    await store.close()

    asks: list[Callable[[], object]] = [
        lambda: ledger.take(SIM, 1, NONE, ZONE),
        lambda: ledger.give_back(SIM, 1, ZONE),
        lambda: ledger.used(SIM, NONE, ZONE),
        lambda: ledger.may_try_pin("digest"),
        lambda: ledger.pin_accepted("digest"),
        lambda: ledger.expect(SIM, [1], NUMBER, "job", 60),
        lambda: ledger.match(SIM, 1, NUMBER, final=True),
    ]
    for ask in asks:
        with pytest.raises(StoreUnavailable):
            await ask()  # type: ignore[misc]


# --- lost replies ----------------------------------------------------------


@pytest.fixture
async def between(real_rig: Rig) -> AsyncIterator[CutProxy]:
    assert real_rig.place
    async with CutProxy(real_rig.place._url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
async def lossy(real_rig: Rig, between: CutProxy) -> AsyncIterator[RedisLedger]:
    """A ledger behind the proxy that knows its scripts; `real_rig` sees what really happened."""
    store = RedisStore(between.url, fenced=False, timeout=PATIENCE)
    ledger = real_rig.node(store)
    await ledger.take("warm", 1, NONE, ZONE)
    await ledger.give_back("warm", 1, ZONE)
    await ledger.may_try_pin("warm")
    await ledger.pin_accepted("warm")
    await ledger.expect("warm", [1], NUMBER, "warm", 60)
    await ledger.match("warm", 1, NUMBER, final=True)
    yield ledger
    await store.close()


async def test_parts_are_counted_once(lossy: RedisLedger, between: CutProxy, real_rig: Rig) -> None:
    quotas = (Quota(3, "minute"),)
    await between.misbehave("loses_reply")
    taken = await lossy.take(SIM, 2, quotas, ZONE)

    assert between.accepted == 2
    assert (taken.wait, taken.reference) == (0, 0)
    assert taken.used == await real_rig.ledger.used(SIM, quotas, ZONE)
    assert await real_rig.counts() == [2, 2, 2, 2]


async def test_parts_are_given_back_once(lossy: RedisLedger, between: CutProxy, real_rig: Rig) -> None:
    await real_rig.take(3)
    await between.misbehave("loses_reply")
    await lossy.give_back(SIM, 1, ZONE)

    assert between.accepted == 2
    assert await real_rig.counts() == [2, 2, 2, 2]


async def test_a_pin_that_was_noted_by_this_very_call_may_be_tried(
    lossy: RedisLedger, between: CutProxy, real_rig: Rig
) -> None:
    await between.misbehave("loses_reply")
    assert await lossy.may_try_pin("digest")

    assert between.accepted == 2
    assert not await real_rig.ledger.may_try_pin("digest")


async def test_a_report_is_matched_once(lossy: RedisLedger, between: CutProxy, real_rig: Rig) -> None:
    await between.misbehave("loses_reply")
    await lossy.expect(SIM, [1, 2], NUMBER, "job", 60)
    await between.misbehave("loses_reply")
    assert await lossy.match(SIM, 1, NUMBER, final=True) == Match("job", 1)

    assert between.accepted == 3
    assert await lossy.match(SIM, 1, NUMBER, final=True) is None
    assert await real_rig.ledger.match(SIM, 2, NUMBER, final=True) == Match("job", 0)
