"""AT+CUSD: questions to the network in the dialects that modems speak (27.007, 7.15)."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Iterator
from typing import Final

from otpsvc.gsm import alphabet, septets
from otpsvc.gsm.emulator.dialogue import Lines
from otpsvc.gsm.emulator.general import Command
from otpsvc.gsm.emulator.parse import Call
from otpsvc.gsm.emulator.quirks import Dialect, Menu
from otpsvc.gsm.emulator.sim import Refusal
from otpsvc.gsm.emulator.unit import Unit

_DONE, _MORE, _ENDED, _UNSUPPORTED = 0, 1, 2, 4


def question(unit: Unit, call: Call) -> Lines:
    """+CUSD=1,"code": the answer comes later, as an unsolicited line."""
    if call.kind == "?":
        return (f"+CUSD: {unit.settings.plain.get('+CUSD', '0')}",)
    if call.kind == "=?":
        return ("+CUSD: (0-2)",)
    mode = call.number(0, 0)
    if mode not in {0, 1, 2}:
        raise Refusal("CME", 3)
    if mode == 2:
        _cancel(unit)
        return ()
    unit.settings.plain["+CUSD"] = str(mode)
    fields = call.fields()
    if len(fields) < 2:
        return ()
    unit.sim.ready()
    if not unit.registered:
        raise Refusal("CME", 30)
    _ask(unit, fields[1])
    return ()


def _cancel(unit: Unit) -> None:
    unit.menu = None
    if unit.asked is not None:
        unit.asked.cancel()
        unit.asked = None


def _ask(unit: Unit, typed: str) -> None:
    if unit.asked is not None:
        raise Refusal("CME", 3)
    if unit.quirks.ussd_silent:
        return
    if unit.quirks.ussd_early:
        _answer(unit, typed)
        return
    loop = asyncio.get_running_loop()
    unit.asked = loop.call_later(unit.quirks.ussd_delay, _answer, unit, typed)


def _answer(unit: Unit, typed: str) -> None:
    unit.asked = None
    known = unit.quirks.ussd if unit.menu is None else unit.menu.replies
    found = next((known[code] for code in _readings(typed) if code in known), None)
    was_menu = unit.menu is not None
    unit.menu = found if isinstance(found, Menu) else None
    if found is None:
        line = f"+CUSD: {_ENDED if was_menu else _UNSUPPORTED}"
    else:
        status, text = (_MORE, found.text) if isinstance(found, Menu) else (_DONE, found)
        line = f'+CUSD: {status},"{_written(unit, text)}",{unit.quirks.ussd_dcs}'
    if unit.settings.plain.get("+CUSD", "0") == "1":
        unit.dialogue.unsolicited(line)


def _readings(typed: str) -> Iterator[str]:
    """What a client may have meant: text, or one of the codings in hex."""
    yield typed
    try:
        octets = binascii.unhexlify(typed)
    except ValueError:
        return
    yield octets.decode("utf-16-be", "replace")
    yield alphabet.decode(septets.unpack(octets, len(octets) * 8 // 7)).rstrip("\r@")
    yield octets.decode("latin-1")


def _written(unit: Unit, text: str) -> str:
    dialect: Dialect = unit.quirks.dialect
    if dialect == "text" and unit.settings.charset != "UCS2":
        return text
    if dialect == "octets":
        return text.encode("latin-1", "replace").hex().upper()
    codes = alphabet.encode(text)
    if dialect != "packed" or codes is None:
        return text.encode("utf-16-be").hex().upper()
    # Seven spare bits would read as one more `@`. (23.038, 6.1.2.3.1)
    padding = b"\r" if len(codes) % 8 == 7 else b""
    return septets.pack(codes + padding).hex().upper()


COMMANDS: Final[dict[str, Command]] = {"+CUSD": question}
