"""The channel of modems over emulated ones: what it tells the courier, other processes and a reload."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog
from msgspec import structs

from otpsvc.channels.gsm import IN_USE, GsmChannel
from otpsvc.channels.gsm_config import GsmConfig, ModemTable
from otpsvc.errors import BadRequest, ChannelError, NotFound, Refused, Unanswered, Unavailable, Uncertain
from otpsvc.gsm.emulator import EmulatedModem, Menu, Network
from otpsvc.gsm.ledger import MemoryLedger
from otpsvc.message import Delivery, Incoming, Message
from tests.channels import message
from tests.gsm.fleet import TIMEOUTS
from tests.waiting import stays, until

TO = "+6281234567890"
CODE, WORDS = "739164", "planted words"
QUICK = structs.replace(TIMEOUTS, result=0.5, late_result=1.0)


class Site:
    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.net = Network(latency=0.005)
        self.told: list[Delivery] = []
        self.came: list[Incoming] = []
        self.modems: list[EmulatedModem] = []

    async def plug_in(self, **options: Any) -> EmulatedModem:
        self.modems.append(await self.stack.enter_async_context(EmulatedModem(self.net, **options)))
        return self.modems[-1]

    def tables(self, **more: Any) -> dict[str, ModemTable]:
        return {f"m{at}": ModemTable(device=str(one.link), **more) for at, one in enumerate(self.modems, 1)}

    def config(self, **more: Any) -> GsmConfig:
        usual: dict[str, Any] = {
            "type": "gsm",
            "modems": self.tables(),
            "patience": 1.0,
            "timeouts": TIMEOUTS,
            "country": "ID",
            "ussd": ("*123#",),
        }
        return GsmConfig(**(usual | more))

    def channel(self, **more: Any) -> GsmChannel:
        return GsmChannel(self.config(**more), self.told.append)

    async def open(self, *, ready: int = 1, **more: Any) -> GsmChannel:
        channel = self.channel(**more)
        await self.stack.enter_async_context(channel)
        await self.ready(channel, ready)
        return channel

    async def ready(self, channel: GsmChannel, count: int) -> None:
        async def so_many() -> bool:
            return sum(line.ready for line in await channel.lines()) == count

        await until(so_many)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(stack)


def sms(**more: Any) -> Message:
    return message(**({"to": TO, "until": time.monotonic() + 60, "id": "n1.0a0b.1"} | more))


# What every channel must do: see `test_contract.py`, whose far ends speak other protocols.


async def test_takes_a_message_and_tells_of_its_delivery(site: Site) -> None:
    await site.plug_in()
    channel = await site.open()
    receipt = await channel.send(sms(text="Grüße 🙂 " * 30))

    assert receipt.id.startswith("m1:")
    assert receipt.parts == site.net.sent[0].parts == len(receipt.id.split(","))
    assert not receipt.uncertain
    await until(lambda: site.told)
    assert site.told == [Delivery("shop", "n1.0a0b.1", ok=True)]
    assert await channel.ping() == "1 of 1 modems ready"


async def test_no_for_good_is_refused(site: Site) -> None:
    await site.plug_in()
    await site.plug_in()
    channel = await site.open(ready=2)
    site.net.refused[TO] = "CMS 1"

    with pytest.raises(Refused):
        await channel.send(sms())
    for bad in ({"to": "planted"}, {"text": "\ud800"}, {"modem": "sms.m9"}):
        with pytest.raises(Refused) as refused:
            await channel.send(sms(**bad))
        assert "planted" not in str(refused.value)


async def test_not_now_is_unavailable(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open(patience=0.3)
    await modem.unplug()
    with pytest.raises(Unavailable):
        await channel.send(sms())
    with pytest.raises(Unavailable):
        await channel.ping()
    await modem.plug()
    await site.ready(channel, 1)
    await channel.send(sms())


async def test_a_doubt_that_its_own_policy_could_not_end_is_settled(site: Site) -> None:
    modem = await site.plug_in()
    modem.fail_next("silent sent")
    site.net.reports = "none"
    channel = await site.open(policy="never_resend", timeouts=QUICK, report_wait=0.2)

    with pytest.raises(Uncertain) as doubt:
        await channel.send(sms())
    assert doubt.value.settled
    assert len(modem.handed) == 1
    assert channel.config.on_uncertain == "never_resend"


async def test_cancelled_before_it_was_taken_leaves_no_doubt(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open(patience=30.0)
    await modem.unplug()
    await site.ready(channel, 0)
    sending = asyncio.create_task(channel.send(sms()))
    await until(lambda: channel._pool and channel._pool.waiting)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError) as cut:
        await sending
    assert isinstance(cut.value.__cause__, Unavailable)
    assert site.net.parts == []


async def test_cancelled_after_it_was_taken_tells_the_doubt(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open()
    site.net.latency = 1.0
    sending = asyncio.create_task(channel.send(sms()))
    await until(lambda: modem.handed)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError) as cut:
        await sending
    assert not isinstance(cut.value.__cause__, Unavailable)


async def test_opened_and_closed_twice(site: Site) -> None:
    await site.plug_in()
    channel = site.channel()
    for _ in range(2):
        async with channel:
            await site.ready(channel, 1)
            await channel.send(sms())
        await channel.__aexit__(None, None, None)
        with pytest.raises(Unavailable):
            await channel.send(sms())
        assert await channel.lines() == []


async def test_nothing_of_the_message_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    modem = await site.plug_in(pin="7391")
    with structlog.testing.capture_logs() as lines:
        channel = await site.open(modems=site.tables(pin="7391"), patience=0.3)
        for fault in ("", "CMS 500", "CMS 1", "CME 3"):
            if fault:
                modem.fail_next(fault)
            try:
                told.append(repr(await channel.send(sms(text=WORDS, code=CODE))))
            except ChannelError as error:
                told += [error.reason, *traceback.format_exception(error)]
        for other in (TO, "+6281234567899"):
            with contextlib.suppress(BadRequest, Unanswered):
                told.append(await channel.send_by("m1", other, WORDS))
        told.append(repr(await channel.ussd("m1", "*123#", reply=False, operator=False)))
    told += [
        str(lines),
        *(logging.Formatter().format(record) for record in caplog.records),
        *capfd.readouterr(),
    ]

    for planted in (CODE, WORDS, TO[1:], "7391", modem.sim.iccid):
        assert not [line for line in told if planted in line.replace("n1.0a0b.1", "")], planted


# Clocks.


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
async def test_a_code_lives_by_the_store_s_clock(site: Site, skew: float) -> None:
    """`expires` is the store's time: this host's may be an hour off."""
    await site.plug_in()
    channel = await site.open()
    await channel.send(sms(expires=time.time() + skew + 300, until=time.monotonic() + 300))

    assert site.net.sent[0].validity == 300
    with pytest.raises(Unavailable, match="deadline"):
        await channel.send(sms(expires=time.time() + skew, until=time.monotonic() - 1))


# Which modem.


async def test_by_the_named_modem_and_for_its_tenants_alone(site: Site) -> None:
    for _ in range(2):
        await site.plug_in()
    tables = site.tables() | {"m2": ModemTable(device=str(site.modems[1].link), tenants=("bank",))}
    channel = await site.open(ready=2, modems=tables)

    await channel.send(sms(tenant="bank", modem="sms.m2"))
    await channel.send(sms(tenant="shop", modem="m1"))
    with pytest.raises(Refused):
        await channel.send(sms(tenant="shop", modem="sms.m2"))
    # An operator's own text is nobody's, and tries what it names.
    assert (await channel.send_by("m2", "0812-3456-7890", "by hand")).startswith("sent as m2:")
    assert [one.modem for one in site.net.sent] == [site.modems[at].number for at in (1, 0, 1)]
    await until(lambda: len(site.told) == 2)
    await stays(lambda: sorted(one.tenant for one in site.told) == ["bank", "shop"])


async def test_codes_go_before_what_is_no_code(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open(patience=30.0)
    site.net.latency = 0.05
    bulk = [asyncio.create_task(channel.send(sms(code="", text=f"bulk {at}"))) for at in range(6)]
    await until(lambda: modem.handed)
    await channel.send(sms(text="a code"))
    await asyncio.gather(*bulk)

    assert [one.text for one in site.net.sent].index("a code") <= 2


# Operators.


async def test_what_came_of_an_operator_s_text(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open(patience=0.3)
    assert await channel.send_by("m1", TO, "x" * 200) == (await _last(site, "2 parts"))

    site.net.refused[TO] = "CMS 1"
    with pytest.raises(BadRequest, match="Refused"):
        await channel.send_by("m1", TO, "x")
    with pytest.raises(BadRequest):
        await channel.send_by("m1", "planted", "x")
    await modem.unplug()
    await site.ready(channel, 0)
    with pytest.raises(Unanswered, match="Not sent"):
        await channel.send_by("m1", TO, "x")


async def _last(site: Site, words: str) -> str:
    references = ",".join(str(part.reference) for part in site.net.parts[-2:] if hasattr(part, "reference"))
    return f"sent as m1:{references or '0,1'}, {words}"


async def test_an_operator_s_text_that_was_cut_off_in_the_radio_is_a_doubt(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open(timeout=2.0, patience=30.0)
    site.net.latency = 60.0
    assert await channel.send_by("m1", TO, "x") == "uncertain: timed out"
    assert modem.handed
    # Else it would be waited for at the end.
    await modem.unplug()


async def test_one_that_waited_in_vain_is_none(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open(timeout=0.5, patience=30.0)
    await modem.unplug()
    await site.ready(channel, 0)
    with pytest.raises(Unanswered, match="Not sent"):
        await channel.send_by("m1", TO, "x")
    assert site.net.parts == []


# USSD.


async def test_only_codes_of_the_list_are_dialled(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open()

    assert (await channel.ussd("m1", "*123#", reply=False, operator=False)).text
    for code in ("*101#", "*21*0812#", "1", "*1#;", ""):
        with pytest.raises(BadRequest):
            await channel.ussd("m1", code, reply=False, operator=False)
    with pytest.raises(BadRequest):
        await channel.ussd("m1", "**21*0812#", reply=False, operator=True)
    with pytest.raises(NotFound):
        await channel.ussd("m9", "*123#", reply=False, operator=False)
    assert modem.asked_for("+CUSD=") == 1


async def test_a_reply_without_a_session_would_be_dialled_and_is_refused(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open()
    for code in ("*101#", "1"):
        with pytest.raises(BadRequest) as refused:
            await channel.ussd("m1", code, reply=True, operator=False)
        assert refused.value.code == "ussd_not_allowed"
    await channel.ussd("m1", "*123#", reply=False, operator=False)
    with pytest.raises(BadRequest):
        await channel.ussd("m1", "1", reply=True, operator=False)
    assert modem.asked_for("+CUSD=") == 1


async def test_in_a_session_a_reply_is_dialled_once_for_each_question(site: Site) -> None:
    modem = await site.plug_in(ussd={"*123#": Menu("1 Balance", {"1": "Balance: 5"})})
    channel = await site.open()
    assert (await channel.ussd("m1", "*123#", reply=False, operator=False)).more
    answered = await channel.ussd("m1", "1", reply=True, operator=False)
    assert (answered.text, answered.more) == ("Balance: 5", False)
    with pytest.raises(BadRequest):
        await channel.ussd("m1", "1", reply=True, operator=False)
    assert modem.asked_for("+CUSD=") == 2


# Traces.


async def test_two_may_trace_one_modem_and_the_last_turns_it_off(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open()
    short, long = channel.trace("m1", 60), channel.trace("m1", 60)
    first = [asyncio.ensure_future(anext(one)) for one in (short, long)]
    await asyncio.sleep(0.05)
    await channel.send(sms())
    assert len(set(await asyncio.gather(*first))) == 1

    await short.aclose()
    further = asyncio.ensure_future(anext(long))
    await channel.send(sms())
    assert await further
    await long.aclose()
    assert channel._pool
    assert channel._pool.modem("m1")._life.at.trace is None
    assert modem.handed
    with pytest.raises(NotFound):
        await anext(channel.trace("m9", 1))
    await modem.unplug()
    await site.ready(channel, 0)
    assert [line async for line in channel.trace("m1", 0.01)] == []


# Texts that come in.


async def test_a_text_stays_on_the_sim_until_it_is_kept(site: Site) -> None:
    modem = await site.plug_in()
    channel = site.channel(modems=site.tables(inbox="bank"), inbox="shop")
    away = [OSError("the store"), OSError("the store")]

    async def take(text: Incoming) -> None:
        if away:
            raise away.pop()
        site.came.append(text)

    class Lent(MemoryLedger):
        async def keep(self, text: Any) -> None:
            await channel.keep(text)

    channel.lend(Lent(), take)
    await site.stack.enter_async_context(channel)
    await site.ready(channel, 1)
    site.net.call(modem.number, "planted words", "+62899")
    await until(lambda: len(away) < 2)
    assert site.came == [] or not away
    await until(lambda: site.came)
    await until(lambda: not len(modem.storage))

    [text] = site.came
    assert (text.line, text.tenant, text.text, text.to) == ("m1", "bank", "planted words", modem.number)


# Other processes and hosts.


async def test_who_did_not_get_the_port_leaves_the_messages_to_who_did(site: Site) -> None:
    modem = await site.plug_in()
    first = await site.open()
    second = await site.open(ready=0)
    await until(lambda: second.elsewhere)

    assert not first.elsewhere
    assert {line.reason for line in await second.lines()} == {IN_USE}
    with pytest.raises(Unavailable, match="another process"):
        await second.send(sms())
    assert site.net.parts == []
    await first.__aexit__(None, None, None)
    await site.ready(second, 1)
    assert not second.elsewhere
    await second.send(sms())
    await modem.unplug()
    await site.ready(second, 0)
    # That is nobody's: its queue goes on, by other channels too.
    await until(lambda: not second.elsewhere)


async def test_one_port_is_enough_to_serve(site: Site) -> None:
    for _ in range(2):
        await site.plug_in()
    await site.open(modems={"m1": site.tables()["m1"]})
    second = await site.open()

    async def shared() -> bool:
        return [line.state for line in await second.lines()] == ["absent", "ready"]

    await until(shared)
    assert not second.elsewhere
    assert (await second.send(sms())).id.startswith("m2:")


async def test_another_host_opens_no_port_until_the_config_says_so(site: Site) -> None:
    modem = await site.plug_in()
    channel = await site.open(ready=0, host="elsewhere.example")
    assert channel.elsewhere
    assert await channel.ping() == "on another host"
    assert modem.connected == 0

    await channel.change(site.config())
    assert not channel.elsewhere
    await site.ready(channel, 1)
    await channel.send(sms())
    await channel.change(site.config(host="elsewhere.example"))
    assert channel.elsewhere
    assert await channel.lines() == []


async def test_a_change_before_it_is_opened_opens_nothing(site: Site) -> None:
    modem = await site.plug_in()
    channel = site.channel()
    await channel.change(site.config(country="DE"))
    assert await channel.lines() == []
    assert modem.connected == 0
    assert channel.address.parse("030 123456") == "+4930123456"


async def test_a_modem_that_is_taken_out_ends_its_text_first(site: Site) -> None:
    for _ in range(2):
        await site.plug_in()
    channel = await site.open(ready=2)
    site.net.latency = 0.5
    sending = asyncio.create_task(channel.send(sms(modem="sms.m1")))
    await until(lambda: site.modems[0].handed)
    with structlog.testing.capture_logs() as lines:
        await channel.change(site.config(modems={"m2": site.tables()["m2"]}))

    assert (await sending).id.startswith("m1:")
    assert [line.name for line in await channel.lines()] == ["m2"]
    # Nothing is wrong with it.
    assert {line["log_level"] for line in lines if line.get("modem") == "m1"} <= {"info", "debug"}
    with pytest.raises(Refused):
        await channel.send(sms(modem="sms.m1"))
