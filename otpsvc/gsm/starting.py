"""From a modem that answers AT to one that can send: who it is, its SIM, its settings.

    echo off ─> identity ─> PIN ─> SIM ─> character set, PDU mode, SMSC ─> memories ─> what it tells unasked

Most steps are tolerant: modems refuse what they need not know. Begun anew after every boot.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct, structs

from otpsvc.errors import CommandFailed
from otpsvc.gsm.at import At
from otpsvc.gsm.cause import Cause, cause_of, may_pass
from otpsvc.gsm.pin import BUSY_AGAIN, PinLock, Standstill
from otpsvc.gsm.settings import ModemSettings, Timeouts
from otpsvc.gsm.types import Facts, State
from otpsvc.gsm.urc import prefix_of

_IMEI: Final = re.compile(r"(?<!\d)\d{14,17}(?!\d)")
_ICCID: Final = re.compile(r"(?<![0-9A-Fa-f])(\d{18,20})[A-Fa-f]?(?![0-9A-Fa-f])")
_IMSI: Final = re.compile(r"(?<!\d)\d{10,15}(?!\d)")
_QUOTED: Final = re.compile(r'"([^"]*)"')
#: The first that answers tells the ICCID; +CRSM reads EF-ICCID (31.102: file 2FE2), digits swapped.
_ICCID_ASKED: Final = ("AT+CCID", "AT+QCCID", "AT^ICCID?", "AT+CRSM=176,12258,0,0,10")
#: Refused for these, it is the SIM that cannot be used; for others, the command that the modem lacks.
_SIM_FAULTS: Final = frozenset({Cause.BUSY, Cause.STATE})
#: Seconds between two tries with a modem that cannot do what is needed.
_USELESS: Final = 60.0
#: Longest of a word that a modem says of itself.
_LONGEST: Final = 64


class Started(Struct, frozen=True, kw_only=True):
    """A modem that has its settings.

    `memories` can be listed (27.005, 3.2.2), `memory` is where texts are put, `cnmi` what
    +CNMI was set to (27.005, 3.4.1).
    """

    facts: Facts
    memories: tuple[str, ...]
    memory: str
    cnmi: tuple[int, ...]


class Start:
    """The steps with one modem. `reports`: tell delivery reports."""

    def __init__(
        self,
        at: At,
        settings: ModemSettings,
        *,
        path: str,
        lock: PinLock,
        timeouts: Timeouts,
        reports: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at = at
        self._settings = settings
        self._path = path
        self._lock = lock
        self._timeouts = timeouts
        self._reports = reports
        self._monotonic = monotonic

    async def run(self) -> Started:
        """Raises: Standstill, NoAnswer, LineLost; CommandFailed when it refuses what it must know."""
        for command in ("ATE0", "ATV1Q0", "AT+CMEE=1"):
            await told(self._at, command)
        facts = await self._identity()
        iccid = await self._iccid()
        names = tuple(name for name in (iccid, facts.imei) if name) or (self._path,)
        await self._lock.open(self._at, names, maker=facts.manufacturer, monotonic=self._monotonic)
        facts = await self._sim(facts, iccid)
        facts = await self._texts(facts)
        memories, memory = await self._memories()
        cnmi = await self._unasked()
        await self._extras(facts.manufacturer)
        return Started(facts=facts, memories=memories, memory=memory, cnmi=cnmi)

    async def _identity(self) -> Facts:
        """Raises Standstill when it is not the modem that was configured."""
        facts = Facts(
            manufacturer=plain(await told(self._at, "AT+CGMI")),
            model=plain(await told(self._at, "AT+CGMM")),
            firmware=plain(await told(self._at, "AT+CGMR")),
            imei=_found(_IMEI, await told(self._at, "AT+CGSN")),
        )
        wanted = self._settings.imei
        if wanted and not facts.imei:
            raise Standstill(State.ABSENT, "the modem there does not tell its IMEI, and one is set")
        # The last digit is a check digit, and some modems leave it out. (23.003, 6.2)
        if wanted and facts.imei[:14] != wanted[:14]:
            raise Standstill(State.ABSENT, f"another modem is there (IMEI …{facts.imei[-4:]})")
        return facts

    async def _iccid(self) -> str:
        for command in _ICCID_ASKED:
            said = await told(self._at, command)
            if "+CRSM" in command:
                # 144,0,"98…": nibbles swapped, F at the end. (102.221, 13.2)
                swapped = re.sub(r"(.)(.)", r"\2\1", "".join(_QUOTED.findall(said)))
                said = swapped.rstrip("Ff")
            if found := _ICCID.search(said):
                return found[1]
        return ""

    async def _sim(self, facts: Facts, iccid: str) -> Facts:
        imsi = await self._imsi()
        number = re.search(r'"(\+?[0-9]{3,20})"', await told(self._at, "AT+CNUM"))
        iccid = iccid or await self._iccid()
        facts = structs.replace(facts, imsi=imsi, iccid=iccid, number=number[1] if number else "")
        if not facts.sim:
            # Its quota would be counted together with others'.
            raise Standstill(State.NO_SIM, "neither ICCID nor IMSI nor IMEI are told")
        return facts

    async def _imsi(self) -> str:
        """Empty where the modem does not tell it: the ICCID, or the modem, then stands for the SIM."""
        try:
            return _found(_IMSI, await self._when_ready("AT+CIMI", may_pass))
        except CommandFailed as failed:
            if cause_of(failed) in _SIM_FAULTS:
                raise Standstill(State.NO_SIM, f"the SIM cannot be read ({failed})") from None
        return ""

    async def _texts(self, facts: Facts) -> Facts:
        """Character set, PDU mode, SMSC, and direct texts that need no acknowledgement (+CSMS=0)."""
        if not await done(self._at, 'AT+CSCS="GSM"'):
            await done(self._at, 'AT+CSCS="IRA"')
        await self._pdu_mode()
        smsc = self._settings.smsc or await self._smsc()
        await done(self._at, "AT+CSMS=0")
        return structs.replace(facts, smsc=smsc)

    async def _pdu_mode(self) -> None:
        try:
            await self._when_ready("AT+CMGF=0", _is_busy)
        except CommandFailed as failed:
            # It may know no other. Never on trust: in text mode the length would be dialled.
            if (await told(self._at, "AT+CMGF?"))[:1] != "0":
                why = f"the modem cannot be used: it takes no PDU mode ({failed})"
                raise Standstill(State.SUSPENDED, why, again=_USELESS) from None

    async def _smsc(self) -> str:
        """Empty when the modem does not tell it: it has its own, and uses that. Raises: Standstill."""
        try:
            said = await self._when_ready("AT+CSCA?", _is_busy)
        except CommandFailed as failed:
            if cause_of(failed) in _SIM_FAULTS:
                raise Standstill(State.NO_SIM, f"the SIM's SMSC cannot be read ({failed})") from None
            return ""
        found = _QUOTED.search(said)
        smsc = plain(found[1]) if found else ""
        if said and not re.search(r"\d", smsc):
            raise Standstill(State.SUSPENDED, "the SIM has no number of an SMSC: set smsc")
        return smsc

    async def _when_ready(self, command: str, passes: Callable[[CommandFailed], bool]) -> str:
        """The answer of a SIM that may still be busy: after a PIN it is, for seconds.

        Raises: CommandFailed, when it does not pass or has not passed in time.
        """
        end = self._monotonic() + self._timeouts.sim
        while True:
            try:
                return _first((await self._at.ask(command)).lines)
            except CommandFailed as failed:
                if self._monotonic() >= end or not passes(failed):
                    raise
            await asyncio.sleep(BUSY_AGAIN)

    async def _memories(self) -> tuple[tuple[str, ...], str]:
        """Those that can be listed, and the larger of ME and SM, which is set."""
        said = await told(self._at, "AT+CPMS=?")
        first = said.partition(")")[0]
        memories = tuple(dict.fromkeys(re.findall(r'"([A-Z]{2})"', first))) or ("SM",)
        sizes = {}
        for memory in [each for each in ("SM", "ME") if each in memories]:
            used = re.findall(r"\d+", await told(self._at, f'AT+CPMS="{memory}","{memory}","{memory}"'))
            sizes[memory] = int(used[1]) if len(used) > 1 else 0
        memory = max(sizes, key=lambda each: sizes[each], default="SM")
        if list(sizes)[-1:] != [memory]:
            await done(self._at, f'AT+CPMS="{memory}","{memory}","{memory}"')
        return memories, memory

    async def _unasked(self) -> tuple[int, ...]:
        """+CNMI as far as it is offered: texts stored (mt=1), reports direct (ds=1) rather than stored."""
        said = await told(self._at, "AT+CNMI=?")
        for cnmi in wishes(said, reports=self._reports):
            if await done(self._at, "AT+CNMI=" + ",".join(map(str, cnmi))):
                break
        else:
            cnmi = ()
        for command in ("AT+CREG=1", "AT+CEREG=1"):
            await done(self._at, command)
        return cnmi

    async def _extras(self, maker: str) -> None:
        if "huawei" in maker.lower():
            await done(self._at, "AT^CURC=0")
        if "quectel" in maker.lower():
            await done(self._at, 'AT+QURCCFG="urcport","all"')
        if self._settings.keep_link:
            await done(self._at, "AT+CMMS=2")
        for command in self._settings.init:
            await done(self._at, command)


def wishes(offered: str, *, reports: bool) -> list[tuple[int, ...]]:
    """The +CNMI to try, the best first. `offered`: what +CNMI=? said: `(0-2),(0,1),(0),(0-2),(0,1)`."""
    ranges = [_numbers(inside) for inside in re.findall(r"\(([^)]*)\)", offered)]
    if len(ranges) < 5:
        return [(2, 1, 0, 1, 0), (2, 1, 0, 2, 0), (2, 1, 0, 0, 0), (1, 1, 0, 0, 0)]
    wanted = [(2, 1, 3), (1,), (0,), (1, 2, 0) if reports else (0,), (0, 1)]
    best = [next((n for n in want if n in has), 0) for want, has in zip(wanted, ranges, strict=False)]
    return [tuple(best), (2, 1, 0, best[3], 0), (2, 1, 0, 0, 0)]


def _is_busy(failed: CommandFailed) -> bool:
    return cause_of(failed) is Cause.BUSY


def _numbers(inside: str) -> set[int]:
    found: set[int] = set()
    for low, high in re.findall(r"(\d)(?:-(\d))?", inside):
        found |= set(range(int(low), int(high or low) + 1))
    return found


async def told(at: At, command: str) -> str:
    """Its first information line without the prefix; empty when it refuses. Raises: NoAnswer, LineLost."""
    try:
        return _first((await at.ask(command)).lines)
    except CommandFailed:
        return ""


async def done(at: At, command: str) -> bool:
    """Whether it took the command. Raises: NoAnswer, LineLost."""
    try:
        await at.ask(command)
    except CommandFailed:
        return False
    return True


def plain(said: str) -> str:
    """Untrusted words made short and printable."""
    return "".join(letter for letter in said if letter.isprintable())[:_LONGEST].strip(' "')


def _first(lines: tuple[bytes, ...]) -> str:
    # Line noise may stand before a line with its prefix; one without may be the whole answer.
    line = next((each for each in lines if prefix_of(each)), lines[0] if lines else b"")
    return re.sub(r"^[+^$*#%][A-Z0-9]+:\s*", "", line.decode("latin-1")).strip()


def _found(pattern: re.Pattern[str], said: str) -> str:
    found = pattern.search(said)
    return found[0] if found else ""
