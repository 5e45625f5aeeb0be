"""Where an MQTT feeder's answers go, and where they may not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otpsvc.feeder import Taken
from tests.far_ends.mosquitto import MosquittoServer
from tests.feeders.lent import FakeLent
from tests.feeders.mqtt_rig import TOPIC, Feeding, config, feeding, peer
from tests.waiting import until

ANSWER = b'{"command":"echo","response_code":"0000"}'


async def test_a_response_topic_with_correlation_data(broker: MosquittoServer) -> None:
    """MQTT 5, 4.10."""
    async with feeding(broker, protocol="5") as gate, peer(broker, "answers/#", version5=True) as shop:
        gate.far.intake.replies = {"answers/*"}
        gate.far.intake.outcome = Taken(answer=ANSWER)
        await shop.ask(b"echo", reply="answers/shop", correlation=b"\x00\xffabc")
        await until(lambda: shop.messages)

        assert shop.heard == [("answers/shop", ANSWER)]
        assert getattr(shop.messages[0].properties, "CorrelationData", b"") == b"\x00\xffabc"
        frame = gate.far.intake.frames[0]
        assert (frame.asked, frame.id) == (True, b"\x00\xffabc".hex())


@pytest.mark.parametrize("place", ["elsewhere/shop", TOPIC, "$SYS/x", "smsoutnew/other"])
async def test_a_response_topic_that_is_not_allowed(broker: MosquittoServer, place: str) -> None:
    """No pattern fits, or it is where commands come from: an answer there would be taken for one."""
    async with (
        feeding(broker, protocol="5", topic="smsoutnew/+") as gate,
        peer(broker, "elsewhere/#", version5=True) as shop,
    ):
        gate.far.intake.replies = {"answers/*", "smsoutnew/*", "$SYS/*"}
        gate.far.intake.outcome = Taken(answer=ANSWER)
        await shop.ask(b"first", reply=place, correlation=b"1")
        await shop.ask(b"second", reply="answers/shop", correlation=b"")
        await until(lambda: len(gate.far.intake.ended) == 2)
        await (await gate.line.send("elsewhere/end", b"end"))
        await until(lambda: shop.bodies("elsewhere/end"))

        assert [frame.asked for frame in gate.far.intake.frames] == [False, True]
        assert gate.far.intake.frames[1].id == ""
        assert shop.heard == [("elsewhere/end", b"end")]
        assert len(gate.far.intake.frames) == 2


async def test_long_correlation_data_makes_a_short_id(broker: MosquittoServer) -> None:
    async with feeding(broker, protocol="5") as gate, peer(broker, version5=True) as shop:
        for correlation in (b"x" * 5000, b"x" * 5001):
            await shop.ask(b"echo", reply="", correlation=correlation)
        await until(lambda: len(gate.far.intake.ended) == 2)

        ids = [frame.id for frame in gate.far.intake.frames]
        assert ids[0] != ids[1]
        assert all(len(id) == 128 for id in ids)


async def test_an_answer_topic(broker: MosquittoServer) -> None:
    """3.1.1 knows no place for answers: all go to one, as they are."""
    async with (
        feeding(broker, answer_topic="answers/{gateway}") as gate,
        peer(broker, "answers/#") as shop,
    ):
        gate.far.intake.script.append(Taken(answer=ANSWER))
        await shop.send(b"echo", b"nobody wants an answer")
        await until(lambda: len(gate.far.intake.ended) == 2)
        await until(lambda: shop.messages)

        assert shop.heard == [("answers/gate", ANSWER)]
        assert [frame.asked for frame in gate.far.intake.frames] == [True, True]


async def test_answers_are_written_before_the_command_is_acknowledged(broker: MosquittoServer) -> None:
    """The line breaks at the acknowledgement: the command comes again, the answer was not lost."""
    async with (
        feeding(broker, answer_topic="answers/{gateway}", client_id="ordered") as gate,
        peer(broker, "answers/#") as shop,
    ):
        gate.far.intake.outcome = Taken(answer=ANSWER)
        line = gate.line
        line.ack = lambda _: line._loop.call_soon(line._write) and line._loop.call_soon(line.cut)
        await shop.send(b"echo")
        await until(lambda: len(gate.far.intake.ended) == 2)

        assert [frame.again for frame in gate.far.intake.frames] == [False, True]
        await until(lambda: len(shop.messages) == 2)


async def test_a_broker_that_hangs_up_at_an_answer(broker: MosquittoServer) -> None:
    """Mosquitto 2.0, where its ACL does not allow one in version 5: the command does not come for ever."""
    table: dict[str, Any] = {"username": "reader", "protocol": "5", "client_id": "denied"}
    table |= {"heartbeat_topic": "", "answer_topic": "answers/x"}
    far = FakeLent()
    far.intake.outcome = Taken(answer=ANSWER)
    async with feeding(broker, far, **table), peer(broker) as shop:
        await shop.send(b"echo")
        await until(lambda: far.intake.ended)
        await shop.send(b"", topic="not/for/us")
    # Where the broker hung up it comes once more, and the session after that stands.
    again = FakeLent()
    again.intake.outcome = Taken(answer=ANSWER)
    async with feeding(broker, again, **table):
        assert again.tally.ups
    async with feeding(broker, **table) as gate, peer(broker) as shop:
        gate.far.intake.outcome = Taken()
        await shop.send(b"end")
        await until(lambda: gate.far.intake.ended)
        assert gate.far.intake.bodies == [b"end"]


async def test_a_callback_topic_of_the_command(broker: MosquittoServer) -> None:
    """OTP-Pi's: the intake has allowed it already."""
    async with feeding(broker) as gate, peer(broker, "back/#") as shop:
        gate.far.intake.outcome = Taken(answer=ANSWER, callback="back/shop")
        await shop.send(b"echo")
        await until(lambda: shop.messages)

        assert shop.heard == [("back/shop", ANSWER)]


@pytest.mark.parametrize("place", [TOPIC, "back/#", "", "back/\0", "$SYS/x"])
async def test_a_callback_topic_that_is_none_for_us(broker: MosquittoServer, place: str) -> None:
    async with feeding(broker) as gate, peer(broker, "back/#") as shop:
        gate.far.intake.script.append(Taken(answer=ANSWER, callback=place))
        gate.far.intake.script.append(Taken(answer=ANSWER, callback="back/end"))
        await shop.send(b"one", b"two")
        await until(lambda: shop.messages)

        assert shop.heard == [("back/end", ANSWER)]
        assert gate.far.intake.bodies == [b"one", b"two"]
        assert gate.ends == []


async def test_no_answer_goes_to_where_another_feeder_takes_commands(broker: MosquittoServer) -> None:
    far = FakeLent()
    far.taken = {"back/theirs", "back/usual"}
    far.intake.replies = {"back/*"}
    async with (
        feeding(broker, far, protocol="5", answer_topic="back/usual") as gate,
        peer(broker, "back/#", version5=True) as shop,
    ):
        gate.far.intake.script.append(Taken(answer=ANSWER, callback="back/theirs"))
        gate.far.intake.script.append(Taken(answer=ANSWER))
        await shop.ask(b"one", reply="back/theirs", correlation=b"1")
        await shop.ask(b"two", reply="back/end", correlation=b"2")
        await until(lambda: shop.messages)

        assert shop.heard == [("back/end", ANSWER)]
        assert [frame.asked for frame in gate.far.intake.frames] == [False, True]


async def test_a_delayed_callback(broker: MosquittoServer) -> None:
    """The command is acknowledged meanwhile; at a stop it goes at once."""
    async with peer(broker, "back/#") as shop:
        gate = Feeding(config(broker, client_id="delays"))
        await gate.start()
        gate.far.intake.script.append(Taken(answer=b"soon", callback="back/shop", delay=0.05))
        gate.far.intake.script.append(Taken(answer=b"late", callback="back/shop", delay=3600))
        await shop.send(b"one", b"two")
        await until(lambda: len(gate.far.intake.ended) == 2)
        await until(lambda: shop.bodies("back/shop") == [b"soon"])
        await until(lambda: len(gate.feeder._delayed) == 1)
        await gate.stop()
        await until(lambda: shop.bodies("back/shop") == [b"soon", b"late"])


async def test_the_brokers_window_is_kept(broker: MosquittoServer) -> None:
    """Version 5: so many unacknowledged messages as its CONNACK says, the others wait."""
    async with feeding(broker, protocol="5", client_id="window") as gate, peer(broker, "many/#") as shop:
        line = gate.line
        await until(lambda: not line._window)
        broker.pause()
        try:
            sending = [asyncio.create_task(line.send("many/x", b"%d" % number)) for number in range(300)]
            await until(lambda: len(line._window) == line._window.size)
            await asyncio.sleep(0)
            assert len(line._window) == line._window.size == 20
        finally:
            broker.resume()
        assert [await (await one) for one in sending] == [0] * 300
        await until(lambda: len(shop.messages) == 300)

        assert shop.bodies("many/x") == [b"%d" % number for number in range(300)]
        assert gate.ends == []
