"""Commands of 27.007 and V.250: who the modem is, how it answers, its SIM, its network."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final, TypeAlias, TypeVar

from otpsvc.gsm.emulator.dialogue import Lines, Steps
from otpsvc.gsm.emulator.parse import Call
from otpsvc.gsm.emulator.sim import Refusal
from otpsvc.gsm.emulator.unit import Settings, Unit

Command: TypeAlias = Callable[[Unit, Call], Lines | Steps]
T = TypeVar("T")
CHARSETS: Final = ("GSM", "IRA", "UCS2", "HEX", "8859-1")


def nothing(unit: Unit, call: Call) -> Lines:  # noqa: ARG001
    """Taken, and without effect here."""
    return ()


def remembered(unit: Unit, call: Call) -> Lines:
    """A setting that is told again and does nothing else."""
    if call.kind == "=":
        unit.settings.plain[call.name] = call.argument
        return ()
    if call.kind == "=?":
        return (f"{call.name}: (0-3)",)
    return (f"{call.name}: {unit.settings.plain.get(call.name, '0')}",)


def echo(unit: Unit, call: Call) -> Lines:
    unit.dialogue.format.echo = call.number(0, 0) == 1
    return ()


def verbose(unit: Unit, call: Call) -> Lines:
    unit.dialogue.format.verbose = call.number(0, 0) == 1
    return ()


def quiet(unit: Unit, call: Call) -> Lines:
    unit.dialogue.format.quiet = call.number(0, 0) == 1
    return ()


def defaults(unit: Unit, call: Call) -> Lines:  # noqa: ARG001
    """ATZ and AT&F: every setting as after a start; the radio is not touched (V.250, 6.1.1)."""
    unit.settings = Settings(cnmi=unit.quirks.cnmi)
    unit.dialogue.format.errors = 0
    unit.dialogue.format.echo = unit.quirks.echo
    unit.dialogue.format.verbose, unit.dialogue.format.quiet = True, False
    return ()


def errors(unit: Unit, call: Call) -> Lines:
    if call.kind == "?":
        return (f"+CMEE: {unit.dialogue.format.errors}",)
    if call.kind == "=?":
        return ("+CMEE: (0-2)",)
    unit.dialogue.format.errors = _one_of(call.number(0, 0), range(3))
    return ()


def manufacturer(unit: Unit, call: Call) -> Lines:
    return () if call.kind == "=?" else (unit.quirks.manufacturer,)


def model(unit: Unit, call: Call) -> Lines:
    return () if call.kind == "=?" else (unit.quirks.model,)


def firmware(unit: Unit, call: Call) -> Lines:
    return () if call.kind == "=?" else (unit.quirks.firmware,)


def serial(unit: Unit, call: Call) -> Lines:
    return () if call.kind == "=?" else (unit.imei,)


def information(unit: Unit, call: Call) -> Lines:  # noqa: ARG001
    """ATI."""
    quirks = unit.quirks
    return (quirks.manufacturer, quirks.model, f"Revision: {quirks.firmware}", f"IMEI: {unit.imei}")


def capabilities(unit: Unit, call: Call) -> Lines:  # noqa: ARG001
    return ("+GCAP: +CGSM,+FCLASS",)


def pin(unit: Unit, call: Call) -> Lines:
    """27.007, 8.3."""
    if call.kind == "?":
        return (f"+CPIN: {unit.sim.state}",)
    if call.kind != "=":
        return ()
    fields = call.fields()
    if len(fields) == 2:
        unit.sim.unblock(fields[0], fields[1], unit.quirks.sim_busy)
    else:
        unit.sim.enter(fields[0], unit.quirks.sim_busy)
    unit.restart_radio()
    return ()


def tries(unit: Unit, call: Call) -> Lines:
    """+CPINR, ^CPIN, +QPINC: how many tries are left, as three makers tell it."""
    sim = unit.sim
    if call.name == "+CPINR":
        return (f"+CPINR: SIM PIN,{sim.tries},3", f"+CPINR: SIM PUK,{sim.puk_tries},10")
    if call.name == "+QPINC":
        return (f'+QPINC: "SC",{sim.tries},{sim.puk_tries}',)
    state = "READY" if sim.unlocked else sim.state
    left = sim.puk_tries if state == "SIM PUK" else sim.tries
    return (f"^CPIN: {state},{left},{sim.puk_tries},{sim.tries},10,3",)


def lock(unit: Unit, call: Call) -> Lines:
    """+CLCK: only whether the PIN is asked for."""
    if call.kind == "=?":
        return ('+CLCK: ("SC")',)
    return (f"+CLCK: {int(bool(unit.sim.pin))}",) if call.number(1) == 2 else ()


def imsi(unit: Unit, call: Call) -> Lines:
    if call.kind == "=?":
        return ()
    unit.sim.ready()
    return (unit.sim.imsi,)


def iccid(unit: Unit, call: Call) -> Lines:
    if not unit.sim.present:
        raise Refusal("CME", 10)
    return (f"{call.name}: {unit.sim.iccid}",)


def own_number(unit: Unit, call: Call) -> Lines:
    if call.kind == "=?":
        return ()
    unit.sim.ready()
    kind = 145 if unit.sim.number.startswith("+") else 129
    return (f'+CNUM: "","{unit.sim.number}",{kind}',) if unit.sim.number else ()


def charset(unit: Unit, call: Call) -> Lines:
    if call.kind == "?":
        return (f'+CSCS: "{unit.settings.charset}"',)
    if call.kind == "=?":
        return ("+CSCS: (" + ",".join(f'"{name}"' for name in CHARSETS) + ")",)
    unit.settings.charset = _one_of(call.fields()[0].upper(), CHARSETS)
    return ()


def registration(unit: Unit, call: Call) -> Lines:
    """+CREG, +CGREG, +CEREG (27.007, 7.2)."""
    modes = unit.settings.registration
    if call.kind == "=?":
        return (f"{call.name}: (0-2)",)
    if call.kind == "=":
        modes[call.name] = _one_of(call.number(0, 0), range(3))
        return ()
    place = ',"00C3","0000A0B1"' if modes[call.name] == 2 and unit.registered else ""
    return (f"{call.name}: {modes[call.name]},{unit.stat}{place}",)


def signal(unit: Unit, call: Call) -> Lines:
    if call.kind == "=?":
        return ("+CSQ: (0-31,99),(0-7,99)",)
    return (f"+CSQ: {unit.quirks.signal if unit.functionality == 1 else 99},99",)


def operator(unit: Unit, call: Call) -> Lines:
    if call.kind == "=?":
        return ('+COPS: (2,"EMULATED","EMU","51010"),,(0-4),(0-2)',)
    if call.kind == "=":
        if call.number(0, 0) == 3:
            unit.settings.operator_format = _one_of(call.number(1, 0), range(3))
        return ()
    if not unit.registered:
        return ("+COPS: 0",)
    form = unit.settings.operator_format
    return (f'+COPS: 0,{form},"{("EMULATED", "EMU", "51010")[form]}"',)


def functionality(unit: Unit, call: Call) -> Lines | Steps:
    """+CFUN: 1,1 starts the modem anew (27.007, 8.2)."""
    if call.kind == "?":
        return (f"+CFUN: {unit.functionality}",)
    if call.kind == "=?":
        return ("+CFUN: (0,1,4),(0,1)",)
    wanted = _one_of(call.number(0), (0, 1, 4))
    if call.number(1, 0) == 1:
        return _restart(unit)
    before, unit.functionality = unit.functionality, wanted
    if wanted != 1:
        unit.register(0)
    elif before != 1:
        unit.restart_radio()
    return ()


def _restart(unit: Unit) -> Steps:
    def answered() -> None:
        unit.dialogue.unsolicited("OK")
        unit.reboot()

    yield answered
    return ()


def clock(unit: Unit, call: Call) -> Lines:  # noqa: ARG001
    return ('+CCLK: "26/11/23,10:00:00+28"',) if call.kind == "?" else ()


def activity(unit: Unit, call: Call) -> Lines:  # noqa: ARG001
    return ("+CPAS: 0",)


def battery(unit: Unit, call: Call) -> Lines:  # noqa: ARG001
    return ("+CBC: 0,100",)


def dial(unit: Unit, call: Call) -> Lines:  # noqa: ARG001
    """There is no voice here."""
    unit.dialogue.final = "NO CARRIER"
    return ()


def _one_of(value: T, choices: Container[T]) -> T:
    if value not in choices:
        raise Refusal("CME", 3)
    return value


COMMANDS: Final[dict[str, Command]] = {
    "E": echo,
    "V": verbose,
    "Q": quiet,
    "Z": defaults,
    "&F": defaults,
    "I": information,
    "D": dial,
    **dict.fromkeys(("X", "S", "L", "M", "H", "&C", "&D", "&K", "&W", "&S", "+IPR", "+IFC", "+ICF"), nothing),
    "+CMEE": errors,
    "+CGMI": manufacturer,
    "+GMI": manufacturer,
    "+CGMM": model,
    "+GMM": model,
    "+CGMR": firmware,
    "+GMR": firmware,
    "+CGSN": serial,
    "+GSN": serial,
    "+GCAP": capabilities,
    "+CPIN": pin,
    **dict.fromkeys(("+CPINR", "+QPINC", "^CPIN"), tries),
    "+CLCK": lock,
    "+CIMI": imsi,
    **dict.fromkeys(("+CCID", "+QCCID", "^ICCID"), iccid),
    "+CNUM": own_number,
    "+CSCS": charset,
    **dict.fromkeys(("+CREG", "+CGREG", "+CEREG"), registration),
    "+CSQ": signal,
    "+COPS": operator,
    "+CFUN": functionality,
    "+CCLK": clock,
    "+CPAS": activity,
    "+CBC": battery,
    **dict.fromkeys(("+CLIP", "+CRC", "+CTZU", "+CTZR", "^CURC", "+QURCCFG", "+CSCB", "+CGATT"), remembered),
}
