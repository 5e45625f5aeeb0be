"""The outbox on Redis: raw messages, what workers take and say, and the news that come later."""

from __future__ import annotations

import time
from typing import Final

from otpsvc.challenge import MessageRecord, unpack, unpack_message
from otpsvc.message import Lane, MessageState
from otpsvc.step import Batch, Claimed, Posted, Posting
from otpsvc.stores.redis_steps import RedisSteps, rate_args, tag

STATES: Final = {state: at for at, state in enumerate(MessageState)}


class RedisOutbox(RedisSteps):
    """The steps of `Store` that are about messages."""

    async def enqueue(self, posting: Posting) -> Posted:
        p, t = posting, tag(posting.tenant)
        keys = [
            f"msg:{t}:{p.n}",
            f"clock:{t}",
            _due(p.tenant, p.route, p.lane),
            f"budget:{t}:sends",
            # Apart from the keys of creates: the same name may open both.
            f"once:{t}:raw:{p.once}",
        ]
        outcome, now, epoch, n, raw, wait = await self._step(
            "enqueue", keys, p.tenant, p.n, p.route, p.lane, p.ttl, p.dest, p.meta, p.body,
            *rate_args(p.sends), p.once_life if p.once else 0,
        )  # fmt: skip
        self._note(p.tenant, now, epoch)
        return Posted(outcome.decode(), now, n.decode(), unpack_message(raw) if raw else None, wait)

    async def message(self, tenant: str, n: str) -> MessageRecord | None:
        raw = await self.call("GET", f"msg:{tag(tenant)}:{n}")
        return unpack_message(raw) if raw and len(raw) > 1 else None

    async def claim(self, tenant: str, route: str, lane: Lane, *, limit: int, lease: int) -> Batch:
        keys = [_due(tenant, route, lane), f"clock:{tag(tenant)}"]
        now, epoch, next_due, rows, ended = await self._step("claim", keys, tenant, route, limit, lease)
        self._note(tenant, now, epoch)
        taken = [
            _claimed(tenant, route, lane, member=member.decode(), raw=raw, now=now) for member, raw in rows
        ]
        return Batch(now, float(next_due), taken, ended)

    async def _progress(self, claimed: Claimed, action: str, *args: int | str) -> str:
        c = claimed
        keys = [_record(c.tenant, c.member), f"clock:{tag(c.tenant)}", _due(c.tenant, c.route, c.lane)]
        got = await self._step("progress", keys, c.tenant, c.member, c.fence, c.gen, action, *args)
        self._note(c.tenant, got[1], got[2])
        return got[0].decode()  # type: ignore[no-any-return]

    async def beat(self, claimed: Claimed, *, lease: int) -> str:
        return await self._progress(claimed, "beat", lease, 0, "", 0, 0)

    async def later(self, claimed: Claimed, *, delay: int, way: int, reason: str, uncertain: bool) -> str:
        return await self._progress(claimed, "later", delay, way, reason[:60], 0, int(uncertain))

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
        said = (way, reason[:60], STATES[state], int(uncertain), min(parts, 255))
        return await self._progress(claimed, "finish", 0, *said)

    async def report(self, tenant: str, member: str, *, gen: bytes, sends: int, ok: bool) -> str:
        keys = [_record(tenant, member), f"clock:{tag(tenant)}"]
        got = await self._step("report", keys, tenant, member, gen[:4], sends, int(ok))
        self._note(tenant, got[1], got[2])
        return got[0].decode()  # type: ignore[no-any-return]


def _due(tenant: str, route: str, lane: Lane) -> str:
    return f"due:{tag(tenant)}:{route}:{lane}"


def _record(tenant: str, member: str) -> str:
    """The key of a challenge (`c` and its n) or of a message (`m` and its n)."""
    return f"{'otp' if member[0] == 'c' else 'msg'}:{tag(tenant)}:{member[1:]}"


def _claimed(tenant: str, route: str, lane: Lane, *, member: str, raw: bytes, now: int) -> Claimed:
    at = time.monotonic()
    if member[0] == "c":
        record = unpack(raw)
        left = (record.deadline - now) / 1000
        return Claimed(tenant, route, lane, member, record.fence, record.gen, record, None, left, at)
    message = unpack_message(raw)
    left = (message.deadline - now) / 1000
    return Claimed(tenant, route, lane, member, message.fence, b"", None, message, left, at)
