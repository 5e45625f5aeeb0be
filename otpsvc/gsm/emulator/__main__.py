"""`python -m otpsvc.gsm.emulator`: modems to try a program with, until Ctrl-C.

Made for a person at a terminal: it prints the texts that arrive.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from otpsvc.gsm.emulator.modem import EmulatedModem
from otpsvc.gsm.emulator.network import Arrived, Network

_ENDS = """\
Each modem is a serial port: give its path to the program that is to send. Texts that arrive
are printed here in full. A line typed here, such as `1 Hello`, is a text that modem 1 receives.
End with Ctrl-C; the paths are gone then, unless --directory names a place for them.
"""


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m otpsvc.gsm.emulator",
        description="GSM modems that are not there: ptys that speak AT, and a network between them.",
        epilog=_ENDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--count", type=int, default=1, metavar="N", help="how many modems (default 1)")
    add("--pin", default="", help="the SIMs ask for this PIN; the PUK is 12345678")
    add("--latency", type=float, default=3.0, metavar="S", help="seconds of radio time a text (default 3)")
    add("--reports", choices=("direct", "stored", "none"), default="direct", help="delivery reports")
    add("--noise", type=float, default=0.0, metavar="P", help="how probable an unasked line is, 0 to 1")
    add("--rate", type=float, default=0.0, metavar="B", help="bytes a second of the line (default: no limit)")
    add("--directory", type=Path, metavar="DIR", help="where the paths are made: DIR/modem1, DIR/modem2, …")
    options = parser.parse_args(given)
    if not 1 <= options.count <= 99:
        parser.error("--count is 1 to 99")
    if options.directory is not None and not options.directory.is_dir():
        parser.error("--directory must be a directory that exists")
    return options


def _say(line: str) -> None:
    """What came over the air may not steer the terminal."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    sys.stdout.write(shown + "\n")
    sys.stdout.flush()


def _told(text: Arrived) -> None:
    parts = f", {text.parts} parts" if text.parts > 1 else ""
    _say(f"{text.modem} -> {text.to}{parts}: {text.text}")


def _typed(net: Network, modems: Sequence[EmulatedModem]) -> None:
    """A line of the person: the number of a modem, and the text that it receives."""
    line = os.read(sys.stdin.fileno(), 4096).decode(errors="replace")
    if not line:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        return
    which, _, text = line.strip().partition(" ")
    if not which.isdecimal() or not 1 <= int(which) <= len(modems) or not text:
        _say("Type the number of a modem and a text, such as: 1 Hello")
        return
    net.call(modems[int(which) - 1].number, text, "+6281234567")


async def run(options: argparse.Namespace) -> None:
    """Until SIGINT or SIGTERM."""
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    net = Network(latency=options.latency, reports=options.reports)
    net.heard = _told
    async with AsyncExitStack() as stack:
        modems = [await stack.enter_async_context(_modem(net, options, n + 1)) for n in range(options.count)]
        for modem in modems:
            _say(f"{modem.path}  number {modem.number}  IMEI {modem.imei}")
        try:
            loop.add_reader(sys.stdin.fileno(), _typed, net, modems)
        except (OSError, ValueError):
            _say("Nothing can be typed here.")
        _say("Texts that arrive are printed in full. Ctrl-C ends it.")
        await end.wait()


def _modem(net: Network, options: argparse.Namespace, number: int) -> EmulatedModem:
    return EmulatedModem(
        net,
        pin=options.pin,
        directory=options.directory,
        name=f"modem{number}",
        noise=options.noise,
        rate=options.rate,
    )


def main(given: Sequence[str] | None = None) -> None:
    asyncio.run(run(_arguments(given)))


if __name__ == "__main__":
    main()
