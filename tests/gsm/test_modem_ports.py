"""Ports that go, come, move, or are somebody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from otpsvc.errors import LineLost, NotReady
from otpsvc.gsm.cause import Cause
from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, running, short
from tests.waiting import stays, until


async def test_a_path_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    async with running(f"{tmp_path}/none") as rig:
        await until(lambda: rig.modem.reason == "not there")

        await stays(lambda: rig.modem.state is State.ABSENT and rig.changes == [])


async def test_a_port_that_somebody_has_is_waited_for(modem: EmulatedModem) -> None:
    async with running(modem) as first:
        await first.until(State.READY)
        async with running(modem) as second:
            await until(lambda: second.modem.reason == "in use by another program")
            await stays(lambda: second.states == [State.OPENING, State.ABSENT], lambda: str(second.states))
            first.modem.pause()

            await second.until(State.READY)


@pytest.mark.parametrize(
    "command", ["ATE0", "AT+CGSN", "AT+CPIN?", "AT+CIMI", "AT+CMGF=0", "AT+CPMS=?", "AT+CNMI=?", "AT+CREG?"]
)
async def test_a_plug_pulled_while_it_is_set_up(modem: EmulatedModem, command: str) -> None:
    word = command.removeprefix("AT")
    modem.quirks.answers[word if "=" not in word or "?" in word else word.partition("=")[0] + "="] = "unplug"
    modem.quirks.answers.update({"E": "unplug"} if command == "ATE0" else {})
    async with running(modem) as rig:
        await until(lambda: State.ABSENT in rig.states)
        modem.quirks.answers.clear()
        await modem.plug()

        await rig.until(State.READY)


async def test_a_plug_pulled_while_a_text_is_sent(net: Network, modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        for place, written in (("prompt", False), ("result", True)):
            modem.fail_next(f"unplug at {place}")
            with pytest.raises(LineLost) as lost:
                await rig.send()
            # At the prompt the body may be written before the loss is seen.
            assert getattr(lost.value, "written", False) or not written
            await rig.until(State.ABSENT)
            with pytest.raises(NotReady):
                await rig.send()
            await modem.plug()
            await rig.until(State.READY)


@pytest.mark.parametrize(
    "state", [State.NO_SIM, State.PIN, State.REGISTERING, State.DEGRADED, State.SUSPENDED]
)
async def test_a_plug_pulled_in_any_state(plug_in: PlugIn, state: State) -> None:
    modem = await plug_in(pin="1234" if state is State.PIN else "")
    modem.sim.present = state is not State.NO_SIM
    modem.quirks.stat = 2 if state is State.REGISTERING else 1
    modem.reboot()
    async with running(modem) as rig:
        if state in {State.DEGRADED, State.SUSPENDED}:
            await rig.until(State.READY)
            # So often that it rests for minutes: it must do so still when it is back.
            for _ in range(9):
                rig.modem.strike(Cause.SIM if state is State.SUSPENDED else Cause.NETWORK)
        await rig.until(state)
        # No wait ends by itself: the loss has to be noticed.
        rig.clock.stop()
        await modem.unplug()
        await rig.until(State.ABSENT)
        rig.clock.go()
        await modem.plug()

        await rig.until(state)


async def test_a_plug_pulled_from_a_modem_that_hangs(modem: EmulatedModem) -> None:
    # It may hang in the middle of anything.
    timeouts = replace(short("basic", "setting", "storage", "slow"), reset=0.5)
    async with running(modem, timeouts=timeouts) as rig:
        await rig.until(State.READY)
        modem.hang()
        await rig.until(State.HUNG)
        await modem.unplug()
        rig.clock.ahead += 61
        await rig.until(State.ABSENT)
        await modem.plug()
        await rig.until(State.READY)

        # All is new: what it does is shown again. (So short a time to answer in may be over once.)
        shown = [state for state in rig.since(State.ABSENT) if state is not State.RESYNC]
        assert shown == [State.OPENING, State.PROBING, State.READY]


async def test_another_sim_after_a_replug_is_told(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        before = rig.modem.facts.sim
        await modem.unplug()
        await rig.until(State.ABSENT)
        modem.sim.iccid, modem.sim.imsi = "89621100000000777770", "510107777777777"
        await modem.plug()
        await rig.until(State.READY)

        assert rig.modem.facts.sim == "89621100000000777770" != before
        assert rig.modem.facts.imsi == "510107777777777"


async def test_a_modem_at_another_place_is_found_by_its_imei(net: Network, tmp_path: Path) -> None:
    async with (
        EmulatedModem(net, directory=tmp_path, name="port-a") as other,
        EmulatedModem(net, directory=tmp_path, name="port-b") as ours,
        running(f"{tmp_path}/port-?", imei=ours.imei) as rig,
    ):
        await rig.until(State.READY)
        assert rig.modem.path == ours.path
        await until(lambda: not other.connected)
        await ours.unplug()
        await rig.until(State.ABSENT)
        await ours.plug("port-c")

        await rig.until(State.READY)
        assert rig.modem.path == ours.path
        assert rig.modem.facts.imei == ours.imei


async def test_two_modems_share_a_pattern(net: Network, tmp_path: Path) -> None:
    pattern = f"{tmp_path}/port-?"
    async with (
        EmulatedModem(net, directory=tmp_path, name="port-a") as one,
        EmulatedModem(net, directory=tmp_path, name="port-b") as two,
        running(pattern, imei=two.imei) as first,
        running(pattern, imei=one.imei) as second,
    ):
        # Each may meet the other at the wrong port; nobody waits for ever.
        async def both_ready() -> bool:
            first.clock.ahead += 1
            second.clock.ahead += 1
            await asyncio.sleep(0.1)
            return first.modem.ready and second.modem.ready

        await until(both_ready, lambda: f"{first.states}, {second.states}")

        assert (first.modem.path, second.modem.path) == (two.path, one.path)


async def test_a_port_that_answers_nothing_is_passed_over(net: Network, tmp_path: Path) -> None:
    async with (
        EmulatedModem(net, directory=tmp_path, name="port-a") as mute,
        EmulatedModem(net, directory=tmp_path, name="port-b") as ours,
    ):
        mute.hang()
        async with running(f"{tmp_path}/port-?", timeouts=short("basic")) as rig:
            await rig.until(State.READY)
            assert rig.modem.path == ours.path
