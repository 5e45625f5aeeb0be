"""What comes over the air, and where +CNMI sends it (27.005, 3.4.1)."""

from __future__ import annotations

import asyncio
import time

from otpsvc.gsm.emulator.sim import Refusal
from otpsvc.gsm.emulator.storage import Stored
from otpsvc.gsm.emulator.unit import Unit
from otpsvc.gsm.pdu import Deliver, StatusReport, read


class Incoming:
    """Stores, indicates or hands on each text and report of one modem."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        #: Lines that wait until +CNMI's mode lets them out.
        self._buffer: list[str] = []
        #: Ends the wait for +CNMA after a direct one.
        self._unacknowledged: asyncio.TimerHandle | None = None

    def reset(self) -> None:
        self._buffer.clear()
        self._settle()

    def take(self, pdu: str, length: int, *, report: bool) -> bool:
        """False: there is no room."""
        _, mt, _, ds, _ = self._unit.settings.cnmi
        if report:
            return self._report(pdu, length, ds)
        if mt == 2:
            return self._hand_on(f"+CMT: ,{length}\r\n{pdu}", pdu, length, report=False)
        name = self._unit.settings.memories[2]
        index = self._unit.memories[name].put(Stored(pdu, length))
        if index < 0:
            return False
        if mt == 1:
            self.tell(f'+CMTI: "{name}",{index}')
        return True

    def _report(self, pdu: str, length: int, ds: int) -> bool:
        if ds == 1:
            return self._hand_on(self._framed(pdu, length), pdu, length, report=True)
        if ds == 2:
            name = self._unit.quirks.report_memory
            index = self._unit.memories[name].put(Stored(pdu, length, report=True))
            if index < 0:
                return False
            self.tell(f'+CDSI: "{name}",{index}')
        return True

    def _framed(self, pdu: str, length: int) -> str:
        framing = self._unit.quirks.framing
        if framing == "no smsc":
            return f"+CDS: {length}\r\n{pdu[-2 * length :]}"
        if framing == "text":
            return "+CDS: " + in_text_mode(read(pdu))
        return f"+CDS: {length + (3 if framing == 'odd length' else 0)}\r\n{pdu}"

    def _hand_on(self, pair: str, pdu: str, length: int, *, report: bool) -> bool:
        """With +CSMS=1 the next one comes after the acknowledgement of this one (27.005, 3.4.4)."""
        if self._unacknowledged is not None:
            return False
        self.tell(pair)
        if self._unit.settings.service == 1:
            seconds, loop = self._unit.quirks.acknowledge, asyncio.get_running_loop()
            self._unacknowledged = loop.call_later(seconds, self._give_up, pdu, length, report)
        return True

    def _give_up(self, pdu: str, length: int, report: bool) -> None:
        """Nobody acknowledges: direct delivery ends, as 27.005 wants it, and the network keeps the text."""
        self._unacknowledged = None
        mode, _, bm, _, clear = self._unit.settings.cnmi
        self._unit.settings.cnmi = mode, 0, bm, 0, clear
        self._unit.network.give_back(self._unit.sim.number, pdu, length, report=report)

    def acknowledge(self) -> None:
        """AT+CNMA. Raises Refusal: CMS 340 when nothing waits for it."""
        if self._unacknowledged is None:
            raise Refusal("CMS", 340)
        self._settle()
        self._unit.freed()

    def _settle(self) -> None:
        if self._unacknowledged is not None:
            self._unacknowledged.cancel()
            self._unacknowledged = None

    def tell(self, line: str) -> None:
        """Now, or with mode 0 when it is changed."""
        if self._unit.settings.cnmi[0] == 0:
            self._buffer.append(line)
        else:
            self._unit.dialogue.unsolicited(line)

    def flush(self, *, clear: bool) -> None:
        """The mode was set anew."""
        if self._unit.settings.cnmi[0] == 0:
            return
        buffer, self._buffer = self._buffer, []
        for line in () if clear else buffer:
            self._unit.dialogue.unsolicited(line)


def in_text_mode(report: Deliver | StatusReport) -> str:
    """fo, mr, ra, tora, scts, dt, st (27.005, 3.4.1)."""
    assert isinstance(report, StatusReport)
    times = [
        time.strftime("%y/%m/%d,%H:%M:%S+00", time.gmtime(at)) for at in (report.submitted, report.discharged)
    ]
    return f'6,{report.reference},"{report.recipient}",145,"{times[0]}","{times[1]}",{report.status}'
