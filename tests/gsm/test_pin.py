"""A PIN is tried once in the life of a SIM."""

from __future__ import annotations

from otpsvc.errors import StoreUnavailable
from otpsvc.gsm.emulator import EmulatedModem
from otpsvc.gsm.ledger import MemoryLedger
from otpsvc.gsm.pin import mark
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, limits, running, until_asked


class Failing(MemoryLedger):
    """A ledger whose store can be down: at every call, or at those after the next."""

    down = False
    calls_left = -1

    def _reach(self) -> None:
        if self.calls_left == 0:
            self.down = True
        self.calls_left -= 1
        if self.down:
            raise StoreUnavailable

    async def may_try_pin(self, sim: str) -> bool:
        self._reach()
        return await super().may_try_pin(sim)

    async def pin_accepted(self, sim: str) -> None:
        self._reach()
        await super().pin_accepted(sim)


async def test_the_right_pin_opens_the_sim_again_and_again(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234")
    ledger = MemoryLedger()
    for _ in range(3):
        async with running(modem, ledger=ledger, pin="1234") as rig:
            await rig.until(State.READY)
            asked = modem.asked_for("+CPIN=")
            modem.reboot()
            await until_asked(modem, "+CPIN=", asked + 1)
            await rig.until(State.READY)

    assert modem.pin_wrong == 0
    assert ledger._pins == set()


async def test_a_wrong_pin_is_tried_once_over_five_restarts(plug_in: PlugIn) -> None:
    # It does not tell the tries: the ledger alone keeps the SIM from its PUK.
    modem = await plug_in(pin="1234", unsupported=frozenset({"+CPINR", "+QPINC", "^CPIN"}))
    ledger = MemoryLedger()
    for _ in range(5):
        async with running(modem, ledger=ledger, pin="9999") as rig:
            await rig.until(State.PIN)
            assert "not tried again" in rig.modem.reason
            # Nor does it later, nor after a reboot.
            asked = modem.asked_for("+CPIN?")
            rig.clock.ahead += 11
            await until_asked(modem, "+CPIN?", asked + 1)
            modem.reboot()
            asked = modem.asked_for("+CPIN?")
            rig.clock.ahead += 11
            await until_asked(modem, "+CPIN?", asked + 1)

    assert modem.pin_wrong == 1


async def test_another_pin_in_the_settings_is_tried(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234")
    ledger = MemoryLedger()
    async with running(modem, ledger=ledger, pin="9999") as rig:
        await rig.until(State.PIN)
    modem.sim.tries = 3  # as a person's phone leaves it
    async with running(modem, ledger=ledger, pin="1234") as rig:
        await rig.until(State.READY)

    assert modem.pin_wrong == 1


async def test_another_pin_is_not_tried_when_few_tries_are_left(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234")
    ledger = MemoryLedger()
    async with running(modem, ledger=ledger, pin="9999") as rig:
        await rig.until(State.PIN)
    async with running(modem, ledger=ledger, pin="1234") as rig:
        await rig.until(State.PIN)

        assert "only 2 tries are left" in rig.modem.reason
    assert modem.asked_for("+CPIN=") == 1


async def test_a_modem_that_does_not_tell_the_tries_gets_each_pin_once(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234", unsupported=frozenset({"+CPINR", "+QPINC", "^CPIN"}))
    ledger = MemoryLedger()
    for pin in ("9999", "9999", "1234"):
        async with running(modem, ledger=ledger, pin=pin) as rig:
            await rig.until(State.PIN, State.READY)

    assert modem.pin_wrong == 1
    assert modem.asked_for("+CPIN=") == 2


async def test_another_sim_gets_the_pin_too(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234")
    ledger = MemoryLedger()
    async with running(modem, ledger=ledger, pin="9999") as rig:
        await rig.until(State.PIN)
        modem.sim.pin, modem.sim.iccid, modem.sim.tries = "9999", "89621100000000999990", 3
        rig.clock.ahead += 11

        await rig.until(State.READY)
        assert rig.modem.facts.iccid == "89621100000000999990"


async def test_without_iccid_the_imei_decides(plug_in: PlugIn) -> None:
    hidden = frozenset({"+CCID", "+QCCID", "^ICCID"})
    modem = await plug_in(pin="1234", unsupported=hidden)
    ledger = MemoryLedger()
    for _ in range(3):
        async with running(modem, ledger=ledger, pin="9999") as rig:
            await rig.until(State.PIN)
    assert mark(modem.imei, "9999") in ledger._pins

    assert modem.pin_wrong == 1


async def test_without_any_name_the_path_decides(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234", unsupported=frozenset({"+CCID", "+QCCID", "^ICCID", "+CGSN"}))
    ledger = MemoryLedger()
    for _ in range(3):
        async with running(modem, ledger=ledger, pin="9999") as rig:
            await rig.until(State.PIN)
    assert mark(modem.path, "9999") in ledger._pins

    assert modem.pin_wrong == 1


async def test_no_pin_and_no_number_are_told(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234")
    async with running(modem) as rig:
        await rig.until(State.PIN)
        assert rig.modem.reason == "the SIM asks for a PIN, and none is set"
    async with running(modem, pin='12";+CLCK="SC",0,"1') as rig:
        await rig.until(State.PIN)
        assert "4 to 8 digits" in rig.modem.reason

    assert modem.asked_for("+CPIN=") == 0
    assert modem.asked_for("+CLCK=") == 0


async def test_a_sim_that_asks_for_its_puk_is_left_alone(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234")
    modem.sim.tries = 0
    async with running(modem, pin="1234") as rig:
        await rig.until(State.PUK)
        asked = modem.asked_for("+CPIN?")
        rig.clock.ahead += 11
        await until_asked(modem, "+CPIN?", asked + 1)

        assert rig.modem.state is State.PUK
    assert modem.asked_for("+CPIN=") == 0


async def test_nothing_is_tried_while_the_store_is_down(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234")
    ledger = Failing()
    ledger.down = True
    async with running(modem, ledger=ledger, pin="1234") as rig:
        await rig.until(State.PIN)
        assert modem.asked_for("+CPIN=") == 0
        ledger.down = False
        rig.clock.ahead += 11

        await rig.until(State.READY)
    assert ledger._pins == set()


async def test_a_store_that_fails_between_two_notes_costs_no_try(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234")
    ledger = Failing()
    ledger.calls_left = 1
    async with running(modem, ledger=ledger, pin="1234") as rig:
        await rig.until(State.PIN)
        ledger.down = False
        rig.clock.ahead += 11

        await rig.until(State.READY)
    assert ledger._pins == set()


async def test_a_right_pin_whose_answer_was_lost_is_found_out(plug_in: PlugIn) -> None:
    modem = await plug_in(pin="1234")
    modem.quirks.answers["+CPIN="] = "silent"
    ledger = MemoryLedger()
    async with running(modem, ledger=ledger, pin="1234", timeouts=limits(slow=2)) as rig:
        await until_asked(modem, "+CPIN=", 1)
        # It took it, and did not say so.
        modem.sim.unlocked = True
        modem.restart_radio()

        await rig.until(State.READY)
    assert modem.asked_for("+CPIN=") == 1
    assert ledger._pins == set()


async def test_a_modem_that_is_locked_itself_gets_no_pin(modem: EmulatedModem) -> None:
    modem.quirks.answers["+CPIN?"] = "CME 5"
    async with running(modem, pin="1234") as rig:
        await rig.until(State.PIN)

        assert rig.modem.reason == "the modem asks for PH-SIM PIN"
    assert modem.asked_for("+CPIN=") == 0


def test_the_mark_of_a_pin_does_not_show_it() -> None:
    assert "1234" not in mark("89621", "1234")
    assert mark("1", "2345") != mark("12", "345")
