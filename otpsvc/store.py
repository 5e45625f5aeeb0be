"""What a store is: where challenges, messages and guards are kept, and each change of state.

Every method is one atomic step (one script, one round trip) and may be asked again with
the same `op` when its answer was lost: the first answer comes back. All of them raise
StoreUnavailable when the store does not answer in time. Times in answers are
milliseconds of the store's clock.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from otpsvc.challenge import MessageRecord, State
from otpsvc.message import Lane, MessageState
from otpsvc.step import (
    Answer,
    Batch,
    Claimed,
    Creation,
    Guess,
    Kept,
    Offer,
    Once,
    Posted,
    Posting,
    Resend,
    claimed_challenge,
)
from otpsvc.tenant import Rate

#: Seeded by the operating system in each process. Operation ids tell calls apart, they hide nothing.
_ops = random.Random()
# A fork would go on with the same numbers, and take another's answers for its own.
os.register_at_fork(after_in_child=_ops.seed)


def new_op() -> bytes:
    """An operation id: 8 random bytes."""
    return _ops.randbytes(8)


#: The scope that all tenants share; no tenant can have this name.
ALL: Final = "*"
#: In the answer of `reserve`: not a guard, the block list of all tenants.
BARRED: Final = -2
#: (tenant, route, lane): something is due there.
Wake = Callable[[str, str, Lane], None]


class Store(Protocol):
    """Implemented by `stores/redis.py` and `stores/memory.py`; one contract test holds both."""

    async def create(self, creation: Creation) -> Answer:
        """A challenge and its send.

        created | locked | sends | wait | budget | mismatch | running | done | blocked | changed (pinned).
        """

    async def resend(self, resend: Resend) -> Answer:
        """The same code once more.

        created | unknown | locked | closed | unsent | sends | wait | supplied | offer | budget | blocked.
        """

    async def check(self, guess: Guess) -> Answer:
        """verified | wrong (these two count) | locked | closed | unknown | unsent | offer | budget."""

    async def read(self, tenant: str, n: str) -> Answer:
        """read | unknown | void | expired. Changes nothing."""

    async def status(
        self,
        tenant: str,
        n: str,
        op: bytes,
        *,
        needs: str,
        receipt: tuple[bytes, bytes] | None,
        until: int = 0,
        gen: bytes = b"",
        consume: bool = False,
    ) -> Answer:
        """verified | open | unknown | void | expired.

        `needs`: one "0" or "1" per purpose: whether a receipt must be shown;
        `receipt`: (generation, operation) of a receipt, which is spent by this, and `until`
        when it holds (ms; 0: for ever), by the store's clock as it was made;
        `gen`: only this generation counts; `consume` forgets a verified challenge.
        """

    async def cancel(self, tenant: str, n: str, op: bytes) -> Answer:
        """cancelled | unknown | void | expired."""

    async def reserve(
        self, guards: Sequence[tuple[str, Sequence[Rate]]], dest: bytes = b""
    ) -> tuple[float, int]:
        """Take a place in every window of every guard, or in none: ms to wait or 0, which one refused.

        `dest`: also refused where all tenants' block list has it; which one is then BARRED.
        """

    async def unreserve(self, names: Sequence[str]) -> None:
        """Give the places of `reserve` back: nothing was sent."""

    async def once(self, tenant: str, name: str, fingerprint: bytes, op: bytes) -> Answer:
        """new | mine | running | mismatch | done (with the first answer's record and time)."""

    async def release_once(self, tenant: str, name: str) -> None:
        """Give a running Idempotency-Key up: its request had no effect."""

    async def reset_budget(self, tenant: str, dest: bytes) -> None:
        """Forget the wrong checks of a destination."""

    async def enqueue(self, posting: Posting) -> Posted:
        """Put a raw message into the outbox."""

    async def message(self, tenant: str, n: str) -> MessageRecord | None:
        """A raw message's record."""

    async def claim(self, tenant: str, route: str, lane: Lane, *, limit: int, lease: int) -> Batch:
        """Take due messages. `lease` in milliseconds."""

    async def beat(self, claimed: Claimed, *, lease: int) -> str:
        """Ok: still mine, the lease runs anew; lost: it is another's; ended: closed, changed or too late."""

    async def later(self, claimed: Claimed, *, delay: int, way: int, reason: str, uncertain: bool) -> str:
        """Give it back to be taken again after `delay` ms, by the `way`-th channel. ok | lost | ended."""

    async def finish(
        self,
        claimed: Claimed,
        *,
        state: MessageState,
        way: int,
        reason: str,
        uncertain: bool,
        parts: int = 0,
    ) -> str:
        """Its last word. ok | lost. `parts` is kept of raw messages."""

    async def report(self, tenant: str, member: str, *, gen: bytes, sends: int, ok: bool) -> str:
        """News of a message that was sent: it was delivered, or failed for good. ok | early | lost.

        `gen` (its first 4 bytes) and `sends` say which send of a challenge it was; b"" and 0
        for raw messages. `early`: it is still being sent. A failure counts as one of the send.
        """

    async def block(self, scope: str, dest: bytes, sealed: bytes) -> bool:
        """Let nothing be sent there. `scope`: a tenant, or ALL. True when it was not blocked before."""

    async def unblock(self, scope: str, dest: bytes) -> bool:
        """True when it was blocked."""

    async def blocked(self, scope: str, dest: bytes) -> bytes | None:
        """What was sealed with the blocking; None when it is not blocked there."""

    async def blocks(self, scope: str) -> list[tuple[bytes, bytes]]:
        """Every blocked destination, with what was sealed."""

    async def barred(self, dests: Sequence[bytes]) -> list[bool]:
        """Whether all tenants' block list has each."""

    async def keep_text(self, scope: str, id: str, sealed: bytes, *, life: int, most: int) -> bool:
        """Keep a text that came in for `life` ms, of each scope the newest `most`. False: it was known."""

    async def texts(self, scope: str, *, before: float = 0, limit: int = 100) -> list[Kept]:
        """The newest first; `before` (ms): only older ones."""

    async def first(
        self, tenant: str, name: str, token: bytes, *, life: int, within: int | None = None
    ) -> bytes:
        """The token of the first who asked for `name` within `life` ms: our own, or another one's.

        `name`: a keyed digest; `life` is always the same for it. `within` (ms): an older one
        does not count any more, and we are the first in its place.
        """

    async def hold(self, name: str, token: bytes, *, life: int) -> bool:
        """Take or renew a lease of all tenants for `life` ms. True: it is this token's now."""

    async def release(self, name: str, token: bytes) -> None:
        """Give a lease up, where it is this token's."""

    async def unread(self, scope: str, feeder: str, *, limit: int = 1) -> list[Kept]:
        """The texts after the last one that the feeder was told, the oldest first.

        Whoever asks for the first time was told all that came before.
        """

    async def advance(self, scope: str, feeder: str, id: str) -> None:
        """The feeder was told this text, and all before it."""

    async def arrivals(self, scope: str) -> int:
        """How many texts came in. Begins anew when none did for their whole life."""

    async def messages(self, tenant: str, ns: Sequence[str]) -> list[MessageRecord | None]:
        """Raw messages' records."""

    async def watch(
        self, tenant: str, feeder: str, watches: Sequence[tuple[str, bytes]], *, life: int, most: int
    ) -> None:
        """Keep for each n what was sealed, for `life` ms; of each feeder the newest `most`."""

    async def watched(self, tenant: str, feeder: str) -> list[tuple[str, bytes]]:
        """What `watch` keeps."""

    async def rewatch(self, tenant: str, feeder: str, n: str, sealed: bytes) -> None:
        """Another sealed value of one that is still watched; empty: forget it."""

    async def check_values(self, values: Sequence[tuple[str, bytes]]) -> list[str]:
        """Keep each key's check value if the store has none; the names whose value differs."""

    async def ping(self) -> str:
        """One word on the store. Raises: StoreUnavailable."""

    def listen(self, wake: Wake) -> None:
        """Call `wake` when another process put something into the outbox. Loss is fine."""


__all__ = [
    "ALL",
    "BARRED",
    "Answer",
    "Batch",
    "Claimed",
    "Creation",
    "Guess",
    "Kept",
    "Offer",
    "Once",
    "Posted",
    "Posting",
    "Resend",
    "State",
    "Store",
    "Wake",
    "claimed_challenge",
    "new_op",
]
