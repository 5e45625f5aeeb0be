"""AT+CMGS: a text goes to the network, or is lost on one of the many ways there (27.005, 3.5.1 and 4.3)."""

from __future__ import annotations

import asyncio
import binascii
from typing import Final

from otpsvc.errors import BadPdu
from otpsvc.gsm import alphabet
from otpsvc.gsm.emulator.dialogue import Body, Steps
from otpsvc.gsm.emulator.faults import Fault
from otpsvc.gsm.emulator.network import Transmitted
from otpsvc.gsm.emulator.parse import Call
from otpsvc.gsm.emulator.sim import Refusal
from otpsvc.gsm.emulator.unit import Unit
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Submit, read_submit, validity_seconds

#: Octets of the longest TPDU of a SUBMIT.
_LONGEST: Final = 176


def send(unit: Unit, call: Call) -> Steps:
    """Ends as the network and the fault of this text want it."""
    if call.kind != "=":
        return ()
    fault = unit.hand()
    unit.sim.ready(sms=True)
    if not unit.settings.text_mode and not 0 < call.number(0) <= _LONGEST:
        raise Refusal("CMS", 304)
    if fault.what == "no-prompt" or fault.at == "command":
        yield from _strike(unit, fault)
    if unit.quirks.prompt_delay:
        yield unit.quirks.prompt_delay
    prompt = unit.quirks.prompt
    if fault.at == "prompt":
        unit.dialogue.show(prompt)
        prompt = b""
        yield from _strike(unit, fault)
    body = yield Body(prompt, begun=fault.at == "body")
    if fault.at == "body":
        yield from _strike(unit, fault)
    if body is None:
        unit.dialogue.final = unit.quirks.escaped
        return ()
    return (yield from _over_the_air(unit, _read(unit, call, body), fault))


def _over_the_air(unit: Unit, submit: Submit, fault: Fault) -> Steps:
    unit.need_network()
    if refusal := unit.network.refused.get(submit.to):
        raise _refusal(refusal)
    if unit.network.latency:
        yield unit.network.latency
    reference = unit.next_reference()
    if fault.sent:
        part = unit.network.transmit(submit, reference, unit.sim.number)
        if submit.report:
            _report(unit, part)
    yield from _strike(unit, fault)
    if fault.what == "late":
        yield fault.number
    if fault.what == "no-ok":
        unit.dialogue.final = ""
    return () if fault.what == "no-cmgs" else (f"+CMGS: {reference}",)


def _strike(unit: Unit, fault: Fault) -> Steps:
    """What ends the command here; nothing for a fault that lets it go on."""
    if fault.error is not None:
        raise Refusal(*fault.error)
    if fault.what == "garbage":
        unit.dialogue.litter()
    ends = {
        "no-prompt": lambda: None,
        "silent": lambda: None,
        "hang": unit.hang,
        "reboot": unit.reboot,
        "unplug": unit.pull,
    }
    if fault.what in ends:
        yield ends[fault.what]
    return ()


def _refusal(words: str) -> Refusal:
    error = Fault.of(words).error
    assert error is not None
    return Refusal(*error)


def _read(unit: Unit, call: Call, body: bytes) -> Submit:
    """Raises Refusal: CMS 304 for what is no PDU, or not of the length that was told."""
    if unit.settings.text_mode:
        return _from_text(unit, call, body)
    digits = body.decode("latin-1").strip()
    try:
        octets = binascii.unhexlify(digits)
        if not octets or len(octets) - 1 - octets[0] != call.number(0):
            raise Refusal("CMS", 304)
        return read_submit(digits)
    except (ValueError, BadPdu):
        raise Refusal("CMS", 304) from None


def _from_text(unit: Unit, call: Call, body: bytes) -> Submit:
    first, period, _, dcs = unit.settings.parameters
    charset = unit.settings.charset
    to, text = call.fields()[0], body.decode("latin-1").lstrip("\r\n")
    if charset == "UCS2":
        to = bytes.fromhex(to).decode("utf-16-be")
    if dcs & 0x0C == 0x08 or charset == "UCS2":
        text = bytes.fromhex(text).decode("utf-16-be")
    elif charset == "GSM":
        text = alphabet.decode(text.encode("latin-1"))
    parts = split(text.replace("\r\n", "\n"), reference=0, flash=dcs & 0xF0 == 0x10)
    if len(parts) > 1:
        raise Refusal("CMS", 305)
    return Submit(
        to=to,
        part=parts[0],
        report=bool(first & 0x20),
        validity=validity_seconds(period) if first & 0x18 == 0x10 else None,
    )


def _report(unit: Unit, part: Transmitted) -> None:
    """It comes after the answer, unless the modem is one that tells it before."""
    network, quirks = unit.network, unit.quirks
    if network.reports == "none" or quirks.report == "never":
        return
    if quirks.report == "early":
        network.report(part)
        return
    other = (part.reference + 100) % 256 if quirks.report == "unknown" else None
    loop = asyncio.get_running_loop()
    for _ in range(2 if quirks.report == "double" else 1):
        loop.call_later(quirks.report_delay, lambda: network.report(part, reference=other))
