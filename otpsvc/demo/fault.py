"""What a visitor may break: how each far end of the demo can behave, and what to expect then."""

from __future__ import annotations

import asyncio
from typing import Final, Literal, Protocol

from msgspec import Struct

Mood = Literal["works", "down", "slow", "error", "refuses", "unplugged", "lost", "silent"]
#: Seconds that a slow far end takes.
SLOW: Final = 5.0


class Fault(Struct, frozen=True):
    """One position of a far end's switch. `expect`: one sentence about what it leads to."""

    mood: Mood
    title: str
    expect: str


class Switch(Struct, frozen=True):
    """A far end and what it can be switched to; the first one is how it starts."""

    name: str
    title: str
    faults: tuple[Fault, ...]


SWITCHES: Final = (
    Switch(
        "mail",
        "Mail server",
        (
            Fault("works", "Works", "Every mail is taken at once."),
            Fault(
                "down",
                "Down",
                "It refuses connections, so the mail stays queued and is tried again after about 1, 2, 4 and"
                " up to 20 seconds: switch it back on and the mail arrives.",
            ),
            Fault(
                "slow",
                "Slow",
                "It takes 5 seconds for each mail, and nobody waits for it but the mail: the shop has its"
                " answer at once.",
            ),
        ),
    ),
    Switch(
        "provider",
        "SMS provider",
        (
            Fault("works", "Works", "Every text message is taken at once."),
            Fault(
                "slow",
                "Slow",
                "It takes 5 seconds for each message, and nobody waits for it but the message: the shop has"
                " its answer at once.",
            ),
            Fault(
                "error",
                "Answers 500",
                "It fails, so the message stays queued and is tried again until its code expires: switch it"
                " back and the message arrives.",
            ),
            Fault(
                "refuses",
                "Says no",
                "It answers 422: never this message. otpsvc does not try again, the message has failed, and"
                " the shop is told so.",
            ),
        ),
    ),
    Switch(
        "modem",
        "The shop's modem",
        (
            Fault("works", "Works", "Every text goes into the air, and a delivery report comes back."),
            Fault(
                "unplugged",
                "Unplugged",
                "Its port is gone, so the message waits: switch it back and the modem is set up anew and"
                " sends it.",
            ),
            Fault(
                "lost",
                "Answer lost",
                "The text leaves, the modem's answer never comes: otpsvc does not send it twice but waits for"
                " the delivery report, which proves that it left.",
            ),
            Fault(
                "silent",
                "Silent",
                "No answer after the text and no report: after 10 seconds otpsvc hands it over once more, and"
                " after that says that nobody knows whether it left.",
            ),
            Fault(
                "refuses",
                "Says no",
                "The network answers +CMS ERROR 1, no such number: otpsvc does not try again, the message has"
                " failed, and the shop is told so.",
            ),
        ),
    ),
)


class FarEnd(Protocol):
    """What can be switched."""

    mood: Mood

    async def become(self, mood: Mood) -> None: ...


class Faults:
    """The switches of one run of the demo; the far ends by the names of their switches."""

    def __init__(self, **ends: FarEnd) -> None:
        self._ends = ends
        self._lock = asyncio.Lock()

    async def turn(self, name: str, mood: str) -> bool:
        """False when there is no such switch or position."""
        found = next((fault for fault in faults_of(name) if fault.mood == mood), None)
        if found is None:
            return False
        # Two visitors at once: a server is not to be opened twice.
        async with self._lock:
            await self._ends[name].become(found.mood)
        return True

    def mood(self, name: str) -> Mood:
        return self._ends[name].mood

    def now(self, name: str) -> Fault:
        """Where a switch stands."""
        return next(fault for fault in faults_of(name) if fault.mood == self.mood(name))

    @property
    def facts(self) -> tuple[str, ...]:
        """Changes when a switch is turned."""
        return tuple(self.mood(switch.name) for switch in SWITCHES)


def faults_of(name: str) -> tuple[Fault, ...]:
    """The positions of a switch; none when there is no such switch."""
    return next((switch.faults for switch in SWITCHES if switch.name == name), ())
