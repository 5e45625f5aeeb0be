"""What surrounds a send: the guards before it, the place kept for it, the hand-over after it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from otpsvc.address import canonical
from otpsvc.keyring import Keyring
from otpsvc.letter import Draft, destination
from otpsvc.message import Lane
from otpsvc.refusal import blocked_refusal, guard_refusal
from otpsvc.request import client_prefix
from otpsvc.store import BARRED, Answer, Claimed, Store, claimed_challenge
from otpsvc.tenant import Rate, Tenant

Guards = Sequence[tuple[str, Sequence[Rate]]]


class Outbox(Protocol):
    """The part of the courier that verification sees."""

    def lease(self, tenant: str, route: str) -> int:
        """Keep a place and give milliseconds to fill it, or 0: then the message is queued."""

    def take(self, claimed: Claimed, draft: Draft | None = None) -> None:
        """Send what was claimed for a kept place."""

    def give_back(self, tenant: str, route: str) -> None:
        """The kept place is not needed."""

    def wake(self, tenant: str, route: str, lane: Lane) -> None:
        """Something was queued there."""


class Client(Struct, frozen=True):
    """Whose browser asks: the address, and whether we saw it ourselves or a tenant told us."""

    address: str = ""
    seen: bool = False


class Place(NamedTuple):
    """What was taken for a send: a kept place on a route (lease in ms, 0: none), and the guards."""

    route: str
    lease: int
    guards: Guards


class Dispatch:
    """Used by everything that makes a message leave."""

    def __init__(self, store: Store, outbox: Outbox, keyring: Keyring) -> None:
        self._store = store
        self._outbox = outbox
        self._keyring = keyring

    def client(self, client: Client) -> bytes:
        """What a client is counted by; empty when its address is not known."""
        if not client.address:
            return b""
        # An address that a tenant tells must not be able to use up one that we saw.
        return self._keyring.digest("seen" if client.seen else "told", client_prefix(client.address))[:8]

    async def reserve(self, tenant: Tenant, to: str, client: Client) -> Guards:
        """Take a place in every guard of a send. Raises: Limited, BadRequest (blocked), StoreUnavailable."""
        guards = self._guards(tenant, to, client)
        if to:
            wait, which = await self._store.reserve(guards, destination(self._keyring, to))
            if which == BARRED:
                raise blocked_refusal()
            if wait > 0:
                raise guard_refusal(guards[which][0], wait)
        return guards

    def keep(self, tenant: Tenant, route: str, guards: Guards) -> Place:
        """Keep a place in the outbox, if it has one."""
        return Place(route, self._outbox.lease(tenant.name, route) if route else 0, guards)

    async def release(self, tenant: Tenant, place: Place) -> None:
        """Nothing will be sent: give back the place and what the guards counted."""
        self._give_back(tenant, place)
        if place.guards:
            await self._store.unreserve([name for name, _ in place.guards])

    async def send(
        self, tenant: Tenant, n: str, place: Place, step: Awaitable[Answer], *, draft: Draft | None = None
    ) -> Answer:
        """Run the step that sends; hand the message over, or give back what was taken for it."""
        kept = place
        try:
            answer = await step
            if answer.outcome == "created":
                kept = self._hand_over(tenant, n, place, answer=answer, draft=draft)
        finally:
            self._give_back(tenant, kept)
        if answer.outcome != "created":
            await self.release(tenant, place._replace(lease=0))
        return answer

    def _give_back(self, tenant: Tenant, place: Place) -> None:
        if place.lease:
            self._outbox.give_back(tenant.name, place.route)

    def _hand_over(
        self, tenant: Tenant, n: str, place: Place, *, answer: Answer, draft: Draft | None
    ) -> Place:
        record = answer.record
        if record is None or not record.route:
            return place
        if not place.lease:
            self._outbox.wake(tenant.name, record.route, "otp")
            return place
        # The store may have kept an older generation, whose code is another.
        if draft is not None and record.gen != draft.gen:
            draft = Draft(draft.personal, record.gen)
        self._outbox.take(claimed_challenge(tenant.name, n, record, answer.now), draft)
        return place._replace(lease=0)

    def wake_events(self, tenant: Tenant) -> None:
        """A final event may have been written."""
        if tenant.callback_url:
            self._outbox.wake(tenant.name, "callback", "event")

    def _guards(self, tenant: Tenant, to: str, client: Client) -> list[tuple[str, Sequence[Rate]]]:
        limits = tenant.limits
        if not limits.enabled or not to:
            return []
        guards: list[tuple[str, Sequence[Rate]]] = []
        if limits.destination:
            guards.append(("d:" + self._keyring.name("dest", canonical(to)), limits.destination))
        if client.address and limits.client:
            guards.append(("c:" + self.client(client).hex(), limits.client))
        return guards
