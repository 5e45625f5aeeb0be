"""Nothing that a modem tells, logs or traces holds a text, a code, a PDU, a PIN or a number."""

from __future__ import annotations

import asyncio
import logging

import pytest

from otpsvc.errors import ModemError, StoreUnavailable
from otpsvc.gsm.emulator import Network
from otpsvc.gsm.types import State
from tests.gsm.test_modem_rig import PlugIn, limits, running
from tests.waiting import until

CODE, TO, SENDER, PIN, WRONG, REPLY = "817263", "+628139876543", "+628998877665", "4711", "8642", "55443"


async def test_planted_words_are_nowhere(
    net: Network, plug_in: PlugIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    modem = await plug_in(pin=PIN, ussd={"*123#": f"Your number is {SENDER}, code {CODE}"}, noise=0.2)
    traced: list[object] = []
    said: list[object] = []
    async with running(modem, pin=WRONG) as rig:
        rig.modem.on_trace(traced.append)
        await rig.until(State.PIN)
        said += [*rig.changes, rig.modem.reason]
    modem.sim.tries = 3
    async with running(modem, pin=PIN, timeouts=limits(prompt=2, result=2, late_result=4)) as rig:
        rig.modem.on_trace(traced.append)
        await rig.until(State.READY)
        sent = await rig.send(f"Your code is {CODE}", to=TO, report=True)
        await until(lambda: rig.reports)
        net.call(modem.number, f"{CODE} came in", SENDER)
        await until(lambda: rig.texts)
        rig.refusal = StoreUnavailable(f"text {CODE}")
        net.call(modem.number, f"{CODE} not taken", SENDER)
        await until(lambda: "not taken" in caplog.text)
        net.call_pdu(modem.number, "0791" + CODE * 4)

        async def given_up() -> bool:
            # It is read again, minutes apart, before it is.
            rig.clock.ahead += 61
            await asyncio.sleep(0.1)
            return "cannot be read: deleted" in caplog.text

        await until(given_up)
        said += [await rig.modem.ussd("*123#"), await rig.modem.ussd(REPLY, reply=True)]
        for fault in ("CMS 500", "no-prompt", "silent", "reboot"):
            await rig.until(State.READY)
            modem.fail_next(fault)
            with pytest.raises(ModemError) as failed:
                await rig.send(f"Your code is {CODE}", to=TO)
            said += [failed.value, repr(failed.value)]
        await rig.until(State.READY)
        shot = rig.modem.snapshot()
        said += [*rig.changes, rig.modem.reason, rig.modem, *rig.texts, *rig.reports, shot.reason]

    assert sent
    assert traced
    words = "\n".join([*map(repr, said), *map(str, said), *map(str, traced), *map(repr, traced), caplog.text])
    pdu = next(part.submit for part in net.parts).encoded()[0]
    digits = [number.lstrip("+") for number in (TO, SENDER)]
    for planted in (CODE, PIN, WRONG, REPLY, pdu[-20:], "Your code", 'came in"', 'not taken"', *digits):
        assert planted not in words
