"""What all commands of a modem work on: its SIM, memories, settings and registration."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Final

from msgspec import Struct, field

from otpsvc.gsm.emulator.dialogue import Dialogue
from otpsvc.gsm.emulator.faults import OK, Fault
from otpsvc.gsm.emulator.network import Network
from otpsvc.gsm.emulator.quirks import Menu, Quirks
from otpsvc.gsm.emulator.sim import Refusal, Sim
from otpsvc.gsm.emulator.storage import Memory

#: Registered: at home, or roaming. (27.007, 7.2)
REGISTERED: Final = frozenset({1, 5})


class Settings(Struct):
    """What a reset forgets. `plain`: what is only remembered, by the command's name."""

    text_mode: bool = False
    charset: str = "GSM"
    cnmi: tuple[int, int, int, int, int] = (2, 1, 0, 0, 0)
    #: +CSMS: 1 wants each direct text acknowledged.
    service: int = 0
    memories: list[str] = field(default_factory=lambda: ["SM", "SM", "SM"])
    registration: dict[str, int] = field(default_factory=lambda: {"+CREG": 0, "+CGREG": 0, "+CEREG": 0})
    #: First octet, validity, PID and DCS of texts in text mode. (27.005, 3.1.3)
    parameters: list[int] = field(default_factory=lambda: [17, 167, 0, 0])
    headers: bool = False
    operator_format: int = 0
    plain: dict[str, str] = field(default_factory=dict)


class Unit(ABC):
    """A modem without its wire."""

    def __init__(self, network: Network, sim: Sim, quirks: Quirks, imei: str) -> None:
        self.network = network
        self.sim = sim
        self.quirks = quirks
        self.imei = imei
        self.settings = Settings()
        self.memories = {name: Memory(size, quirks.first_slot) for name, size in quirks.slots.items()}
        self.dialogue: Dialogue
        #: 27.007, 7.2: 0 not searching, 1 home, 2 searching, 3 denied, 5 roaming.
        self.stat = 0
        #: 27.007, 8.2: 1 full, 0 and 4 without radio.
        self.functionality = 1
        #: The USSD session: what may be replied, and the answer that is on its way.
        self.menu: Menu | None = None
        self.asked: asyncio.TimerHandle | None = None
        #: What the next AT+CMGS do, in order: words of `faults`.
        self.script: deque[str | Fault] = deque()
        #: When each AT+CMGS came, in seconds of `time.monotonic()`.
        self.handed: list[float] = []
        self._reference = 0

    # --- what the rest of the modem brings

    @abstractmethod
    def reboot(self) -> None: ...

    @abstractmethod
    def hang(self) -> None: ...

    @abstractmethod
    def pull(self) -> None:
        """Unplug at once."""

    @abstractmethod
    def restart_radio(self) -> None:
        """Search for the network, if SIM and functionality allow it."""

    @abstractmethod
    def freed(self) -> None:
        """There is room for what the network keeps."""

    @abstractmethod
    def acknowledge(self) -> None:
        """The client has the direct text. Raises Refusal when there is none."""

    @abstractmethod
    def indicate(self, *, clear: bool) -> None:
        """+CNMI was set: what waited for it is told, or forgotten."""

    # --- for the commands

    def hand(self) -> Fault:
        """An AT+CMGS came: how it goes wrong."""
        self.handed.append(time.monotonic())
        if self.script:
            entry = self.script.popleft()
            return Fault.of(entry) if isinstance(entry, str) else entry
        return OK if self.quirks.every == "ok" else Fault.of(self.quirks.every)

    def next_reference(self) -> int:
        """The TP-MR of the next part, 0 to 255."""
        self._reference = (self._reference + 1) % 256
        return self._reference

    @property
    def registered(self) -> bool:
        return self.stat in REGISTERED

    def need_network(self) -> None:
        """Raises Refusal while it is not registered."""
        if not self.registered:
            raise Refusal("CMS", 331)

    def memory(self, use: int) -> Memory:
        """`use` 0: read and delete, 1: write and send, 2: what comes in (27.005, 3.2.2)."""
        return self.memories[self.settings.memories[use]]

    def register(self, stat: int) -> None:
        """A change of registration, which is told to whoever asked for it."""
        if stat == self.stat:
            return
        self.stat = stat
        for name, mode in self.settings.registration.items():
            if mode:
                self.dialogue.unsolicited(f"{name}: {stat}")
        if self.registered:
            self.freed()
