"""One emulated modem: plug it in, pull it out, start it anew, let it hang."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from otpsvc.gsm.emulator import general, texts, ussd
from otpsvc.gsm.emulator.dialogue import Dialogue, Lines, Steps
from otpsvc.gsm.emulator.faults import Fault
from otpsvc.gsm.emulator.general import Command
from otpsvc.gsm.emulator.incoming import Incoming
from otpsvc.gsm.emulator.network import Network
from otpsvc.gsm.emulator.parse import Call
from otpsvc.gsm.emulator.quirks import Quirks
from otpsvc.gsm.emulator.sim import Refusal, Sim
from otpsvc.gsm.emulator.storage import Memory
from otpsvc.gsm.emulator.unit import Settings, Unit
from otpsvc.gsm.emulator.wire import Wire

_COMMANDS: Final[dict[str, Command]] = {**general.COMMANDS, **texts.COMMANDS, **ussd.COMMANDS}


class EmulatedModem(Unit):
    """Between `async with` it stands at `path`, a symlink that stays the same over replugging.

    `commands` is every command that came, without its arguments, with the time in seconds
    of `time.monotonic()`; `handed` the times of the AT+CMGS among them. `quirks` are the
    fields of `Quirks`. What is not named (number, IMEI, ICCID, IMSI) is another one for
    each modem of a network. Only the SIM and what lies in the memories survive a restart.
    """

    def __init__(
        self,
        network: Network,
        *,
        number: str = "",
        imei: str = "",
        iccid: str = "",
        imsi: str = "",
        pin: str = "",
        puk: str = "12345678",
        directory: Path | None = None,
        name: str = "modem",
        **quirks: Any,
    ) -> None:
        count = network.count()
        sim = Sim(
            pin=pin,
            puk=puk,
            iccid=iccid or _checked(f"89621100000000{count:04}"),
            imsi=imsi or f"51010{count:010}",
            number=number or f"+62811{count:07}",
            smsc=network.smsc,
        )
        super().__init__(network, sim, Quirks(**quirks), imei or _checked(f"3569380356{count:04}"))
        self._clean: Callable[[], object] = lambda: None
        if directory is None:
            # Short: some programs keep 31 characters of a path.
            directory = Path(tempfile.mkdtemp(prefix="gsm-"))
            self._clean = weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        self.directory = directory
        self.link = self.directory / name
        self.commands: list[tuple[str, float]] = []
        self.hung = False
        #: Between a restart and the first line after it.
        self.starting = False
        self._timers: set[asyncio.TimerHandle] = set()
        self._incoming = Incoming(self)
        self._wire = Wire(self._received, rate=self.quirks.rate)
        self.dialogue = Dialogue(self._write, self._command, self.quirks)

    async def __aenter__(self) -> Self:
        self.network.join(self)
        await self.plug()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pull()
        self.network.leave(self)
        self._clean()

    # --- what may be asked of it

    @property
    def number(self) -> str:
        return self.sim.number

    @property
    def path(self) -> str:
        """Where a client opens it, plugged in or not."""
        return str(self.link)

    @property
    def tty(self) -> str:
        """The device behind `path`; empty while unplugged."""
        return self._wire.tty

    @property
    def connected(self) -> bool:
        """A client has it open."""
        return self._wire.connected

    @property
    def pin_wrong(self) -> int:
        """How many wrong PINs were entered, ever."""
        return self.sim.wrong

    @property
    def storage(self) -> Memory:
        """The memory that texts come to."""
        return self.memory(2)

    def asked_for(self, word: str) -> int:
        """How often a command came, such as `+CMGS=` or `+CSQ`."""
        return sum(word == each for each, _ in self.commands)

    # --- what may be done to it

    async def unplug(self) -> None:
        """Its power goes too: it starts anew when it is plugged in again."""
        self.pull()
        await asyncio.sleep(0)

    async def plug(self, path: str | Path | None = None) -> None:
        """`path`: at another place from now on; a bare name lies beside the old one."""
        if path is not None:
            self.link = self.directory / path
        if not self._wire.plugged:
            self._wire.rate = self.quirks.rate
            self._wire.open(self.link)
            self._start(quiet=True)
        await asyncio.sleep(0)

    def pull(self) -> None:
        self._down()
        self._wire.close()

    def reboot(self) -> None:
        """Everything that is not in the SIM or a memory is forgotten, the answer that was due too."""
        self._down()
        if self._wire.plugged:
            self.starting = True
            self._later(self.quirks.boot_time, self._start)

    def hang(self) -> None:
        """Nothing is heard nor said any more; a text on its way is sent all the same."""
        self.hung = True

    def wake(self) -> None:
        """What was said meanwhile is lost, both ways."""
        self.hung = False
        self.freed()

    def fail_next(self, *faults: str | Fault) -> None:
        """How the next AT+CMGS go wrong, one after the other: words of `faults`."""
        for fault in faults:
            if isinstance(fault, str):
                Fault.of(fault)
        self.script.extend(faults)

    def say(self, line: str) -> None:
        """An unsolicited line, now."""
        self.dialogue.unsolicited(line)

    # --- life

    def _down(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self.asked is not None:
            self.asked.cancel()
        self.asked, self.menu = None, None
        self.hung = False
        self.stat = 0
        self._incoming.reset()
        self.dialogue.reset()

    def _start(self, *, quiet: bool = False) -> None:
        """`quiet`: nobody listens yet."""
        self.starting = False
        self.settings = Settings(cnmi=self.quirks.cnmi)
        self.functionality = 1
        self.dialogue.reset()
        self.sim.power(self.quirks.sim_busy)
        for line in () if quiet else self.quirks.boot:
            self.say(line)
        if quiet and not self.quirks.sim_busy:
            self._sim_ready()
        else:
            self.restart_radio()

    def restart_radio(self) -> None:
        self._later(self.quirks.sim_busy, self._sim_ready)

    def _sim_ready(self) -> None:
        if not (self.sim.present and self.sim.unlocked and self.functionality == 1):
            return
        for line in self.quirks.ready:
            self.say(line)
        if self.registered:
            return
        if self.quirks.registration:
            self.register(2)
            self._later(self.quirks.registration, self._found)
        else:
            self._found()

    def _found(self) -> None:
        self.register(self.quirks.stat)

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        """Not now: an answer that is due comes first."""

        def run() -> None:
            self._timers.discard(timer)
            do()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    # --- the line

    def _received(self, data: bytes) -> None:
        if not (self.hung or self.starting):
            self.dialogue.received(data)

    def _write(self, data: bytes) -> None:
        if not self.hung:
            self._wire.write(data)

    def _command(self, call: Call) -> Lines | Steps:
        self.commands.append((call.word, time.monotonic()))
        if special := self.quirks.answers.get(call.word):
            return self._special(special, call)
        command = _COMMANDS.get(call.name)
        if command is None or call.name in self.quirks.unsupported:
            raise Refusal
        return command(self, call)

    def _special(self, words: str, call: Call) -> Lines | Steps:
        if words.startswith(("+", "^", "*")):
            return (words,)
        fault = Fault.of(words)
        if fault.error is not None:
            raise Refusal(*fault.error)
        return self._strike(fault, call)

    def _strike(self, fault: Fault, call: Call) -> Steps:
        if fault.what == "late":
            yield fault.number
            lines = _COMMANDS[call.name](self, call)
            return (yield from lines) if isinstance(lines, Generator) else lines
        ends = {"silent": lambda: None, "hang": self.hang, "reboot": self.reboot, "unplug": self.pull}
        if fault.what in ends:
            yield ends[fault.what]
        return ()

    # --- the air

    def offer(self, pdu: str, length: int, *, report: bool) -> bool:
        """The network has something for it."""
        if not self.registered or self.hung or self.starting:
            return False
        return self._incoming.take(pdu, length, report=report)

    def freed(self) -> None:
        self.network.reachable(self)

    def acknowledge(self) -> None:
        self._incoming.acknowledge()

    def indicate(self, *, clear: bool) -> None:
        self._incoming.flush(clear=clear)


def _checked(digits: str) -> str:
    """With its check digit (ISO/IEC 7812-1, Annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 if place % 2 else 2)
        total += value - 9 if value > 9 else value
    return f"{digits}{-total % 10}"
