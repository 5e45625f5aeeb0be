"""A session may be cancelled at any time: nothing of it stays, and nothing of what it carried is shown."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from otpsvc.errors import BrokerError
from otpsvc.feeder import Taken
from tests.channels import Authority
from tests.far_ends.ws_broker import Misdeed, WsBroker
from tests.feeders.lent import FakeLent
from tests.feeders.ws_rig import CALLBACK, command, consuming, feeder, patient, wrapped
from tests.waiting import PATIENCE, until


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """No task outlives the test, and nothing was reported to the loop."""
    loop, reported = asyncio.get_running_loop(), list[str]()
    handler = loop.get_exception_handler()
    # What earlier tests left is told of now.
    gc.collect()
    before = asyncio.all_tasks()
    loop.set_exception_handler(lambda _, context: reported.append(str(context)))
    yield
    await until(lambda: not asyncio.all_tasks() - before - {asyncio.current_task()}, asyncio.all_tasks)
    # What nobody waited for is told of when it is collected.
    gc.collect()
    loop.set_exception_handler(handler)

    assert reported == []


async def end(task: asyncio.Task[None], broker: WsBroker) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await until(lambda: not broker.clients)


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_after_some_turns_of_the_loop(turns: int) -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker, feeder(broker, lent) as made:
        task = asyncio.create_task(made.session())
        for _ in range(turns):
            await asyncio.sleep(0)
        await end(task, broker)


@pytest.mark.parametrize("misdeed", ["hangs_at_handshake", "hangs_after_open"])
async def test_cancelled_while_the_line_opens(misdeed: Misdeed) -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker:
        broker.misdeed = misdeed
        async with patient(broker, lent) as made:
            task = asyncio.create_task(made.session())
            await until(lambda: broker.connects)
            await end(task, broker)


@pytest.mark.parametrize("drained", [False, True])
async def test_cancelled_with_a_take_in_hand(drained: bool) -> None:
    lent = FakeLent()
    lent.intake.block()
    async with WsBroker("2020") as broker, feeder(broker, lent) as made:
        task = asyncio.create_task(made.session())
        await until(lambda: broker.receiving)
        await broker.publish("sms", wrapped(broker, command(1)))
        await until(lambda: lent.intake.in_hand)
        if drained:
            draining = asyncio.create_task(made.drain())
            await until(lambda: not broker.clients)
            draining.cancel()
            await asyncio.wait([draining])
        await end(task, broker)

    assert lent.tally.losses == [1]
    assert lent.intake.in_hand == 0


async def test_cancelled_after_a_drain_that_found_nothing_to_do() -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker, feeder(broker, lent) as made:
        task = asyncio.create_task(made.session())
        await until(lambda: broker.receiving)
        await made.drain()

        assert not task.done()
        await end(task, broker)

    assert lent.tally.losses == []


async def test_drained_while_the_line_opens() -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker:
        broker.misdeed = "hangs_after_open"
        async with patient(broker, lent) as made:
            task = asyncio.create_task(made.session())
            await until(lambda: broker.clients)
            await made.drain()
            await end(task, broker)

    assert lent.tally.ups == 0


async def test_drained_at_a_server_that_never_closes() -> None:
    lent = FakeLent()
    async with WsBroker("php") as broker:
        broker.misdeed = "never_closes"
        async with feeder(broker, lent) as made:
            task = asyncio.create_task(made.session())
            await until(lambda: lent.tally.ups)
            await asyncio.wait_for(made.drain(), PATIENCE)
            task.cancel()
            await asyncio.wait([task])


@pytest.mark.parametrize("misdeed", ["", "greets_late", "hangs_at_handshake"])
async def test_ended_with_an_answer_under_way(misdeed: Misdeed) -> None:
    lent = FakeLent()
    lent.intake.outcome = Taken(answer=b"{}", callback=CALLBACK, delay=0.0 if misdeed else 3600.0)
    async with WsBroker("2020") as broker:
        async with feeder(broker, lent) as made:
            task = asyncio.create_task(made.session())
            await until(lambda: broker.receiving)
            client = broker.clients[0].line
            broker.misdeed = misdeed
            await client.send(wrapped(broker, command(1)))
            await until(lambda: lent.intake.ended and broker.connects == (2 if misdeed else 1))
            task.cancel()
            await asyncio.wait([task])
        broker.misdeed = ""
        await until(lambda: not broker.clients)


async def test_closed_twice_and_without_a_session() -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker, feeder(broker, lent) as made:
        await made.drain()
        await made.__aexit__(None, None, None)

    assert broker.connects == 0


async def test_cancelled_over_tls(tmp_path: Path) -> None:
    authority, lent = Authority(tmp_path), FakeLent()
    async with (
        WsBroker("2020", tls=authority.server) as broker,
        feeder(broker, lent, ca_file=authority.ca_file) as made,
    ):
        task = asyncio.create_task(made.session())
        await until(lambda: broker.receiving)
        await end(task, broker)


async def test_a_take_that_fails_is_counted_and_the_next_one_runs() -> None:
    lent = FakeLent()
    lent.intake.script.extend([RuntimeError("Your code is 000000"), Taken()])
    with capture_logs() as logs:
        async with WsBroker("php") as broker, consuming(broker, lent):
            await broker.publish("sms", command(0), command(1))
            await until(lambda: len(lent.intake.ended) == 1)

    assert lent.tally.losses == [1]
    assert [log["event"] for log in logs] == ["a frame was lost"]
    # The words of an exception are left out where lines are written.
    assert set(logs[0]) == {"event", "feeder", "exc_info", "log_level"}


async def test_nothing_that_was_carried_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The library would log frames and headers, at DEBUG."""
    lent = FakeLent()
    lent.intake.outcome = Taken(answer=b'{"data":"PLANTED"}', callback="PLANTED")
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        # Not ours, and not what is tested.
        caplog.set_level(logging.WARNING, "asyncio")
        async with WsBroker("php") as broker:
            async with feeder(broker, lent, place="PLANTED", username="PLANTED", password="PLANTED") as made:
                with pytest.raises(BrokerError) as raised:
                    await made.session()
            async with feeder(broker, lent) as made:
                task = asyncio.create_task(made.session())
                await until(lambda: broker.receiving)
                await broker.publish("sms", command(1, data="PLANTED"), "PLANTED" * 200_000)
                await asyncio.wait([task])
                await made.drain()

    assert "PLANTED" not in str(raised.value)
    assert "PLANTED" not in str(task.exception())
    assert "PLANTED" not in caplog.text
    assert "PLANTED" not in str(logs)
