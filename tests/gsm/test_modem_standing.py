"""How failures cool a modem down, and what brings it back."""

from __future__ import annotations

import pytest

from otpsvc.errors import NotReady
from otpsvc.gsm.cause import Cause
from otpsvc.gsm.emulator import EmulatedModem
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import running
from tests.waiting import until


async def test_failures_rest_it_longer_and_longer(modem: EmulatedModem) -> None:
    async with running(modem, ping=30) as rig:
        await rig.until(State.READY)
        rig.clock.stop()
        for rest in (1, 5, 10, 20, 40, 80, 160, 300, 300):
            rig.modem.strike(Cause.NETWORK)
            assert rig.stands(State.DEGRADED)
            with pytest.raises(NotReady):
                await rig.send()
            rig.clock.ahead += rest - 0.125
            assert rig.modem._is.standing.verdict()
            rig.clock.ahead += 0.125
            await rig.until(State.READY)
        rig.modem.relieve()
        rig.modem.strike(Cause.NETWORK)
        rig.clock.ahead += 1

        await rig.until(State.READY)


async def test_a_busy_modem_rests_a_moment(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        for _ in range(5):
            rig.modem.strike(Cause.BUSY)
        assert rig.stands(State.DEGRADED)
        rig.clock.ahead += 1

        await rig.until(State.READY)
        rig.modem.strike(Cause.RECIPIENT)
        rig.modem.strike(Cause.PDU)
        assert rig.modem.ready


async def test_three_refusals_of_the_sim_suspend_it(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        for cause in (Cause.SIM, Cause.SIM, Cause.NETWORK, Cause.SIM, Cause.SIM):
            rig.modem.strike(cause)
        assert rig.stands(State.DEGRADED)
        rig.modem.strike(Cause.SIM)
        assert rig.stands(State.SUSPENDED)
        rig.clock.ahead += 3590
        rig.modem.strike(Cause.BUSY)
        assert rig.stands(State.SUSPENDED)
        rig.clock.ahead += 11

        await rig.until(State.READY)


async def test_the_operator_ends_a_suspension(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        for _ in range(3):
            rig.modem.strike(Cause.SIM)
        rig.modem.resume()

        assert rig.modem.ready


async def test_its_radio_is_switched_off_and_on_once(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        for _ in range(6):
            rig.modem.strike(Cause.NETWORK)
        await until(lambda: modem.asked_for("+CFUN=") == 2)
        await rig.until(State.DEGRADED)
        rig.clock.ahead += 301
        await rig.until(State.READY)
        rig.modem.strike(Cause.NETWORK)
        rig.clock.ahead += 301
        await rig.until(State.READY)
        assert modem.asked_for("+CFUN=") == 2
        assert rig.states.count(State.RESETTING) == 1
        # After a success it may help again.
        rig.modem.relieve()
        for _ in range(3):
            rig.modem.strike(Cause.NETWORK)

        await until(lambda: modem.asked_for("+CFUN=") == 4)


async def test_a_refusal_because_of_the_sim_sets_it_up_anew(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        modem.sim.present = False
        rig.modem.strike(Cause.STATE)

        await rig.until(State.NO_SIM)
