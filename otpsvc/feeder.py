"""What a feeder is: one way in for commands other than HTTP, a plug-in point of otpsvc.

    broker ─> Feeder ─> Intake ─> relay        News ─> Feeder ─> broker

A feeder speaks one broker's protocol and nothing else. What a command means, whether it
was there before, and waiting for a store that is away live in the intake; connecting
again, waits between attempts and health live in `feeding.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

from msgspec import Meta, Struct

from otpsvc.spot import Spot
from otpsvc.tenant import Scope
from otpsvc.veiled import Veiled


class FeederConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every `[feeders.NAME]` table may say; a feeder adds its own fields."""

    type: str
    #: Whose commands these are, with its scopes, ways and limits.
    tenant: str
    #: The channel or route of texts and mails that name none; empty: the usual one.
    channel: str = ""
    #: Commands in hand at the same time; the broker keeps the others.
    at_once: Annotated[int, Meta(ge=1, le=10_000)] = 100
    #: Where answers may go (`*`: any characters); empty: nowhere but where the protocol itself says.
    replies: tuple[str, ...] = ()
    #: Set: only commands that another otpsvc sealed under the same secret are taken.
    secret: str = ""
    secret_file: str = ""

    def wanted_scopes(self) -> dict[str, Scope]:
        """What its tenant must be allowed, by the key that wants it."""
        return {}

    def takes(self, name: str, spot: Spot) -> bool:  # noqa: ARG002 - some types need it
        """Whether what a channel puts there comes to it as a command; `name`: of its table."""
        return False

    def client(self, name: str) -> Spot | None:  # noqa: ARG002 - some types need it
        """What its broker knows it by, where a second one of that name would throw it out; None: nothing."""
        return None

    def sources(self, name: str) -> tuple[str, ...]:  # noqa: ARG002 - some types need it
        """The queues or topics where its commands come from."""
        return ()

    def has(self, name: str, place: str) -> bool:
        """Whether what is put into this queue or topic comes back to it: no answer may go there."""
        return place in self.sources(name)


class Frame(Veiled, frozen=True, kw_only=True):
    """One message as a broker handed it over.

    `id`: the broker's or publisher's own id; two deliveries with one id and body are one
    request. `again`: the broker says that it may have been delivered before. `shared`:
    other consumers got the same one. `asked`: somebody waits for an answer at a place that
    the protocol tells. `literal`: a Python literal is read too, as the Pico gateway did.
    """

    body: bytes
    id: str = ""
    again: bool = False
    shared: bool = False
    asked: bool = False
    literal: bool = False


State = Literal["queued", "sending", "sent", "delivered", "failed", "expired", "refused"]


class Note(Veiled, frozen=True, kw_only=True):
    """Where a message is, for whoever gave it the id `id` (empty: nobody did).

    `message`: our own id, empty when it was refused; `error`: a code word.
    """

    id: str
    message: str = ""
    status: State
    error: str = ""


class Taken(Veiled, frozen=True, kw_only=True):
    """What became of a frame: it may be acknowledged.

    `answer`: JSON, empty when nobody wants one. `refusals`: the code word of each command
    that was refused for good, by its place; `listed`: there were several. `callback`,
    `delay` (seconds): where the frame itself wants its answer; empty unless `replies`
    allow it. `notes`: the messages that it asked for.
    """

    answer: bytes = b""
    refusals: Mapping[int, str] = {}
    commands: int = 1
    callback: str = ""
    delay: float = 0.0
    notes: tuple[Note, ...] = ()

    @property
    def refused(self) -> str:
        """The code word when nothing of it was done: it is dead; empty otherwise."""
        return next(iter(self.refusals.values())) if len(self.refusals) == self.commands else ""


class Intake(Protocol):
    """Runs what a frame asks for. Implemented by `intake.py`."""

    async def take(self, frame: Frame) -> Taken:
        """Waits as long as the store is away; may be cancelled, and asked again with `again`."""

    def replies_to(self, place: str) -> bool:
        """Whether answers may go there (`replies`)."""


class Text(Veiled, frozen=True, kw_only=True):
    """A text that came in, to be told of. `at`: seconds since the epoch; `code`: found in it, if wanted."""

    id: str
    mark: str
    modem: str
    sender: str
    text: str
    at: float
    complete: bool = True
    code: str = ""


class News(Protocol):
    """What a feeder tells its broker of: durable, in order, at least once. Implemented by `forwarding.py`."""

    async def next_text(self) -> Text:
        """The oldest text that came in for the tenant and was not told of; waits for one."""

    async def told_text(self, text: Text) -> None:
        """The broker has it. Raises: StoreUnavailable."""

    async def watch(self, notes: Sequence[Note]) -> None:
        """From now on tell where these are, until their end. Raises: StoreUnavailable."""

    async def next_note(self) -> Note:
        """A watched message whose state changed; waits for one."""

    async def told_note(self, note: Note) -> None:
        """The broker has it. Raises: StoreUnavailable."""

    async def count(self) -> tuple[int, float]:
        """Texts that came in since the feeder started, and seconds since the last one (-1: none)."""


#: How many, and a short phrase without an address or a text; empty: nothing does.
Beside = Callable[[], tuple[int, str]]


class Tally(Protocol):
    """How a feeder is, for health, metrics and `otpsvc feeders`. Of `feeding.py`; never blocks.

    `beside` is asked how many messages were run and are in hand yet, and what holds them up.
    """

    beside: Beside

    def up(self) -> None:
        """Connected and consuming."""

    def lag(self, count: int) -> None:
        """Messages that wait at the broker, where it tells."""

    def dead_lettered(self, reason: str) -> None: ...

    def lost(self, count: int) -> None:
        """Messages that were in hand at a door that cannot acknowledge, when it closed."""


def _nobody(_place: str) -> bool:
    return False


class Lent(Struct, frozen=True, kw_only=True):
    """What a feeder is given. `taken`: whether a feeder of its type has this queue or topic."""

    intake: Intake
    tally: Tally
    news: News
    taken: Callable[[str], bool] = _nobody


def heed_cancellation() -> None:
    """Raise what was swallowed, as `asyncio.wait_for` of Python 3.11 may do: who must end may not go on.

    Raises: CancelledError.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Feeder:
    """A way in. A new one is a subclass with `Config` and `session`."""

    Config: ClassVar[type[FeederConfig]] = FeederConfig
    #: One node at a time may hold the line, because the broker knows one client of this name.
    exclusive: ClassVar[bool] = False

    def __init__(self, name: str, config: Any, lent: Lent) -> None:
        """`name`: of its table."""
        self.name = name
        self.config = config
        self.lent = lent

    @classmethod
    def check(cls, config: Any) -> None:
        """Look at files and packages. Raises: ConfigError, whose `key` is one of the table's."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what was opened; safe to call twice."""

    async def session(self) -> None:
        """One connection: open it, consume until it ends. May be cancelled, and is called again.

        Raises: BrokerGone (tried again soon), BrokerRefused (tried again much later).
        """
        raise NotImplementedError

    async def drain(self) -> None:
        """Take no more, and end what is in hand; the session is cancelled after it."""
