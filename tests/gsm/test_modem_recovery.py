"""It comes back by itself: from a pulled plug, a reboot, silence, lost settings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import pytest

from otpsvc.errors import LineLost
from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.health import Boots
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, limits, running, short, until_read
from tests.waiting import until


async def test_comes_back_after_a_plug_was_pulled(net: Network, modem: EmulatedModem) -> None:
    async with running(modem, ping=30) as rig:
        await rig.until(State.READY)
        await modem.unplug()
        await rig.until(State.ABSENT)
        # It has looked for it in vain.
        await until(lambda: rig.modem.reason == "not there")
        await modem.plug()
        began = time.monotonic()
        await rig.until(State.READY)
        print(f"ready {time.monotonic() - began:.2f} s after the plug")

        assert rig.since(State.ABSENT) == [State.OPENING, State.PROBING, State.READY]
        await rig.send("again")
        assert (await net.arrived(1))[0].text == "again"


async def test_a_reboot_is_noticed_and_the_settings_come_back(modem: EmulatedModem) -> None:
    async with running(modem, ping=30) as rig:
        await rig.until(State.READY)
        modem.reboot()
        await until(lambda: State.PROBING in rig.states[3:])
        await rig.until(State.READY)

        assert "started anew (RDY)" in next(c.reason for c in rig.changes[3:] if c.after is State.PROBING)
        assert modem.settings.cnmi[:4] == (2, 1, 0, 1)


async def test_a_reboot_after_ctrl_z_is_a_doubt(modem: EmulatedModem) -> None:
    async with running(modem, ping=30) as rig:
        await rig.until(State.READY)
        modem.fail_next("reboot")
        with pytest.raises(LineLost) as lost:
            await rig.send()
        assert getattr(lost.value, "written", False)

        await rig.until(State.READY)


async def test_a_silent_reboot_is_found_by_the_audit(plug_in: PlugIn) -> None:
    modem = await plug_in(boot=(), ready=())
    async with running(modem) as rig:
        await rig.until(State.READY)
        await until_read(modem)
        modem.reboot()
        await until(lambda: modem.registered)
        rig.clock.ahead += 301
        await until(lambda: any("lost its settings" in change.reason for change in rig.changes))
        await rig.until(State.READY)

        assert modem.settings.cnmi[:4] == (2, 1, 0, 1)


async def test_a_word_of_a_ready_sim_makes_it_look_at_its_settings(plug_in: PlugIn) -> None:
    modem = await plug_in(boot=(), ready=("Call Ready",))
    async with running(modem, ping=30) as rig:
        await rig.until(State.READY)
        await until_read(modem)
        modem.reboot()
        await until(lambda: any("lost its settings" in change.reason for change in rig.changes))

        await rig.until(State.READY)


def test_each_boot_of_a_minute_is_waited_for_longer() -> None:
    now = 100.0
    boots = Boots(lambda: now)
    waits = []
    for _ in range(10):
        boots.note()
        waits.append(boots.wait())
    assert waits == [0, 0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    now += 60

    assert boots.wait() == 0


async def test_a_storm_of_boots_is_not_answered_each_time(modem: EmulatedModem) -> None:
    async with running(modem, ping=30) as rig:
        await rig.until(State.READY)
        before = modem.asked_for("+CGMI")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            modem.say("RDY")
            await asyncio.sleep(0.005)
        tried = modem.asked_for("+CGMI") - before

        assert tried < 12
        await rig.until(State.READY)


async def test_a_modem_that_hangs_and_wakes(modem: EmulatedModem) -> None:
    async with running(modem, timeouts=limits(basic=2, setting=1, storage=2, slow=2)) as rig:
        await rig.until(State.READY)
        modem.hang()
        await rig.until(State.RESYNC)
        modem.wake()

        await rig.until(State.READY)
        assert State.RESETTING not in rig.states
        assert modem.asked_for("+CFUN=") == 0


async def test_a_modem_that_hangs_for_long_is_given_up_and_comes_back(modem: EmulatedModem) -> None:
    async with running(modem, timeouts=short("basic", "setting", "storage", "slow", "reset")) as rig:
        await rig.until(State.READY)
        modem.hang()
        await until(lambda: State.RESETTING in rig.states)
        rig.clock.ahead += 8
        await rig.until(State.HUNG)
        assert rig.states[-3:] == [State.RESYNC, State.RESETTING, State.HUNG]
        assert rig.modem.reason.startswith("nothing helped: ")
        # It is looked at each minute, without a word, and reset once in ten minutes.
        await until(lambda: not modem.connected)
        rig.clock.ahead += 61
        await until(lambda: modem.connected)
        await until(lambda: not modem.connected)
        assert rig.states[-1] is State.HUNG
        modem.wake()
        rig.clock.ahead += 61

        await rig.until(State.READY)
        assert modem.asked_for("+CFUN=") == 0
        assert rig.states.count(State.RESETTING) == 1


async def test_a_modem_that_answers_at_alone_is_reset_once(modem: EmulatedModem) -> None:
    async with running(modem, timeouts=short("setting")) as rig:
        await rig.until(State.READY)
        modem.quirks.answers.update({"+CSQ": "silent", "+CPIN?": "silent"})
        await until(lambda: modem.asked_for("+CFUN=") == 1)
        await rig.until(State.HUNG)
        modem.quirks.answers.clear()
        rig.clock.ahead += 61

        await rig.until(State.READY)
        assert modem.asked_for("+CFUN=") == 1


class Once(dict[str, str]):
    """What a command is answered with instead, the next time alone."""

    def get(self, word: str, default: Any = None) -> Any:
        return self.pop(word, default)


async def test_one_missed_look_is_forgiven(modem: EmulatedModem) -> None:
    async with running(modem, timeouts=limits(setting=2)) as rig:
        await rig.until(State.READY)
        modem.quirks.answers = answers = Once({"+CSQ": "silent"})
        await until(lambda: not answers)
        asked = modem.asked_for("+CSQ")
        await until(lambda: modem.asked_for("+CSQ") > asked + 3)

        assert rig.states[-1] is State.READY
        assert State.RESYNC not in rig.states


async def test_a_sim_that_is_pulled_is_noticed(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        for word in (True, False):
            await rig.until(State.READY)
            modem.sim.present = False
            modem.stat = 2
            if word:
                modem.say("+CPIN: NOT READY")
            await rig.until(State.NO_SIM)
            modem.sim.present = True
            modem.stat = 1
            rig.clock.ahead += 11


async def test_an_end_closes_the_port_and_leaves_nothing(modem: EmulatedModem) -> None:
    tasks, devices = asyncio.all_tasks(), {modem.tty}
    for _ in range(3):
        async with running(modem) as rig:
            await rig.until(State.READY)
        assert rig.modem.state is State.ABSENT
        assert not rig.modem.ready
        await until(lambda: not modem.connected)
        devices.add(modem.tty)

    assert not devices & _open_files()
    assert asyncio.all_tasks() <= tasks


def _open_files() -> set[str]:
    """What this process has open, and nothing of what others close meanwhile."""
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(file.readlink()))
    return found
