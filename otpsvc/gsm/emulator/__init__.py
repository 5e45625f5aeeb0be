"""Modems that are not there: each is a pty that speaks AT, and all share one network.

For trying a program without hardware, and for tests: it misbehaves on demand (`Quirks`,
`faults`), and `Network` knows what was really transmitted.

    net = Network(latency=0.05)
    async with EmulatedModem(net, number="+6281100000001") as modem:
        ...  # a client opens modem.path
        await net.arrived(1)
"""

from __future__ import annotations

from otpsvc.gsm.emulator.faults import Fault
from otpsvc.gsm.emulator.modem import EmulatedModem
from otpsvc.gsm.emulator.network import Arrived, Network, Transmitted
from otpsvc.gsm.emulator.quirks import PROMPTS, Menu, Quirks

__all__ = ["PROMPTS", "Arrived", "EmulatedModem", "Fault", "Menu", "Network", "Quirks", "Transmitted"]
