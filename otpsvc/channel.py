"""What a channel is: one way out for messages, the plug-in point of otpsvc."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from msgspec import Struct

from otpsvc.address import AddressKind
from otpsvc.message import Message, Receipt, Report
from otpsvc.spot import Spot


class ChannelConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every `[channels.NAME]` table may say; a channel adds its own fields."""

    type: str
    #: What the widget calls this channel; empty: the label of its address kind.
    title: str = ""
    #: Templates of this channel; empty: the default ones. A tenant's own go before.
    subject: str = ""
    template: str = ""
    #: Seconds that one attempt to send may take.
    timeout: float = 10.0
    #: Attempts after the first before a route moves on to its next channel; the last
    #: channel is tried again until the deadline.
    retries: int = 2
    #: Messages a second; 0: no limit.
    rate: float = 0.0
    #: Messages on their way at the same time.
    concurrency: int = 32
    #: When the far end may have the message: send it once more under the same id, or leave it.
    on_uncertain: Literal["resend_once", "never_resend"] = "resend_once"
    #: Pass to the next channel of a route even when this one may have sent it.
    fallback_on_uncertain: bool = False

    def named_tenants(self) -> Mapping[str, tuple[str, ...]]:
        """Tenants that it names, by the key that does: they must be there."""
        return {}

    def puts(self, tenant: str) -> Spot | None:  # noqa: ARG002 - some types need it
        """Where what it sends for this tenant can be taken from by a feeder; None: nowhere."""
        return None

    def client(self) -> Spot | None:
        """What its broker knows it by, where a second one of that name would throw it out; None: nothing."""
        return None

    def warnings(self) -> Mapping[str, str]:
        """Sentences that the operator should read at a start, by the key that they are about."""
        return {}


@runtime_checkable
class Changes(Protocol):
    """A channel that takes over another config while it runs, because nobody else could have its lines."""

    async def change(self, config: Any) -> None:
        """What is on its way ends first. Raises: ConfigError."""


class Channel:
    """A way out. A new one is a subclass with `Config`, `address` and `send`.

    `send` raises `Refused`, `Unavailable` or `Uncertain` and nothing else; it may
    be cancelled at any await and must still serve the next call. Retries, time
    limits, rate and fallback live in `deliver.py`, never here. A channel never
    logs text, code or full address.
    """

    Config: ClassVar[type[ChannelConfig]] = ChannelConfig
    address: AddressKind

    def __init__(self, config: Any, report: Report) -> None:
        self.config = config
        self.report = report

    @property
    def elsewhere(self) -> bool:
        """Another process has its far end now, and serves every route with it: this one claims nothing."""
        return False

    async def __aenter__(self) -> Self:
        """Open lines and start readers. Must not fail because a far end is down."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what was opened; safe to call twice."""

    async def send(self, message: Message) -> Receipt:
        """Hand one message over.

        Raises: Refused, Unavailable, Uncertain.
        """
        raise NotImplementedError

    async def ping(self) -> str:
        """One short phrase when the far end can be reached ("ok", "3 of 4 modems ready").

        Raises: Unavailable.
        """
        return "ok"
