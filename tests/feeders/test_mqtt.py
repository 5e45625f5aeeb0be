"""Commands from an MQTT broker: taken in order, so many at a time, acknowledged after."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.far_ends.mosquitto import MosquittoServer
from tests.feeders.lent import FakeLent
from tests.feeders.mqtt_rig import Feeding, config, feeding, peer, round_trip
from tests.waiting import until

#: Messages that Mosquitto hands over unacknowledged to a client of 3.1.1.
WINDOW = 20


@pytest.fixture(scope="module")
def pushing(need: Callable[[str], str]) -> Iterator[MosquittoServer]:
    """Hands over all at once, acknowledged or not."""
    need("mosquitto")
    with MosquittoServer("max_inflight_messages 0") as running:
        yield running


def numbered(count: int, size: int = 0) -> list[bytes]:
    return [b"%06d" % number + b"x" * size for number in range(count)]


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_a_command_is_taken(broker: MosquittoServer, protocol: str) -> None:
    async with feeding(broker, protocol=protocol) as gate, peer(broker) as shop:
        await shop.send(b'{"to":"+628111","text":"hi"}')
        await until(lambda: gate.far.intake.ended)

        frame = gate.far.intake.frames[0]
        assert frame.body == b'{"to":"+628111","text":"hi"}'
        assert (frame.literal, frame.again, frame.asked, frame.shared) == (True, False, False, False)


async def test_acknowledged_only_after_the_take(broker: MosquittoServer) -> None:
    """While takes wait, the broker's window stays full."""
    async with feeding(broker, at_once=100) as gate, peer(broker) as shop:
        gate.far.intake.block()
        await shop.flood(numbered(WINDOW + 10))
        await until(lambda: gate.far.intake.in_hand == WINDOW)
        await round_trip(gate)

        assert len(gate.far.intake.frames) == WINDOW
        gate.far.intake.release()
        await until(lambda: len(gate.far.intake.ended) == WINDOW + 10)
        assert gate.far.intake.bodies == numbered(WINDOW + 10)


async def test_a_slow_command_does_not_hold_the_others(broker: MosquittoServer) -> None:
    """One take waits, three windows pass it by."""
    async with feeding(broker) as gate, peer(broker) as shop:
        gate.far.intake.block()
        await shop.send(b"slow")
        await until(lambda: gate.far.intake.in_hand == 1)
        gate.far.intake._blocks = False
        await shop.flood(numbered(3 * WINDOW))
        await until(lambda: len(gate.far.intake.ended) == 3 * WINDOW)

        assert gate.far.intake.in_hand == 1
        gate.far.intake.release()
        await until(lambda: gate.far.intake.ended[-1].body == b"slow")
        await round_trip(gate)
        gate.cut()
        await until(lambda: gate.far.tally.ups == 2)
        await round_trip(gate)
        assert len(gate.far.intake.frames) == 3 * WINDOW + 1


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_so_many_at_once_in_the_order_of_arrival(broker: MosquittoServer, protocol: str) -> None:
    async with feeding(broker, at_once=3, protocol=protocol) as gate, peer(broker) as shop:
        gate.far.intake.block()
        await shop.flood(numbered(12))
        await until(lambda: gate.far.intake.in_hand == 3)
        await round_trip(gate)

        # Version 5 tells the broker how many it may hand over.
        assert len(gate.feeder._inflow._waiting) == (9 if protocol == "3.1.1" else 0)
        gate.far.intake.release()
        await until(lambda: len(gate.far.intake.ended) == 12)
        assert gate.far.intake.bodies == numbered(12)
        assert gate.far.intake.most_in_hand == 3


async def test_what_has_no_room_waits_at_the_broker(pushing: MosquittoServer) -> None:
    """A broker without a window is read no further than the room goes."""
    bodies = numbered(300, size=50_000)
    async with feeding(pushing, at_once=1) as gate, peer(pushing) as shop:
        gate.far.intake.block()
        await shop.flood(bodies[:200])
        await until(lambda: gate.line._stream.held)

        assert gate.feeder._inflow._weights[1] < 5 << 20
        gate.far.intake.release()
        await until(lambda: len(gate.far.intake.ended) == 200)
        await shop.flood(bodies[200:])
        await until(lambda: len(gate.far.intake.ended) == 300)
        assert gate.far.intake.bodies == bodies
        assert gate.ends == []


async def test_a_flood_that_cannot_be_acknowledged_is_bounded(broker: MosquittoServer) -> None:
    """QoS 0: what has no room is lost, and counted."""
    async with feeding(broker, at_once=1) as gate, peer(broker) as shop:
        gate.far.intake.block()
        await shop.send(*numbered(800, size=10_000), qos=0)
        await shop.send(b"the last")
        await until(lambda: any(one.qos for _, one in gate.feeder._inflow._waiting))

        assert gate.feeder._inflow._weights[0] <= 4 << 20
        lost = len(gate.far.tally.losses)
        assert lost > 300
        gate.far.intake.release()
        await until(lambda: gate.far.intake.ended and gate.far.intake.ended[-1].body == b"the last")
        assert len(gate.far.intake.ended) + lost <= 801


async def test_a_body_beyond_all_bounds_is_refused_not_kept(broker: MosquittoServer) -> None:
    """The intake sees that it is too large; the memory for the rest is given back."""
    async with feeding(broker) as gate, peer(broker) as shop:
        await shop.send(b"x" * 100_000, b"y" * 3_000_000, b"small")
        await until(lambda: len(gate.far.intake.ended) == 3)

        assert [len(body) for body in gate.far.intake.bodies] == [100_000, 262_144, 5]


async def test_topics_with_wildcards(broker: MosquittoServer) -> None:
    async with feeding(broker, topic="many/+/out") as gate, peer(broker) as shop:
        await shop.send(b"no", topic="many/a/b/out")
        await shop.send(b"yes", topic="many/a/out")
        await until(lambda: gate.far.intake.ended)

        assert gate.far.intake.bodies == [b"yes"]


async def test_what_an_older_topic_still_brings_is_not_taken(broker: MosquittoServer) -> None:
    """The broker keeps the subscriptions of a client; this one was configured otherwise since."""
    async with feeding(broker, topic="old/topic", client_id="changed"):
        pass
    async with feeding(broker, topic="new/topic", client_id="changed") as gate, peer(broker) as shop:
        await shop.send(b"old", topic="old/topic")
        await shop.send(b"new", topic="new/topic")
        await until(lambda: gate.far.intake.ended)

        assert gate.far.intake.bodies == [b"new"]


async def test_two_boxes_with_tables_of_one_name_do_not_meet(broker: MosquittoServer) -> None:
    async with (
        feeding(broker, client_id="", gateway="dongle1") as one,
        feeding(broker, client_id="", gateway="dongle2") as other,
        peer(broker) as shop,
    ):
        for number in range(5):
            await shop.send(b"1-%d" % number, topic="smsoutnew/dongle1")
            await shop.send(b"2-%d" % number, topic="smsoutnew/dongle2")
        await until(lambda: len(one.far.intake.ended) == len(other.far.intake.ended) == 5)

        assert one.far.intake.bodies == [b"1-%d" % number for number in range(5)]
        assert other.far.intake.bodies == [b"2-%d" % number for number in range(5)]
        assert one.ends == other.ends == []


async def test_a_fault_in_a_take_ends_the_session(broker: MosquittoServer) -> None:
    """Not acknowledged, so it comes again when the supervisor begins a new one."""
    far = FakeLent()
    far.intake.script.append(LookupError("a fault"))
    gate = Feeding(config(broker, client_id="faulty"), far)
    await gate.start()
    async with peer(broker) as shop:
        await shop.send(b"command")
        await until(lambda: gate.ends)
    await gate.stop()

    assert isinstance(gate.ends[0], LookupError)
    async with feeding(broker, far, client_id="faulty"):
        await until(lambda: far.intake.ended)
        assert [frame.again for frame in far.intake.frames] == [False, True]
