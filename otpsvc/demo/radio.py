"""The shop's own modem and its network, both emulated: the channel `gsm` talks AT to it over a pty.

What a phone shows is what the network was handed, not what the service meant to send.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Self

from otpsvc.demo.fault import Mood
from otpsvc.demo.handset import KEPT, Handset
from otpsvc.gsm.emulator import Arrived, EmulatedModem, Network, Transmitted

#: Seconds that a text is in the air, and that its delivery report takes. Real ones take longer.
_AIR: Final = 0.2
_REPORT: Final = 1.5
#: What each text comes to: see `otpsvc/gsm/emulator/faults.py`.
_EVERY: Final[Mapping[Mood, str]] = {"lost": "silent sent", "silent": "silent", "refuses": "CMS 1"}
#: The first word that can be a code: ours stand at the beginning.
_CODE: Final = re.compile(r"\b[0-9A-Z]{6,10}\b")


class Radio:
    """`async with Radio(handset) as radio:` plugs the modem in at `radio.path`, in a private folder.

    `mood`: unplugged, lost (the text leaves, its answer does not come), silent (neither), refuses.
    """

    def __init__(self, handset: Handset) -> None:
        self.mood: Mood = "works"
        self._handset = handset
        self._network = Network(latency=_AIR)
        self._network.heard = self._arrived
        self._modem = EmulatedModem(self._network, report_delay=_REPORT)

    async def __aenter__(self) -> Self:
        await self._modem.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._modem.__aexit__(None, None, None)

    @property
    def path(self) -> str:
        """Where the service finds the port, plugged in or not."""
        return self._modem.path

    async def become(self, mood: Mood) -> None:
        """Change the mood; plugged in again, the modem starts anew."""
        self.mood = mood
        self._modem.quirks.every = _EVERY.get(mood, "ok")
        self._modem.quirks.report = "never" if mood == "silent" else "once"
        await (self._modem.unplug() if mood == "unplugged" else self._modem.plug())

    def _arrived(self, text: Arrived) -> None:
        parts = self._network.parts[-text.parts :]
        found = _CODE.search(text.text)
        self._handset.keep(
            at=text.at,
            to=text.to,
            text=text.text,
            code=found[0] if found else "",
            by="modem",
            raw=_shown(text, parts),
        )
        del self._network.sent[:-KEPT], self._network.parts[:-KEPT]


def _shown(text: Arrived, parts: Sequence[Transmitted]) -> str:
    """What the network knows of a text, for people."""
    first = parts[0].submit
    alphabet = {"gsm7": "GSM 7-bit", "ucs2": "UCS-2"}.get(first.data.coding, first.data.coding)
    facts = {
        "from": f"{text.modem} (its SIM)",
        "to": text.to,
        "parts": str(text.parts),
        "alphabet": f"{alphabet}, {len(text.text)} characters",
        "validity": _validity(text.validity),
        "class": "0, shown at once" if text.class0 else "none, kept by the phone",
        "report": "asked for" if first.report else "not asked for",
        "reference": ", ".join(str(part.reference) for part in parts),
    }
    return "\n".join(f"{name:<10} {value}" for name, value in facts.items())


def _validity(seconds: int | None) -> str:
    """How long the network tries: never much longer than the code lives."""
    return "as long as the network likes" if seconds is None else f"{-(-seconds // 60)} minutes"
