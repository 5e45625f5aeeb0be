"""What every channel must do, run over all of them against real far ends that misbehave."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
import structlog

from otpsvc.channel import Channel
from otpsvc.errors import ChannelError, Refused, Unavailable, Uncertain
from tests.channels import ADDRESS, CODE, SECRET, TEXT, message
from tests.channels.cases import Case, case_of

#: These write in their own names.
FAR_ENDS = ("mail.", "aiohttp.access", "aiohttp.server")


TOLD_NO = ["smtp", "smtp-starttls", "smtp-tls", "webhook", "webhook-tls"]
#: A broker refuses no message for good.
REMOTE = [*TOLD_NO, "rabbitmq", "mqtt", "mqtt-3.1.1"]


@pytest.fixture
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    async with AsyncExitStack() as stack:
        yield await case_of(request.param, tmp_path, stack, lambda name: request.getfixturevalue(name))


every = pytest.mark.parametrize("case", [*REMOTE, "file"], indirect=True)
remote = pytest.mark.parametrize("case", REMOTE, indirect=True)
#: With a step in which the far end has nothing yet.
stepwise = pytest.mark.parametrize("case", [name for name in REMOTE if "smtp" in name], indirect=True)


@every
async def test_takes_a_message(case: Case) -> None:
    async with case.channel() as channel:
        receipt = await channel.send(message())

        assert receipt.parts == 1
        assert await channel.ping() == "ok"


@pytest.mark.parametrize("case", TOLD_NO, indirect=True)
async def test_no_for_good_is_refused(case: Case) -> None:
    async with case.channel() as channel:
        case.far.misdeed = case.no

        with pytest.raises(Refused):
            await channel.send(message())
        await works_again(case, channel)


@pytest.mark.parametrize("case", [name for name in REMOTE if name != "mqtt-3.1.1"], indirect=True)
async def test_not_now_is_unavailable(case: Case) -> None:
    async with case.channel() as channel:
        case.far.misdeed = case.not_now

        with pytest.raises(Unavailable):
            await channel.send(message())
        await works_again(case, channel)


@remote
async def test_a_lost_answer_is_uncertain(case: Case) -> None:
    async with case.channel() as channel:
        await channel.send(message())
        case.far.misdeed = case.loses_answer

        with pytest.raises(Uncertain):
            await channel.send(message())
        await works_again(case, channel)


@remote
@pytest.mark.parametrize("used", [False, True])
async def test_a_far_end_that_is_gone_is_unavailable(case: Case, used: bool) -> None:
    """Nothing was taken, so a retry or another channel is safe. Opening does not fail."""
    async with case.channel() as channel:
        if used:
            await channel.send(message())
        await case.close()

        with pytest.raises(Unavailable):
            await channel.send(message())
        with pytest.raises(Unavailable):
            await channel.ping()


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    table = {"type": "file", "path": str(tmp_path / "no" / "codes"), "allow_plaintext": True}

    async with Case(table).channel() as channel:
        with pytest.raises(Unavailable):
            await channel.send(message())
        with pytest.raises(Unavailable):
            await channel.ping()


@stepwise
async def test_cancelled_before_it_was_taken_leaves_no_doubt(case: Case) -> None:
    """And the line is not used again: a late answer would answer the next mail."""
    async with case.channel() as channel:
        case.far.misdeed = case.waits

        cause = await cancelled_while_it_waits(case, channel)

        assert isinstance(cause, Unavailable)
        await works_again(case, channel)


@remote
async def test_cancelled_after_it_was_taken_tells_the_doubt(case: Case) -> None:
    async with case.channel() as channel:
        case.far.misdeed = case.takes_and_waits

        cause = await cancelled_while_it_waits(case, channel)

        assert isinstance(cause, Uncertain)
        await works_again(case, channel)


@remote
async def test_a_time_limit_shows_the_doubt_as_its_cause(case: Case) -> None:
    async with case.channel() as channel:
        case.far.misdeed = case.takes_and_waits
        limit = asyncio.timeout(None)

        async def send() -> None:
            async with limit:
                await channel.send(message())

        sending = asyncio.ensure_future(send())
        await case.far.arrived.wait()
        limit.reschedule(0.0)
        with pytest.raises(TimeoutError) as late:
            await sending

        assert late.value.__cause__ is not None
        assert isinstance(late.value.__cause__.__cause__, Uncertain)
        await works_again(case, channel)


@remote
async def test_many_are_sent_at_once_while_some_are_cancelled(case: Case) -> None:
    async with case.channel() as channel:
        sends = [asyncio.ensure_future(channel.send(message(id=f"id{i}"))) for i in range(30)]
        for turn, task in enumerate(sends):
            if turn % 3 == 0:
                await asyncio.sleep(0)
                task.cancel()
        done = await asyncio.gather(*sends, return_exceptions=True)

        assert not [end for end in done if isinstance(end, Exception)]
        await works_again(case, channel)


@every
async def test_opened_and_closed_twice(case: Case) -> None:
    channel = case.channel()
    for _ in range(2):
        async with channel:
            await channel.send(message())
        await channel.__aexit__(None, None, None)


@every
async def test_nothing_of_the_message_is_logged(
    case: Case, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Far ends repeat address and body in their answers on purpose."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    with structlog.testing.capture_logs() as lines:
        async with case.channel() as channel:
            for misdeed in case.misdeeds:
                if case.far:
                    case.far.misdeed = misdeed
                try:
                    told.append(repr(await channel.send(message())))
                except ChannelError as error:
                    told += [error.reason, *traceback.format_exception(error)]
            told.append(repr(channel.config))

    ours = [record for record in caplog.records if not record.name.startswith(FAR_ENDS)]
    told += [str(lines), *(logging.Formatter().format(record) for record in ours), *capfd.readouterr()]
    for planted in (CODE, TEXT, ADDRESS, SECRET, "sesame"):
        assert not [line for line in told if planted in line]


@every
async def test_an_unknown_key_is_refused(case: Case) -> None:
    case.table["prot"] = 25

    with pytest.raises(msgspec.ValidationError, match="unknown field `prot`"):
        case.channel()


async def works_again(case: Case, channel: Channel) -> None:
    """The far end behaves again, and the very next message passes."""
    case.far.misdeed = ""
    case.far.release.set()
    await channel.send(message())


async def cancelled_while_it_waits(case: Case, channel: Channel) -> BaseException | None:
    """Cancel a send when the far end has begun to wait; the cause that it names."""
    sending = asyncio.ensure_future(channel.send(message()))
    await case.far.arrived.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await sending
    return cancelled.value.__cause__
