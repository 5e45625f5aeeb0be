"""One part by one modem: what is sure, what is in doubt, and how failures cool it down."""

from __future__ import annotations

import asyncio

import pytest

from otpsvc.errors import CommandFailed, LineLost, ModemError, NoAnswer, NotReady
from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Submit
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, limits, running, until_read
from tests.waiting import stays, until


async def test_the_parts_of_a_long_text_go_in_order_and_undisturbed(
    net: Network, modem: EmulatedModem
) -> None:
    net.latency = 0.1
    async with running(modem, ping=0.05) as rig:
        await rig.until(State.READY)
        rig.modem.hold()
        before, looks = len(rig.changes), modem.asked_for("+CSQ")
        await rig.send("word " * 100)
        parts = len(modem.handed)
        assert parts > 2
        # A look that had begun before may end.
        assert modem.asked_for("+CSQ") <= looks + 1
        rig.modem.release()

        assert (await net.arrived(1))[0].text == "word " * 100
        assert rig.states[before - 1 :] == [State.SENDING, State.READY]
        await until(lambda: modem.asked_for("+CSQ") > looks + 1)


async def test_its_reference_is_told(modem: EmulatedModem, net: Network) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        told = [(await rig.send())[0] for _ in range(3)]

        assert told == [part.reference for part in net.parts]


@pytest.mark.parametrize(
    ("fault", "error", "doubt"),
    [
        ("CMS 500", CommandFailed, False),
        ("CMS 38 at command", CommandFailed, False),
        ("ERROR", CommandFailed, False),
        ("no-prompt", NoAnswer, False),
        ("hang at command", NoAnswer, False),
        ("silent", NoAnswer, True),
        ("silent sent", NoAnswer, True),
        ("hang sent", NoAnswer, True),
        ("reboot at command", LineLost, False),
        ("reboot", LineLost, True),
        ("reboot sent", LineLost, True),
        ("unplug at command", LineLost, False),
        ("unplug", LineLost, True),
    ],
)
async def test_what_is_sure_and_what_is_not(
    modem: EmulatedModem, net: Network, fault: str, error: type[ModemError], doubt: bool
) -> None:
    async with running(modem, timeouts=_ends_of(fault)) as rig:
        await rig.until(State.READY)
        modem.fail_next(fault)
        with pytest.raises(error) as raised:
            await rig.send()
        in_doubt = getattr(raised.value, "stage", "") == "result" or getattr(raised.value, "written", False)
        if modem.hung:
            modem.wake()
        await modem.plug()

        assert in_doubt is doubt
        assert doubt or not net.parts
        shot = rig.modem.snapshot()
        assert (shot.sent, shot.failed, shot.uncertain) == (0, int(not doubt), int(doubt))
        await rig.until(State.READY)
        await rig.send("and on")
        assert net.sent[-1].text == "and on"


def _ends_of(fault: str) -> Timeouts:
    """Short where the fault lets one of them run out."""
    if not fault.startswith(("no-prompt", "hang", "silent")):
        return limits()
    return limits(basic=1, setting=2, slow=2, storage=2, prompt=2, result=2, late_result=4)


async def test_a_result_that_comes_late_is_told(plug_in: PlugIn, net: Network) -> None:
    # A single character that is written meanwhile would end the text.
    modem = await plug_in(busy="abort")
    late: list[int] = []
    async with running(modem, timeouts=limits(result=4.0, late_result=40.0)) as rig:
        rig.modem.on_late = late.append
        await rig.until(State.READY)
        modem.fail_next("late 4.5")
        with pytest.raises(NoAnswer):
            await rig.send()
        assert rig.stands(State.RESYNC)
        await until(lambda: late)

        assert late == [net.parts[0].reference]
        await rig.until(State.READY)


async def test_a_look_that_had_begun_before_does_not_undo_a_late_text(plug_in: PlugIn, net: Network) -> None:
    modem = await plug_in(busy="abort")
    late: list[int] = []
    traced: list[object] = []
    async with running(modem, ping=3600, timeouts=limits(result=1.0, late_result=40.0)) as rig:
        rig.modem.on_late = late.append
        await until_read(modem)
        await rig.until(State.READY)
        await until(lambda: rig.modem.facts.operator)
        # The second command of a look stands behind the text.
        modem.quirks.delay = 0.2
        rig.modem.on_trace(traced.append)
        rig.clock.ahead += 3601
        await until(lambda: traced)
        modem.fail_next("late 1.5")
        with pytest.raises(NoAnswer):
            await rig.send()
        await until(lambda: late)

        assert late == [net.parts[0].reference]


async def test_a_full_store_is_cleaned_and_the_text_goes(modem: EmulatedModem, net: Network) -> None:
    async with running(modem, ping=30) as rig:
        await rig.until(State.READY)
        net.call(modem.number, "came in", "+62899")
        modem.fail_next("CMS 322")
        await rig.send("goes out")

        assert net.sent[-1].text == "goes out"
        assert [text.text for text in rig.texts] == ["came in"]
        assert len(modem.handed) == 2


async def test_nothing_is_taken_before_it_is_ready(plug_in: PlugIn) -> None:
    modem = await plug_in(stat=2)
    async with running(modem) as rig:
        with pytest.raises(NotReady):
            await rig.send()
        await rig.until(State.REGISTERING)
        with pytest.raises(NotReady):
            await rig.send()

    assert not modem.handed


async def test_a_pause_lets_the_text_end_and_frees_the_port(net: Network, modem: EmulatedModem) -> None:
    net.latency = 0.3
    async with running(modem) as rig:
        await rig.until(State.READY)
        rig.modem.hold()
        sending = asyncio.create_task(rig.send("word " * 60))
        await until(lambda: modem.handed)
        rig.modem.pause()
        assert rig.stands(State.SENDING)
        await sending
        rig.modem.release()
        assert rig.stands(State.DISABLED)
        await until(lambda: not modem.connected)
        with pytest.raises(NotReady):
            await rig.send()
        with pytest.raises(NotReady):
            await rig.modem.reset()
        rig.modem.resume()

        await rig.until(State.READY)
        assert (await net.arrived(1))[0].text == "word " * 60


async def test_one_that_is_paused_from_the_start_opens_nothing(modem: EmulatedModem) -> None:
    async with running(modem, paused=True) as rig:
        await stays(lambda: rig.stands(State.DISABLED) and not modem.connected)
        rig.modem.resume()

        await rig.until(State.READY)
        assert rig.states == [State.ABSENT, State.OPENING, State.PROBING, State.READY]


async def test_the_operator_resets_it(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        await rig.modem.reset()

        assert modem.asked_for("+CFUN=") == 1
        assert State.RESETTING in rig.states
        await rig.until(State.READY)


async def test_a_cancelled_text_leaves_it_in_step(net: Network, modem: EmulatedModem) -> None:
    net.latency = 0.3
    async with running(modem) as rig:
        await rig.until(State.READY)
        sending = asyncio.create_task(rig.send("cut off"))
        await until(lambda: modem.handed)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await rig.send("the next")

        assert [each.text for each in net.sent][-1] == "the next"
        assert rig.modem.ready


@pytest.mark.parametrize(("fault", "is_handed"), [("no-prompt", False), ("ok", True)])
async def test_whoever_gives_up_knows_whether_it_was_handed_over(
    net: Network, modem: EmulatedModem, fault: str, is_handed: bool
) -> None:
    net.latency = 0.3
    # The next one waits for the end of the prompt that nobody waits for.
    async with running(modem, timeouts=limits(prompt=2)) as rig:
        await rig.until(State.READY)
        part = Submit(to="+628123456789", part=split("Hello", reference=1)[0])
        handed: list[bool] = []
        modem.fail_next(fault)
        sending = asyncio.create_task(rig.modem.submit(part, handed=lambda: handed.append(True)))
        await until(lambda: handed if is_handed else modem.handed)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert bool(handed) is is_handed

        await rig.send("the next")
        assert len(net.parts) == 1 + is_handed


async def test_each_change_is_told_once_with_a_reason(net: Network, modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        await rig.send()
        modem.fail_next("reboot")
        with pytest.raises(LineLost):
            await rig.send()
        await until(lambda: rig.states.count(State.PROBING) > 1)
        await rig.until(State.READY)
        await modem.unplug()
        await rig.until(State.ABSENT)

        assert all(change.reason for change in rig.changes)
        assert all(change.before is not change.after for change in rig.changes)
        chain = [State.ABSENT, *rig.states]
        assert [change.before for change in rig.changes] == chain[:-1]
