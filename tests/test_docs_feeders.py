"""What the manual says of feeders is so: its commands, reasons, states and bodies are those of the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from otpsvc import command
from otpsvc.errors import BrokerRefused
from otpsvc.feeder import Note, State, Text
from otpsvc.feeders.mqtt_telling import heartbeat_body, status_body, text_body
from otpsvc.feeders.rabbitmq_config import RabbitConfig
from otpsvc.feeders.rabbitmq_queue import _why
from otpsvc.lenient import read_literal
from otpsvc.metrics import REASONS
from otpsvc.standing import Phase
from otpsvc.verification import _SHOWN
from tests.test_docs import SPAN, Words, page, rows

NOW = 1_795_421_118.0
#: Reasons that no code word of the API has.
OF_FEEDERS = {"internal"}


def bodies(heading: str) -> Iterator[str]:
    """Every command that a table shows."""
    for cells in rows(page("feeders.md").section(heading)):
        for span in SPAN.findall(" | ".join(cells)):
            if span.startswith("{"):
                yield span


@pytest.mark.parametrize("body", [*bodies("Commands"), *bodies("Shapes")])
def test_every_command_on_the_page_is_one(body: str) -> None:
    batch = command.read_object(read_literal(body.encode()), now=NOW)

    assert not any(isinstance(one, command.Unknown | command.Silent) for one in batch.commands)


def test_every_command_of_the_code_is_on_the_page() -> None:
    shown = page("feeders.md").section("Commands") + page("migrate-relay.md").section("Commands")
    for word in command.SENDS | command._OTHERS | command.SILENT | {"echo", "get-modem-list"}:
        assert word in shown, word


def test_all_shapes_are_one_message() -> None:
    sends: list[Any] = []
    for body in bodies("Shapes"):
        sends += command.read_object(read_literal(body.encode()), now=NOW).commands
    # The last one shows how its text is quoted, and has no id.
    assert len(sends) == 7
    assert {(one.id, one.to, one.text) for one in sends[:6]} == {("1", "+628126666666", "Hello")}
    assert (sends[6].to, sends[6].text) == ("+628126666666", "Hello")


def test_every_reason_on_the_page_is_a_word_of_the_code() -> None:
    known = {word for word, _ in Words().found} | OF_FEEDERS
    named = [
        word
        for cells in rows(page("feeders.md").section("Refused commands"))
        for word in SPAN.findall(cells[-1])
    ]

    assert "not_sealed" in named
    assert set(named) <= known
    # What the metrics do not know is counted as `other`.
    assert {word for word in named if "limit" not in word} - REASONS <= {"resend_too_soon", "hash_pool_full"}


def first_cells(name: str, heading: str) -> list[str]:
    return [
        SPAN.findall(cells[0])[0] for cells in rows(page(name).section(heading)) if cells[0].startswith("`")
    ]


def test_states_are_those_of_the_code() -> None:
    assert first_cells("feeders.md", "State, metrics, roles")[:5] == [
        *("connected", "connecting", "refused", "standby", "stopped")
    ]
    assert set(get_args(Phase)) == {"connected", "connecting", "refused", "standby", "stopped"}
    assert first_cells("mqtt.md", "States") == list(get_args(State))


def test_answers_on_the_page_have_the_members_of_ours() -> None:
    shown = [json.loads(block) for block in page("feeders.md").of("json")]

    assert [one["command"] for one in shown] == ["create-verification", "check-verification"]
    for one in shown:
        assert list(one["data"]) == [*_SHOWN, "status"]


def test_what_mqtt_publishes_looks_as_on_the_page() -> None:
    shown = [json.loads(block) for block in page("mqtt.md").of("json")]
    text = Text(id="1", mark="1", modem="m", sender="Shop", text="402588 is your code", at=NOW, code="402588")
    ours = [
        status_body(Note(id="o-71", status="queued")),
        text_body(text, "gate1"),
        heartbeat_body("gate1", 3, 42.0),
    ]

    assert [list(one) for one in shown[1:]] == [list(json.loads(body)) for body in ours]
    assert shown[1] == json.loads(ours[0])
    assert shown[3] == json.loads(ours[2])


def test_what_a_406_says_is_on_the_page() -> None:
    from aiormq.exceptions import ChannelPreconditionFailed

    words = (
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'sms' in vhost '/':"
        " received 'false' but current is 'true'"
    )
    config = RabbitConfig(type="rabbitmq", tenant="shop", url="amqp://127.0.0.1")
    error = _why(ChannelPreconditionFailed(words), "sms", config)

    assert isinstance(error, BrokerRefused)
    assert f"{error.reason}\n" in page("rabbitmq.md").of("text")
