"""Answers to the topic that a command names: over a line of their own, and never in a circle."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from otpsvc.feeder import Frame, Taken
from tests.far_ends.ws_broker import Dialect, Misdeed, WsBroker
from tests.feeders.lent import FakeLent
from tests.feeders.ws_rig import CALLBACK, command, consuming, wrapped
from tests.waiting import PATIENCE, stays, until

ANSWER = {"command": "send-sms", "response_code": "0000", "data": {"status": "sent", "note": "ü"}}
BODY = json.dumps(ANSWER).encode()
DIALECTS: list[Dialect] = ["2020", "php", "java"]


def answering(place: str = CALLBACK, *, delay: float = 0.0, answer: bytes = BODY) -> FakeLent:
    lent = FakeLent()
    lent.intake.outcome = Taken(answer=answer, callback=place, delay=delay)
    return lent


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_reaches_its_topic(dialect: Dialect) -> None:
    lent = answering()
    async with WsBroker(dialect) as broker, consuming(broker, lent), broker.publisher(CALLBACK) as reader:
        if dialect == "2020":
            await reader.send(json.dumps({"command": "receive-message", "channel": CALLBACK, "data": []}))
            await until(lambda: len(broker.receiving) == 2)
        await broker.receiving[0].line.send(command(1))
        async with asyncio.timeout(PATIENCE):
            said = await reader.recv()
        await until(lambda: broker.past)

        [line] = broker.past
        assert line.valid
        assert line.path.endswith(f"={quote(CALLBACK, safe='')}&keep=a%20b")

    # Text: the library of the Java server hands binary frames to nobody.
    assert isinstance(said, str)
    envelope = {"command": "send-message", "channel": CALLBACK, "data": [ANSWER]}
    assert json.loads(said) == (envelope if dialect == "2020" else ANSWER)


async def test_a_list_of_answers_fills_an_envelope() -> None:
    lent = answering(answer=b" [" + BODY + b"," + BODY + b"]")
    async with WsBroker("2020") as broker, consuming(broker, lent):
        await broker.publish("sms", wrapped(broker, command(1), command(2)))
        await until(lambda: broker.kept)

        assert broker.kept == [(CALLBACK, ANSWER), (CALLBACK, ANSWER)]


async def test_the_delay_is_waited_for_and_a_drain_ends_it() -> None:
    lent = answering(delay=3600.0)
    async with WsBroker("php") as broker, consuming(broker, lent) as (made, _):
        await broker.publish("sms", command(1))
        await until(lambda: lent.intake.ended)
        # The feeder and who published.
        await stays(lambda: broker.connects == 2)
        await made.drain()

        assert broker.connects == 3
        await until(lambda: [BODY.decode()] in [client.said for client in broker.past])


@pytest.mark.parametrize("place", ["sms", " SMS "])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_no_answer_goes_to_where_commands_come_from(dialect: Dialect, place: str) -> None:
    lent = answering(place)
    with capture_logs() as logs:
        async with WsBroker(dialect) as broker, consuming(broker, lent) as (made, _):
            await broker.receiving[0].line.send(command(1))
            await until(lambda: lent.intake.ended)
            await made.drain()

            assert broker.connects == 1

    assert [log["event"] for log in logs] == ["an answer was not delivered"]
    assert all("sms" not in str(value).lower() for log in logs for value in log.values())


async def test_no_answer_goes_to_where_another_feeder_takes_commands() -> None:
    lent = answering("theirs")
    lent.taken = {"theirs"}
    with capture_logs() as logs:
        async with WsBroker("php") as broker, consuming(broker, lent) as (made, _):
            await broker.receiving[0].line.send(command(1))
            await until(lambda: lent.intake.ended)
            await made.drain()

            assert broker.connects == 1

    assert [log["event"] for log in logs] == ["an answer was not delivered"]


@pytest.mark.parametrize("outcome", [Taken(answer=BODY), Taken(callback=CALLBACK), Taken()])
async def test_no_answer_without_a_place_or_a_text(outcome: Taken) -> None:
    lent = FakeLent()
    lent.intake.outcome = outcome
    async with WsBroker("php") as broker, consuming(broker, lent) as (made, _):
        await broker.receiving[0].line.send(command(1))
        await until(lambda: lent.intake.ended)
        await made.drain()

        assert broker.connects == 1


@pytest.mark.parametrize("misdeed", ["answers_503", "cuts_at_once", "cuts_at_handshake", "redirects"])
async def test_an_answer_that_cannot_be_delivered_hurts_nothing(misdeed: Misdeed) -> None:
    lent = answering()
    with capture_logs() as logs:
        async with WsBroker("2020") as broker, consuming(broker, lent) as (_, task):
            broker.misdeed = misdeed
            await broker.receiving[0].line.send(wrapped(broker, command(1)))
            await until(lambda: [log for log in logs if "answer" in log["event"]])
            await broker.receiving[0].line.send(wrapped(broker, command(2)))
            await until(lambda: len(lent.intake.ended) == 2)

            assert not task.done()

    assert "0000" not in str(logs)
    assert "answers" not in str(logs)


async def test_a_rejected_answer_is_given_up() -> None:
    lent = answering()
    with capture_logs() as logs:
        async with WsBroker("2020") as broker, consuming(broker, lent):
            broker.greeting = "01"
            await broker.receiving[0].line.send(wrapped(broker, command(1)))
            await until(lambda: logs and broker.past)

            assert broker.past[-1].said == []
            assert logs[0]["reason"] == "the broker rejected the login"


async def test_only_a_few_answers_are_under_way_at_a_time() -> None:
    lent = answering()
    async with WsBroker("2020") as broker, consuming(broker, lent):
        broker.misdeed = "greets_late"
        for number in range(12):
            await broker.receiving[0].line.send(command(number))
        await until(lambda: len(lent.intake.ended) == 12 and broker.connects == 5)
        await stays(lambda: broker.connects == 5)

        broker.misdeed = ""
        await until(lambda: len(broker.kept) == 12)


async def test_an_answer_that_comes_back_is_no_command() -> None:
    """The Java server tells everybody; an echo is answered with itself."""
    lent = FakeLent()

    def echo(frame: Frame) -> Taken:
        return Taken(answer=frame.body, callback=CALLBACK)

    lent.intake.outcome = echo
    told = json.dumps({"command": "echo", "callback_topic": CALLBACK, "data": {}})
    async with WsBroker("java") as broker, consuming(broker, lent):
        await broker.receiving[0].line.send(told)
        await until(lambda: broker.past)
        await broker.receiving[0].line.send(command(1))
        await until(lambda: command(1).encode() in lent.intake.bodies)

    assert lent.intake.bodies == [told.encode(), command(1).encode()]


async def test_an_answer_is_read_to_its_end_before_the_line_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otpsvc.feeders.wsbroker_line._CLOSING", PATIENCE)
    long = json.dumps(ANSWER | {"pad": "x" * 3_000_000}).encode()
    async with WsBroker("php") as broker, consuming(broker, answering(answer=long)) as (made, _):
        await broker.publish("sms", command(1))
        await until(lambda: made.lent.intake.ended)  # type: ignore[attr-defined]
        await made.drain()

        await until(lambda: [long.decode()] in [client.said for client in broker.past])


async def test_more_than_a_thousand_answers_do_not_wait() -> None:
    """And that is told of once: a publisher could fill the log."""
    lent = answering(delay=3600.0)
    with capture_logs() as logs:
        async with WsBroker("php") as broker, consuming(broker, lent) as (made, _):
            await broker.publish("sms", *[command(number) for number in range(1005)])
            await until(lambda: len(lent.intake.ended) == 1005)

            assert len(made._answers._tasks) == 1000

    assert [log["reason"] for log in logs] == ["too many are waiting"]


async def test_a_broker_that_lets_an_answer_hang_is_given_up() -> None:
    lent = answering()
    with capture_logs() as logs:
        async with WsBroker("php") as broker, consuming(broker, lent, timeout=300) as (made, _):
            made._answers.patience = 0.1
            broker.misdeed = "hangs_at_handshake"
            await broker.receiving[0].line.send(command(1))
            await until(lambda: logs)

            assert logs[0]["reason"] == "the line ended"
