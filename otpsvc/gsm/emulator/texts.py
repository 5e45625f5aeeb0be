"""Commands of 27.005: settings of SMS, and what lies in the memories."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from otpsvc.errors import BadPdu
from otpsvc.gsm import alphabet
from otpsvc.gsm.emulator.dialogue import Lines
from otpsvc.gsm.emulator.general import Command, remembered
from otpsvc.gsm.emulator.parse import Call
from otpsvc.gsm.emulator.sending import send
from otpsvc.gsm.emulator.sim import Refusal
from otpsvc.gsm.emulator.storage import STATES, Memory, Stored
from otpsvc.gsm.emulator.unit import Unit
from otpsvc.gsm.pdu import Deliver, StatusReport, read

#: Which states AT+CMGD=n,FLAG deletes. (27.005, 3.5.4)
_DELETED: Final = {1: {1}, 2: {1, 3}, 3: {1, 2, 3}, 4: {0, 1, 2, 3}}


def form(unit: Unit, call: Call) -> Lines:
    """+CMGF: PDUs or text."""
    if call.kind == "?":
        return (f"+CMGF: {int(unit.settings.text_mode)}",)
    if call.kind == "=?":
        return ("+CMGF: (0,1)",)
    unit.settings.text_mode = _checked(call.number(0, 0), (0, 1)) == 1
    return ()


def centre(unit: Unit, call: Call) -> Lines:
    """+CSCA."""
    unit.sim.ready(sms=True)
    if call.kind == "?":
        return (f'+CSCA: "{unit.sim.smsc}",{145 if unit.sim.smsc.startswith("+") else 129}',)
    if call.kind == "=":
        number = call.fields()[0]
        plus = call.number(1, 129) == 145 and not number.startswith("+")
        unit.sim.smsc = f"+{number}" if plus else number
    return ()


def service(unit: Unit, call: Call) -> Lines:
    """+CSMS."""
    if call.kind == "?":
        return (f"+CSMS: {unit.settings.service},1,1,1",)
    if call.kind == "=?":
        return ("+CSMS: (0,1)",)
    unit.settings.service = _checked(call.number(0), (0, 1))
    return ("+CSMS: 1,1,1",)


def preferred(unit: Unit, call: Call) -> Lines:
    """+CPMS."""
    names, memories = unit.settings.memories, unit.memories
    if call.kind == "=?":
        every = "(" + ",".join(f'"{name}"' for name in memories) + ")"
        kept = "(" + ",".join(f'"{name}"' for name in memories if name != "SR") + ")"
        return (f"+CPMS: {every},{kept},{kept}",)
    unit.sim.ready(sms=True)
    if call.kind == "=":
        wanted = call.fields()[:3]
        if not set(wanted) <= set(memories):
            raise Refusal("CMS", 302)
        names[: len(wanted)] = wanted
        unit.freed()
        counts = [f"{len(memories[name])},{memories[name].size}" for name in names]
    else:
        counts = [f'"{name}",{len(memories[name])},{memories[name].size}' for name in names]
    return ("+CPMS: " + ",".join(counts),)


def indications(unit: Unit, call: Call) -> Lines:
    """+CNMI."""
    if call.kind == "?":
        return ("+CNMI: " + ",".join(map(str, unit.settings.cnmi)),)
    offered = (0, 1, 2, 3), unit.quirks.mt, (0, 2), _ds(unit), (0, 1)
    if call.kind == "=?":
        return ("+CNMI: " + ",".join(f"({','.join(map(str, modes))})" for modes in offered),)
    wanted = [call.number(index, 0) for index in range(5)]
    for mode, modes in zip(wanted, offered, strict=True):
        _checked(mode, modes)
    unit.settings.cnmi = wanted[0], wanted[1], wanted[2], wanted[3], wanted[4]
    unit.indicate(clear=wanted[4] == 1)
    return ()


def _ds(unit: Unit) -> tuple[int, ...]:
    stored = unit.network.reports == "stored"
    return tuple(mode for mode in unit.quirks.ds if not (stored and mode == 1))


def acknowledge(unit: Unit, call: Call) -> Lines:
    """+CNMA."""
    if call.kind != "=?":
        unit.acknowledge()
    return ()


def parameters(unit: Unit, call: Call) -> Lines:
    """+CSMP."""
    if call.kind == "?":
        return ("+CSMP: " + ",".join(map(str, unit.settings.parameters)),)
    if call.kind == "=":
        now = unit.settings.parameters
        unit.settings.parameters = [call.number(index, now[index]) for index in range(4)]
    return ()


def headers(unit: Unit, call: Call) -> Lines:
    """+CSDH."""
    if call.kind == "?":
        return (f"+CSDH: {int(unit.settings.headers)}",)
    unit.settings.headers = call.number(0, 0) == 1
    return ()


def listing(unit: Unit, call: Call) -> Lines:
    """+CMGL."""
    if call.kind == "=?":
        return ("+CMGL: " + (",".join(f'"{s}"' for s in STATES) if unit.settings.text_mode else "(0-4)"),)
    unit.sim.ready(sms=True)
    return list(_listed(unit, _state(unit, call)))


def _state(unit: Unit, call: Call) -> int:
    if not call.argument:
        return 0
    if not unit.settings.text_mode:
        return _checked(call.number(0), (0, 1, 2, 3, 4))
    word = call.fields()[0].upper()
    if word not in STATES:
        raise Refusal("CMS", 305)
    return STATES.index(word)


def _listed(unit: Unit, state: int) -> Iterator[str]:
    for index, item in list(unit.memory(0).listed(state)):
        yield _entry(unit, "+CMGL", item, f"{index},")
        item.state = item.state or 1


def one(unit: Unit, call: Call) -> Lines:
    """+CMGR."""
    if call.kind == "=?":
        return ()
    unit.sim.ready(sms=True)
    index = _index(unit.memory(0), call)
    item = unit.memory(0).slots.get(index)
    if item is None:
        if unit.quirks.empty_slot == "OK":
            return ()
        raise Refusal("CMS", 321)
    entry = _entry(unit, "+CMGR", item, "")
    item.state = item.state or 1
    return (entry,)


def deletion(unit: Unit, call: Call) -> Lines:
    """+CMGD."""
    memory = unit.memory(0)
    if call.kind == "=?":
        return (f"+CMGD: ({','.join(map(str, sorted(memory.slots)))}),(0-4)",)
    unit.sim.ready(sms=True)
    flag = _checked(call.number(1, 0), (0, 1, 2, 3, 4))
    if flag:
        memory.delete(_DELETED[flag])
    else:
        memory.slots.pop(_index(memory, call), None)
    unit.freed()
    return ()


def _index(memory: Memory, call: Call) -> int:
    index = call.number(0)
    if not memory.first <= index < memory.first + memory.size:
        raise Refusal("CMS", 321)
    return index


def _entry(unit: Unit, name: str, item: Stored, index: str) -> str:
    """A header and its body (27.005, 3.4.2 and 4.1)."""
    if not unit.settings.text_mode:
        return f"{name}: {index}{item.state},,{item.length}\r\n{item.pdu}"
    try:
        pdu = read(item.pdu)
    except BadPdu:
        raise Refusal("CMS", 305) from None
    state = f'{index}"{STATES[item.state]}"'
    if isinstance(pdu, StatusReport):
        return f"{name}: {state},{_report(unit, pdu)}"
    sender, more = _shown(unit, pdu.sender), ""
    if unit.settings.headers:
        more = f",145,{len(pdu.text)}"
    return f'{name}: {state},"{sender}",,"{_stamp(pdu.at)}"{more}\r\n{_words(unit, pdu)}'


def _report(unit: Unit, pdu: StatusReport) -> str:
    times = f'"{_stamp(pdu.submitted)}","{_stamp(pdu.discharged)}"'
    return f'6,{pdu.reference},"{_shown(unit, pdu.recipient)}",145,{times},{pdu.status}'


def _words(unit: Unit, pdu: Deliver) -> str:
    """The text in the set of +CSCS, or in hex where that cannot write it."""
    if alphabet.encode(pdu.text) is None:
        return pdu.text.encode("utf-16-be", "replace").hex().upper()
    return _shown(unit, pdu.text)


def _shown(unit: Unit, text: str) -> str:
    charset = unit.settings.charset
    if charset == "UCS2":
        return text.encode("utf-16-be", "replace").hex().upper()
    septets = alphabet.encode(text) or b""
    if charset == "HEX":
        return septets.hex().upper()
    return septets.decode("latin-1") if charset == "GSM" and septets else text


def _stamp(at: float) -> str:
    return time.strftime("%y/%m/%d,%H:%M:%S+00", time.gmtime(at))


def _checked(value: int, choices: tuple[int, ...]) -> int:
    if value not in choices:
        raise Refusal("CMS", 303)
    return value


COMMANDS: Final[dict[str, Command]] = {
    "+CMGF": form,
    "+CSCA": centre,
    "+CSMS": service,
    "+CPMS": preferred,
    "+CNMI": indications,
    "+CNMA": acknowledge,
    "+CSMP": parameters,
    "+CSDH": headers,
    "+CMGL": listing,
    "+CMGR": one,
    "+CMGD": deletion,
    "+CMGS": send,
    "+CMMS": remembered,
    "+CGSMS": remembered,
}
