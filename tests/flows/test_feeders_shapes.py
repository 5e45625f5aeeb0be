"""Every shape of a command through every broker, to an emulated modem: each text once, word for word."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest

from tests.flows.feeders_rig import ASKED, DIALECTS, DOORS, JSON, Gate, command, number
from tests.waiting import until

pytest_plugins = ["tests.drills.feeders_far"]

Shape = Callable[[str, str], str]
#: What trips over quotes, septets, escapes and halves of a pair.
WORDS = 'It\'s "4711", [for you]: 100% – €5 çà {x} \\n \U0001f511 ok'


def _row(to: str, text: str) -> dict[str, object]:
    return {"id": int(to[-7:]), "time": 1635163524, "receiver": to, "message": text}


def _later(to: str, text: str) -> dict[str, object]:
    """Shape 2, as OTP-Pi wrote it."""
    now = int(time.time())
    data = {"date_time": now, "expiration": now + 240, "id": to[-7:], "message": text, "receiver": to}
    return {"command": "send-sms", "data": data}


def _mail_like(to: str, text: str) -> str:
    """Shape 5: a data object, so OTP-Pi's meaning."""
    data = {"receiver": to, "message": text, "subject": "no subject of a text", "id": to[-7:]}
    return json.dumps({"command": "send-message", "data": data})


def _envelope(*rows: object) -> str:
    return json.dumps({"command": "send-message", "channel": "sms", "data": rows, "number_of_receiver": 1})


def _sloppy(to: str, text: str) -> str:
    """Numbers as numbers, one with its nought in front; commas that trail."""
    number, quoted = f"0{to[3:]}", json.dumps(text, ensure_ascii=False)
    return (
        f'{{"command": "send-sms", "data": {{"id": 18446744073709551615, "msisdn": {number},'
        f' "message": {quoted},}},}}'
    )


SHAPES: dict[str, Shape] = {
    "1": command,
    "1 sloppy": _sloppy,
    "2": lambda to, text: json.dumps(_later(to, text)),
    "3": lambda to, text: json.dumps({"data": [_row(to, text)]}),
    "3 with another word": lambda to, text: json.dumps({"command": "anything", "data": [_row(to, text)]}),
    "4 of rows": lambda to, text: _envelope(_row(to, text)),
    "4 of shape 1": lambda to, text: _envelope(json.loads(command(to, text))),
    "4 of shape 2": lambda to, text: _envelope(_later(to, text)),
    "5": _mail_like,
}
QUIET = [
    '{"command":"ping"}',
    '{"command":"connect","response_code":"00","response_text":"Accepted","data":[]}',
    '{"command":"receive-message","channel":"sms","data":[]}',
]


def _fits(door: str, shape: str) -> bool:
    # A server of 2020 forwards envelopes of rows, and JSON that PHP can read.
    return door != "2020" or (shape[0] in "124" and shape != "1 sloppy")


@pytest.mark.parametrize("door", DOORS)
async def test_every_shape_arrives_once_with_its_words(gate: Gate, door: str) -> None:
    asked = {shape: number() for shape in SHAPES if _fits(door, shape)}
    for body in QUIET:
        await gate.say(door, body)
    for shape, to in asked.items():
        await gate.say(door, SHAPES[shape](to, f"{shape} {WORDS}"))
    for shape, to in asked.items():
        await gate.sent(to, f"{shape} {WORDS}")
    await gate.fence(door)

    assert gate.doubled() == []


async def test_clients_of_the_pico_gateway(gate: Gate) -> None:
    """A Python literal with either quotation mark, JSON, and numbers without their `+`."""
    phones = [number() for _ in range(5)]
    bodies = [
        str({"to": phones[0], "text": WORDS}),
        repr({"to": phones[1], "text": "it's\nyours"}),
        json.dumps({"to": phones[2][1:], "text": "€ [x]", "id": "o-1"}),
        f"{{'to': {phones[3][1:]}, 'text': 4711}}",
        json.dumps({"to": phones[4], "text": "it\u2019s"}),
    ]
    await gate.mqtt.send(*(body.encode() for body in bodies), topic=ASKED)

    texts = [WORDS, "it's\nyours", "€ [x]", "4711", "it\u2019s"]
    for to, text in zip(phones, texts, strict=True):
        await gate.sent(to, text)
    await gate.mqtt.send(str({"to": phones[0], "text": "qos 0"}).encode(), topic=ASKED, qos=0)
    await gate.sent(phones[0], WORDS, "qos 0")


async def test_many_rows_of_one_envelope(gate: Gate) -> None:
    phones = [number() for _ in range(20)]
    rows = [_row(to, f"row {at}") for at, to in enumerate(phones)]
    await gate.say("rabbit", _envelope(*rows))

    for at, to in enumerate(phones):
        await gate.sent(to, f"row {at}")


@pytest.mark.parametrize("word", ["send-mail", "send-email", "send-message"])
async def test_mails_and_what_goes_by_its_address(gate: Gate, word: str) -> None:
    """`recipient` as OTP-Broker called it, `receiver` as OTP-Pi did."""
    path, name = gate.place.folder / "mails.jsonl", "recipient" if word == "send-mail" else "receiver"
    data = {name: f"{word}@home.example", "subject": f"for {word}", "message": WORDS}
    await gate.rabbit.publish("sms", json.dumps({"command": word, "data": data}))

    def mails() -> list[dict[str, object]]:
        read = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [one for one in read if one["to"] == data[name]]

    await until(mails, lambda: gate.service.log[-3000:])
    await gate.fence("rabbit")
    assert [(one["subject"], one["text"]) for one in mails()] == [(data["subject"], WORDS)]


async def test_the_same_command_over_all_doors_is_sent_once(gate: Gate) -> None:
    """Twice over each; another text under the same id is another command."""
    to = number()
    first, second = (command(to, text, id="reused") for text in ("one", "two"))
    doors = (*DOORS, "http") * 2
    await asyncio.gather(*(gate.say(door, first) for door in doors))
    await gate.sent(to, "one")
    told = [await gate.rabbit.call(queue, json.loads(first)) for queue in ("sms", "orders")]
    told.append((await gate.service.api.ask("POST", "/api/sms", data=first.encode(), headers=JSON)).body)
    assert len({one["data"]["id"] for one in told}) == 1, "all are told of the same message"
    await asyncio.gather(*(gate.say(door, second) for door in doors))
    await gate.sent(to, "one", "two")
    await gate.fence(*DOORS)

    await gate.sent(to, "one", "two")


async def test_what_is_blocked_by_one_door_is_refused_at_all(gate: Gate) -> None:
    """Block and unblock hold for what comes after them at the same door, at once."""
    phones = [number() for _ in range(20)]
    to = phones[-1]
    unblock = json.dumps({"command": "unblock-msisdn", "data": {"receiver": to}})
    await gate.rabbit.publish("sms", *(command(at, "before") for at in phones))
    # A block also stops what waits to be sent.
    for at in phones:
        await gate.sent(at, "before")
    for at in phones:
        block = json.dumps({"command": "block-msisdn", "data": {"msisdn": at}})
        await gate.rabbit.publish("sms", block, command(at, "blocked"))
    await gate.fence("rabbit")
    for at in phones:
        await gate.sent(at, "before")

    for door in ("quorum", *DIALECTS, "mqtt"):
        await gate.say(door, command(to, f"by {door}"))
    answer = await gate.rabbit.call("sms", json.loads(command(to, "asked")))
    assert (answer["response_code"], answer["data"]["status"]) == ("1102", "blocked")
    await gate.fence("quorum", *DIALECTS, "mqtt")
    assert gate.got(to) == ["before"]

    await gate.say("mqtt", unblock)
    await gate.say("mqtt", command(to, "after"))
    await gate.sent(to, "before", "after")
