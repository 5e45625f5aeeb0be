"""Questions by way of a broker: verifications, USSD, the list of modems, echo; and where answers go."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.far_ends.mosquitto import MosquittoServer
from tests.feeders.mqtt_rig import peer
from tests.flows.feeders_rig import Gate, number
from tests.waiting import PATIENCE, until

pytest_plugins = ["tests.drills.feeders_far"]

ECHO = {"command": "echo", "data": {"note": "né", "n": 7, "list": [1.5, None, True]}}
USSD = {"command": "request-ussd", "data": {"modem_id": "sms.one", "ussd_code": "*123#"}}
MODEMS: dict[str, Any] = {"command": "get-modem-list", "data": {}}


def create(id: str, to: str, **more: Any) -> dict[str, Any]:
    return {"command": "create-verification", "data": {"id": id, "to": to, "provider": "sms"} | more}


def check(id: str, otp: str) -> dict[str, Any]:
    return {"command": "check-verification", "data": {"id": id, "otp": otp}}


async def code_of(gate: Gate, to: str) -> str:
    await until(lambda: gate.got(to), lambda: gate.service.log[-3000:])
    found = re.search(r"\b[0-9]{6}\b", gate.got(to)[-1])
    assert found, gate.got(to)
    return found[0]


@asynccontextmanager
async def answers_of(gate: Gate, dialect: str, place: str) -> AsyncIterator[asyncio.Queue[Any]]:
    """What comes to a topic of a WebSocket broker, as its publisher reads it."""
    broker, heard = gate.brokers[dialect], asyncio.Queue[Any]()
    async with broker.publisher(place) as line:
        if dialect == "2020":
            await line.send(json.dumps({"command": "receive-message", "channel": place, "data": []}))
            await until(lambda: place in [one.place for one in broker.receiving])

        async def listen() -> None:
            async for frame in line:
                said = json.loads(frame)
                for one in said["data"] if said.get("command") == "send-message" else [said]:
                    heard.put_nowait(one)

        task = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait([task])


# Verifications


async def test_a_verification_by_rpc_is_the_one_of_api_and_page(gate: Gate) -> None:
    to, id, api = number(), "rpc-user-1", gate.service.api
    created = await gate.rabbit.call("sms", create(id, to, purpose="authentication"))
    assert created["response_code"] == "0000", created
    assert created["data"]["id"] == id
    assert not {"otp", "url", "to"} & set(created["data"]), "a queue learns neither code nor token"
    code = await code_of(gate, to)
    assert not re.search(rf"\b{code}\b", json.dumps(created))

    shown = (await api.read(id)).record
    assert (shown["gen"], shown["state"]) == (created["data"]["gen"], "pending")
    page = await api.ask("GET", f"/otp/shop/{id}", tenant="")
    unknown = await api.ask("GET", "/otp/shop/no-such-user", tenant="")
    assert [b'name="otp"' in one.raw for one in (page, unknown)] == [True, False]

    wrong = await gate.rabbit.call("sms", check(id, "000000" if code != "000000" else "111111"))
    assert (wrong["response_code"], wrong["data"]["status"]) == ("1202", "wrong")
    right = await gate.rabbit.call("sms", check(id, code))
    assert (right["response_code"], right["data"]["status"]) == ("0000", "verified")
    again = await gate.rabbit.call("sms", check(id, code))
    assert (again["response_code"], again["data"]["status"]) == ("1202", "used")
    assert (await api.read(id)).record["state"] == "verified"


async def test_a_check_that_is_delivered_again_has_the_first_answer(gate: Gate) -> None:
    """With the id that its publisher gave it, it is one question: no attempt is lost, nor the success."""
    to, id = number(), "rpc-user-2"
    await gate.rabbit.call("sms", create(id, to), message_id="create-2")
    twice = await gate.rabbit.call("sms", create(id, to), message_id="create-2")
    code = await code_of(gate, to)
    first = await gate.rabbit.call("sms", check(id, code), message_id="check-2")
    second = await gate.rabbit.call("orders", check(id, code), message_id="check-2")

    assert (first["response_code"], second["response_code"]) == ("0000", "0000")
    assert twice["response_code"] == "0000"
    assert len(gate.got(to)) == 1


async def test_a_client_of_otp_pi_asks_and_verifies_by_mqtt(gate: Gate) -> None:
    """`callback_topic` is where the answers go."""
    to = number()
    asked = {"reference": "pi-1", "receiver": to, "message": "OTP: %s", "expiration": int(time.time()) + 240}
    said = await mqtt_call(gate, {"command": "request-otp", "data": asked}, "answers/pi")
    assert said["response_code"] == "0000", said
    code = await code_of(gate, to)
    assert gate.got(to) == [f"OTP: {code}"]
    guess = {"reference": "pi-1", "receiver": to, "otp": code}
    said = await mqtt_call(gate, {"command": "verify-otp", "data": guess}, "answers/pi")

    assert said["response_code"] == "0000"
    assert to not in json.dumps(said), "a full number is not told to a broker"


async def mqtt_call(gate: Gate, said: dict[str, Any], topic: str) -> Any:
    before = len(gate.mqtt.bodies(topic))
    said = said | {"callback_topic": topic, "callback_delay": 1}
    await gate.say("mqtt", json.dumps(said))
    await until(lambda: len(gate.mqtt.bodies(topic)) > before, lambda: gate.service.log[-3000:])
    return json.loads(gate.mqtt.bodies(topic)[-1])


# Modems


async def test_ussd_modems_and_echo_are_answered_by_rpc(gate: Gate) -> None:
    balance = await gate.rabbit.call("sms", USSD)
    assert (balance["response_code"], balance["data"]["ussd_content"]) == ("0000", "Balance: 10000"), balance
    assert balance["data"]["replyable"] is False
    before = gate.modem.asked_for("+CUSD=")
    diverts = {"command": "request-ussd", "data": {"ussd_code": "**21*+6281200000#"}}
    assert (await gate.rabbit.call("sms", diverts))["response_code"] != "0000"
    assert gate.modem.asked_for("+CUSD=") == before

    listed = await gate.rabbit.call(
        "orders", {"command": "get-modem-list", "data": {"date_time": 1635163524}}
    )
    assert listed["data"]["date_time"] == 1635163524
    assert listed["data"]["modem_list"]["sms.one"]["imei"] == gate.modem.imei
    assert listed["data"]["modem_list"]["sms.one"]["connected"] is True
    assert await gate.rabbit.call("sms", ECHO) == ECHO


async def test_rabbitmq_answers_to_named_queues_that_it_may(gate: Gate) -> None:
    """By `reply_to` and by OTP-Pi's `callback_topic`; nowhere else, and never to where commands come from."""
    await gate.rabbit.declare("answers.mine", exclusive=True)
    await gate.rabbit.declare("elsewhere", exclusive=True)
    await gate.rabbit.publish("sms", json.dumps(ECHO), reply_to="answers.mine", correlation_id="c-1")
    answer = await gate.rabbit.next("answers.mine")
    assert (json.loads(answer.body), answer.header.properties.correlation_id) == (ECHO, "c-1")

    own = await gate.rabbit.declare("", exclusive=True)
    await gate.rabbit.publish("orders", json.dumps(MODEMS), reply_to=own, correlation_id="c-2")
    answer = await gate.rabbit.next(own)
    assert (answer.header.properties.correlation_id, b"sms.one" in answer.body) == ("c-2", True)

    called = ECHO | {"callback_topic": "answers.mine", "callback_delay": 5}
    await gate.rabbit.publish("sms", json.dumps(called))
    assert json.loads((await gate.rabbit.next("answers.mine")).body)["data"] == ECHO["data"]

    for place in ("elsewhere", "sms", "orders"):
        await gate.rabbit.publish("sms", json.dumps(ECHO | {"callback_topic": place}), reply_to=place)
    await gate.fence("rabbit", "quorum")
    await gate.rabbit.publish("elsewhere", "the first")
    assert (await gate.rabbit.next("elsewhere")).body == b"the first"


BAD = {
    '{"command": "send-sms", "data": {': "broken_json",
    '{"command": "format-disk", "data": {}}': "unknown_command",
    '{"command": "send-sms", "data": {"msisdn": "+6281234567890"}}': "unknown_command",
    '{"command": "send-sms", "data": {"msisdn": ["+62"], "message": "x"}}': "unknown_command",
    '{"command": "send-sms", "data": {"msisdn": "1", "message": "x"}}': "invalid_address",
    '{"command": "send-sms", "data": {"msisdn": "+6281234567890", "message": ""}}': "empty_text",
    '{"command": "check-verification", "data": {"otp": "1"}}': "invalid_id",
    '{"command": "create-verification", "data": {"to": "+6281234567890"}}': "invalid_id",
    '{"command": "request-ussd", "data": {"modem_id": "sms.two", "ussd_code": "*1#"}}': "unknown_modem",
}


async def test_what_cannot_be_done_is_answered_and_put_aside(gate: Gate) -> None:
    """An answer tells why in words; the dead letter tells it in one."""
    own = await gate.rabbit.declare("", exclusive=True)
    for body, reason in BAD.items():
        await gate.rabbit.publish("orders", body, reply_to=own, correlation_id="bad")
        answer = json.loads((await gate.rabbit.next(own)).body)
        assert answer["response_code"] in ("1100", "1101", "1102", "1202"), answer
        assert answer["error"], body
        # Other tests have refusals, too.
        while (dead := await gate.rabbit.next("orders.dead")).body != body.encode():
            pass
        assert (dead.body.decode(), dead.header.properties.correlation_id) == (body, "bad")
        assert (dead.header.properties.headers or {})["x-otpsvc-reason"] == reason


@pytest.mark.parametrize("dialect", ["php", "java"])
async def test_websocket_brokers_carry_answers_to_their_topic(gate: Gate, dialect: str) -> None:
    place, said = f"answers.{dialect}", dict[str, Any]()
    async with answers_of(gate, dialect, place) as heard, asyncio.timeout(PATIENCE):
        for asked in (USSD, MODEMS):
            await gate.say(dialect, json.dumps(asked | {"callback_topic": place, "callback_delay": 5}))
        # The Java server tells everybody everything, so the commands are heard too.
        while len(said) < 2:
            one = await heard.get()
            if "response_code" in one:
                said[one["command"]] = one["data"]

    assert said["request-ussd"]["ussd_content"] == "Balance: 10000"
    assert "sms.one" in said["get-modem-list"]["modem_list"]


async def test_an_envelope_of_2020_has_one_answer(gate: Gate) -> None:
    envelope = {"command": "send-message", "channel": "sms", "callback_topic": "answers.2020"}
    async with answers_of(gate, "2020", "answers.2020") as heard, asyncio.timeout(PATIENCE):
        await gate.say("2020", json.dumps(envelope | {"data": [USSD, MODEMS]}))
        answer = await heard.get()

    balance, listed = answer["data"]
    assert (answer["response_code"], balance["ussd_content"]) == ("0000", "Balance: 10000")
    assert "sms.one" in listed["modem_list"]


async def test_mqtt_answers_to_its_topic_and_by_version_5(gate: Gate, far_mosquitto: MosquittoServer) -> None:
    listed = await mqtt_call(gate, {"command": "get-modem-list", "data": []}, "answers/pi")
    assert "sms.one" in listed["data"]["modem_list"]
    assert (await mqtt_call(gate, ECHO, "answers/echo"))["data"] == ECHO["data"]

    to, id = number(), "five-user-1"
    async with peer(far_mosquitto, "answers/five", "elsewhere", version5=True) as five:

        async def ask(said: Any, *, reply: str = "answers/five") -> Any:
            before = len(five.heard)
            await five.ask(json.dumps(said).encode(), reply=reply, correlation=b"\x01q")
            await until(lambda: len(five.heard) > before, lambda: gate.service.log[-3000:])
            assert getattr(five.messages[-1].properties, "CorrelationData", b"") == b"\x01q"
            return json.loads(five.heard[-1][1])

        assert (await ask(create(id, to)))["response_code"] == "0000"
        await five.ask(json.dumps(ECHO).encode(), reply="elsewhere", correlation=b"")
        right = await ask(check(id, await code_of(gate, to)))
        assert (right["response_code"], right["data"]["status"]) == ("0000", "verified")
        assert "elsewhere" not in [topic for topic, _ in five.heard]
