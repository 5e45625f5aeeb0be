"""What an MQTT feeder tells its broker: texts that came in, states, heartbeats, presence."""

from __future__ import annotations

import ast
import asyncio
import json
import time
from collections.abc import Callable

import pytest

from otpsvc.errors import BrokerRefused, StoreUnavailable
from otpsvc.feeder import Note, Taken
from otpsvc.feeders.mqtt_telling import text_body
from tests.far_ends.mosquitto import MosquittoServer
from tests.feeders.lent import FakeLent
from tests.feeders.mqtt_rig import Feeding, accepted, config, feeding, peer, text
from tests.waiting import stays, until

INCOMING = "mqttsmsgw/gate"


async def test_a_text_that_came_in(broker: MosquittoServer) -> None:
    """Exactly these keys, all strings; told of once the broker has it."""
    one = text(id="t1", sender="+628111", text="hello", modem="east", at=1_800_000_000.9)
    at = time.localtime(1_800_000_000)
    async with feeding(broker, incoming_topic="mqttsmsgw/{gateway}") as gate, peer(broker, INCOMING) as app:
        gate.far.news.texts.put_nowait(one)
        gate.far.news.texts.put_nowait(text(id="t2", code="739164"))
        await until(lambda: len(app.messages) == 2)
        await until(lambda: len(gate.far.news.told_texts) == 2)

        assert json.loads(app.heard[0][1]) == {
            "id": "t1",
            "from": "+628111",
            "msdn": "+628111",
            "msisdn": "+628111",
            "to": "gate",
            "text": "hello",
            "date": time.strftime("%y/%m/%d", at),
            "time": time.strftime("%H:%M:%S", at),
            "modem": "east",
        }
        assert json.loads(app.heard[1][1])["code"] == "739164"
        assert [(one.qos, one.retain) for one in app.messages] == [(1, False), (1, False)]


@pytest.mark.parametrize(
    "content", ["it's", 'say "hi"', "a\nb\tc\\", "naïve 😀 \x00\x7f\u2028", "'''", "\ud83d"]
)
def test_readers_of_the_pico_gateway_survive(content: str) -> None:
    """Python literals, and those who make double quotes of single ones."""
    body = text_body(text(text=content), "gate").decode()
    sent = content.replace("\ud83d", "?")

    assert ast.literal_eval(body)["text"] == sent
    assert json.loads(body.replace("'", '"'))["text"] == sent


async def test_told_only_once_the_broker_has_it(broker: MosquittoServer) -> None:
    """It hangs: the text is written, and not told of."""
    async with feeding(broker, incoming_topic=INCOMING, client_id="hangs") as gate:
        await until(lambda: not gate.line._window)
        broker.pause()
        try:
            gate.far.news.texts.put_nowait(text())
            await until(lambda: gate.line._window)
            await stays(lambda: gate.far.news.told_texts == [])
        finally:
            broker.resume()
        await until(lambda: gate.far.news.told_texts)


async def test_told_again_when_the_line_broke_before(broker: MosquittoServer) -> None:
    async with (
        feeding(broker, incoming_topic=INCOMING, client_id="again") as gate,
        peer(broker, INCOMING) as app,
    ):
        await until(lambda: not gate.line._window)
        gate.line._on_publish = None
        gate.line._client.on_publish = lambda *_: None  # the broker's PUBACK is not seen
        gate.far.news.texts.put_nowait(text(id="twice"))
        await until(lambda: len(app.messages) == 1)
        assert gate.far.news.told_texts == []
        gate.cut()
        await until(lambda: gate.far.news.told_texts)

        await until(lambda: len(app.messages) == 2)
        assert [json.loads(body)["id"] for _, body in app.heard] == ["twice", "twice"]


async def test_the_broker_is_away_when_a_text_comes_in(need: Callable[[str], str]) -> None:
    need("mosquitto")
    with MosquittoServer() as broker:
        async with feeding(broker, incoming_topic=INCOMING) as gate:
            await asyncio.to_thread(broker.stop)
            gate.far.news.texts.put_nowait(text())
            await until(lambda: len(gate.ends) > 2)
            assert gate.far.news.told_texts == []
            await asyncio.to_thread(broker.start)
            await until(lambda: gate.far.news.told_texts)


async def test_the_store_is_away_when_it_was_told(broker: MosquittoServer) -> None:
    """It is published once, and told of when the store is back."""
    async with (
        feeding(broker, incoming_topic=INCOMING, client_id="store") as gate,
        peer(broker, INCOMING) as app,
    ):
        gate.far.news.trouble = StoreUnavailable()
        gate.far.news.texts.put_nowait(text())
        await until(lambda: app.messages)
        gate.far.news.trouble = None
        await until(lambda: gate.far.news.told_texts)

        assert len(app.messages) == 1
        assert gate.ends == []


async def test_states_of_a_message(broker: MosquittoServer) -> None:
    """The first with the command, watched before it is acknowledged; the others as they come."""
    async with feeding(broker) as gate, peer(broker, "smsstatus/#") as shop:
        gate.far.news.trouble = StoreUnavailable()
        gate.far.intake.outcome = accepted(b"", 7)
        await shop.send(b"command")
        await until(lambda: shop.messages)
        gate.cut()
        gate.far.news.trouble = None
        # Not acknowledged while it could not be watched.
        await until(lambda: len(gate.far.intake.frames) == 2)
        assert gate.far.intake.frames[1].again
        await until(lambda: gate.far.news.watched)
        note = Note(id="order-7", message=f"{7:032x}", status="delivered")
        gate.far.news.notes.put_nowait(note)
        await until(lambda: gate.far.news.told_notes == [note])

        await until(lambda: len(shop.messages) == 3)
        assert shop.heard == [
            ("smsstatus/order-7", b'{"id":"order-7","status":"queued","error":""}'),
            ("smsstatus/order-7", b'{"id":"order-7","status":"queued","error":""}'),
            ("smsstatus/order-7", b'{"id":"order-7","status":"delivered","error":""}'),
        ]
        assert not any(one.retain or one.qos != 1 for one in shop.messages)


async def test_refused_sends_and_ids_that_fit_no_topic(broker: MosquittoServer) -> None:
    notes = (
        Note(id="bad/id", message="m1", status="queued"),
        Note(id="it's", message="m2", status="queued"),
        Note(id="x" * 201, status="refused", error="invalid_address"),
        Note(id="order-1", status="refused", error="blocked"),
    )
    async with feeding(broker) as gate, peer(broker, "smsstatus/#") as shop:
        gate.far.intake.outcome = Taken(notes=notes)
        await shop.send(b"command")
        await until(lambda: len(shop.messages) == 3)
        await until(lambda: gate.far.news.watched)

        assert shop.heard == [
            ("smsstatus/m1", b'{"id":"bad/id","status":"queued","error":""}'),
            ("smsstatus/m2", b'{"id":"it\\u0027s","status":"queued","error":""}'),
            ("smsstatus/order-1", b'{"id":"order-1","status":"refused","error":"blocked"}'),
        ]
        assert gate.far.news.watched == list(notes[:2])


async def test_a_note_that_fits_no_topic_holds_up_nothing(broker: MosquittoServer) -> None:
    async with (
        feeding(broker, status_topic="states/{gateway}/{id}") as gate,
        peer(broker, "states/#") as shop,
    ):
        gate.far.news.notes.put_nowait(Note(id="a/b", status="failed"))
        gate.far.news.notes.put_nowait(Note(id="ab", status="sent"))
        await until(lambda: len(gate.far.news.told_notes) == 2)

        await until(lambda: shop.messages)
        assert shop.heard == [("states/gate/ab", b'{"id":"ab","status":"sent","error":""}')]


async def test_without_a_status_topic_nothing_is_watched(broker: MosquittoServer) -> None:
    async with feeding(broker, status_topic="") as gate, peer(broker, "#") as shop:
        gate.far.intake.outcome = accepted(b"")
        await shop.send(b"command", b"another")
        await until(lambda: len(gate.far.intake.ended) == 2)

        assert gate.far.news.watched == []


async def test_heartbeats(broker: MosquittoServer) -> None:
    """At once, then every `heartbeat` seconds; as the Pico gateway wrote them."""
    far = FakeLent()
    far.news.counted = (3, 12.7)
    topic = "smsgwheartbeat/east"
    async with peer(broker, topic) as app, feeding(broker, far, heartbeat=1, gateway="east") as gate:
        await until(lambda: app.messages)
        gate.far.news.counted = (0, -1.0)
        first = {"id": "east", "sms_in": 3, "last_sms": 12}
        # On a slow machine the next one may have been on its way already.
        await until(lambda: json.loads(app.heard[-1][1]) != first)

        told = [ast.literal_eval(body.decode()) for _, body in app.heard]
        assert told[0] == first
        assert told[-1] == {"id": "east", "sms_in": 0, "last_sms": -1}
        assert json.loads(app.heard[0][1]) == first


async def test_presence(broker: MosquittoServer) -> None:
    """Online while it is here; offline by last will when the line breaks, by itself at a clean stop."""
    topic = "smsgwpresence/seen"
    async with peer(broker, topic) as app:
        gate = Feeding(config(broker, gateway="seen", client_id="seen"))
        await gate.start()
        await until(lambda: app.bodies(topic) == [b"online"])
        gate.cut()
        await until(lambda: app.bodies(topic) == [b"online", b"offline", b"online"])
        await gate.stop()
        # Where the goodbye took too long, the broker tells the will too.
        await until(lambda: app.bodies(topic)[3:])
        assert app.bodies(topic)[:3] == [b"online", b"offline", b"online"]
        assert set(app.bodies(topic)[3:]) == {b"offline"}
    async with peer(broker, topic) as late:
        await until(lambda: late.messages)

        assert [(bytes(one.payload), one.retain) for one in late.messages] == [(b"offline", True)]


async def test_nothing_where_no_topic_is_set(broker: MosquittoServer) -> None:
    async with peer(broker, "+/quiet", "smsstatus/#") as app:
        async with feeding(
            broker, gateway="quiet", status_topic="", heartbeat_topic="", presence_topic=""
        ) as gate:
            gate.far.intake.outcome = accepted(b"")
            await app.send(b"command", topic="smsoutnew/quiet")
            await until(lambda: gate.far.intake.ended)
        await app.send(b"end", topic="end/quiet")
        await until(lambda: app.bodies("end/quiet"))

        assert [topic for topic, _ in app.heard] == ["smsoutnew/quiet", "end/quiet"]


async def test_a_topic_that_we_may_not_publish_to(broker: MosquittoServer) -> None:
    """Version 5 says so; the text is not told of."""
    far = FakeLent()
    far.news.texts.put_nowait(text())
    gate = Feeding(config(broker, username="reader", protocol="5", incoming_topic=INCOMING), far)
    await gate.start(ready=False)
    await until(lambda: gate.ends)
    await gate.stop(drain=False)

    assert isinstance(gate.ends[-1], BrokerRefused)
    assert "incoming_topic" in str(gate.ends[-1])
    assert far.news.told_texts == []
