"""The store on Redis >= 6.2 or Valkey: one script per change of state."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from otpsvc.challenge import MessageRecord, unpack, unpack_message
from otpsvc.message import Lane, MessageState
from otpsvc.store import Answer, Batch, Claimed, Creation, Guess, Resend, Wake
from otpsvc.stores.batcher import RUN_ID, Batcher, Listener
from otpsvc.stores.connection import Connector, Script
from otpsvc.tenant import PURPOSES, Rate

LUA: Final = Path(__file__).parent / "lua"
STATES: Final = {state: at for at, state in enumerate(MessageState)}
GLOBAL: Final = "{global}"
#: No two clocks drift apart by more than this part of the time that goes by.
DRIFT: Final = 0.0005


def _script(name: str) -> Script:
    prelude = (LUA / "prelude.lua").read_text()
    return Script(name, prelude + (LUA / f"{name}.lua").read_text())


NAMES: Final = (
    "create", "resend", "check", "read", "claim", "progress", "reserve", "unreserve", "once", "enqueue",
)  # fmt: skip


class _Clock(NamedTuple):
    """A tenant's clock as this process knows it.

    Its epoch, and by how many milliseconds it was ahead of the monotonic clock at `at` of that.
    """

    epoch: int = 0
    ahead: float = 0.0
    at: float = 0.0

    def ahead_now(self, moment: float) -> float:
        # Fades, so that a clock that runs slower is never taken for one that was set back.
        return self.ahead - (moment - self.at) * DRIFT


class RedisStore:
    """`fenced`: the server may lose writes, so its run id opens a new epoch (D9)."""

    def __init__(
        self,
        url: str,
        *,
        fenced: bool,
        timeout: float = 0.9,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout`: seconds that one step may take before StoreUnavailable."""
        self._scripts = {name: _script(name) for name in NAMES}
        self._connector = Connector(url, scripts=self._scripts.values())
        self._batcher = Batcher(self._connector, timeout=timeout)
        # Behind a sentinel a replica may take over that lacks the last writes.
        self._run: Any = RUN_ID if fenced or self._connector.fails_over else b""
        self._listener: Listener | None = None
        self._monotonic = monotonic
        # By tenant: each must note for itself that the store's clock was set back.
        self._clocks: dict[str, _Clock] = {}

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        await self._batcher.close()

    async def _step(self, name: str, keys: list[str], tenant: str, *args: Any) -> list[Any]:
        """Run a script that reads the tenant's clock; note what it says about the time."""
        moment = self._monotonic() * 1000
        known = self._clocks.get(tenant, _Clock())
        clock = (self._run, b"%d" % (moment + known.ahead_now(moment)), known.epoch, "{" + tenant + "}")
        script = self._scripts[name]
        return await self._batcher.script(script, keys, (*clock, *args), repeatable=True)  # type: ignore[no-any-return]

    def _note(self, tenant: str, now: int, epoch: int) -> None:
        moment = self._monotonic() * 1000
        ahead, known = now - moment, self._clocks.get(tenant)
        # Answers come late, never early: the highest value is the truest.
        if known is None or known.epoch != epoch or ahead > known.ahead_now(moment):
            self._clocks[tenant] = _Clock(epoch, ahead, moment)

    def _answer(self, tenant: str, got: list[Any]) -> Answer:
        outcome, now, epoch, raw, wait = got
        word = outcome.decode()
        if word != "done":  # whose time is that of the first answer
            self._note(tenant, now, epoch)
        return Answer(word, now, unpack(raw) if raw else None, wait)

    async def create(self, creation: Creation) -> Answer:
        c, once = creation, creation.once
        tag = "{" + c.tenant + "}"
        keys = [
            f"otp:{tag}:{c.n}",
            f"clock:{tag}",
            f"budget:{tag}:sends",
            f"once:{tag}:{once.name}" if once else f"once:{tag}",
        ]
        got = await self._step(
            "create", keys, c.tenant, c.n, c.op, c.gen, c.kid, c.purpose, c.flags, c.kind, c.dest,
            c.digest, c.salt, c.route, c.ttl, c.cap, c.max_attempts, c.max_sends, _waits(c.waits),
            c.blob, c.body, *_rate(c.sends), once.fingerprint if once else b"",
            c.lease,
        )  # fmt: skip
        return self._answer(c.tenant, got)

    async def resend(self, resend: Resend) -> Answer:
        r = resend
        tag = "{" + r.tenant + "}"
        keys = [f"otp:{tag}:{r.n}", f"clock:{tag}", f"budget:{tag}:sends"]
        got = await self._step(
            "resend", keys, r.tenant, r.n, r.op, _waits(r.waits), *_rate(r.sends), r.lease,
            r.gen, r.new_gen, r.kid, r.digest, r.salt, r.body, r.blob,
        )  # fmt: skip
        return self._answer(r.tenant, got)

    async def check(self, guess: Guess) -> Answer:
        g = guess
        if g.limits is None:
            limits: tuple[int, ...] = (0, 0, 0, 0, 0, 0)
        else:
            limits = (*(r.count for r in g.limits), *(r.window * 1000 for r in g.limits))
        pairs: list[bytes] = []
        for offer in g.offers:
            pairs += (offer.scheme.encode() + offer.kid, offer.digest)
        got = await self._step(
            "check", _keys(g.tenant, g.n), g.tenant, g.n, g.op, g.client, *limits, g.gen, *pairs
        )
        return self._answer(g.tenant, got)

    async def _read(self, tenant: str, n: str, op: bytes, action: str, *more: bytes | str | int) -> Answer:
        args = more or ("", b"", b"", b"", 0)
        return self._answer(tenant, await self._step("read", _keys(tenant, n), tenant, n, op, action, *args))

    async def read(self, tenant: str, n: str) -> Answer:
        return await self._read(tenant, n, b"", "read")

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
        assert len(needs) == len(PURPOSES)
        proof = receipt or (b"", b"")
        action = "consume" if consume else "status"
        return await self._read(tenant, n, op, action, needs, *proof, gen, until)

    async def cancel(self, tenant: str, n: str, op: bytes) -> Answer:
        return await self._read(tenant, n, op, "cancel")

    async def reserve(self, guards: Sequence[tuple[str, Sequence[Rate]]]) -> tuple[float, int]:
        keys = [f"guard:{GLOBAL}:{name}" for name, _ in guards]
        args: list[int] = []
        for _, rates in guards:
            args.append(len(rates))
            for rate in rates:
                args += (rate.count, rate.window * 1000)
        wait, which = await self._batcher.script(self._scripts["reserve"], keys, args, repeatable=True)
        return wait, which - 1

    async def unreserve(self, names: Sequence[str]) -> None:
        keys = [f"guard:{GLOBAL}:{name}" for name in names]
        # Not repeatable: a lost answer leaves one place taken, never one too many given back.
        await self._batcher.script(self._scripts["unreserve"], keys)

    async def once(self, tenant: str, name: str, fingerprint: bytes, op: bytes) -> Answer:
        key = f"once:{{{tenant}}}:{name}"
        outcome, stored = await self._batcher.script(
            self._scripts["once"], [key], [fingerprint, op], repeatable=True
        )
        if not stored:
            return Answer(outcome.decode(), 0)
        (now,) = struct.unpack_from("<d", stored)
        return Answer("done", now, unpack(stored[8:]))

    async def release_once(self, tenant: str, name: str) -> None:
        await self._batcher.call("DEL", f"once:{{{tenant}}}:{name}", repeatable=True)

    async def reset_budget(self, tenant: str, dest: bytes) -> None:
        prefix = b"budget:{%s}:%s" % (tenant.encode(), dest)
        keys = [prefix + bytes([at]) + kind for at in range(len(PURPOSES)) for kind in (b"", b"t")]
        await self._batcher.call("DEL", *keys, repeatable=True)

    async def enqueue(
        self, tenant: str, n: str, *, route: str, lane: Lane, ttl: int, meta: bytes, body: bytes
    ) -> str:
        keys = [f"msg:{{{tenant}}}:{n}", f"clock:{{{tenant}}}", _due(tenant, route, lane)]
        got = await self._step("enqueue", keys, tenant, n, route, lane, ttl, meta, body)
        self._note(tenant, got[1], got[2])
        return got[0].decode()  # type: ignore[no-any-return]

    async def message(self, tenant: str, n: str) -> MessageRecord | None:
        raw = await self._batcher.call("GET", f"msg:{{{tenant}}}:{n}", repeatable=True)
        return unpack_message(raw) if raw and len(raw) > 1 else None

    async def claim(self, tenant: str, route: str, lane: Lane, *, limit: int, lease: int) -> Batch:
        keys = [_due(tenant, route, lane), f"clock:{{{tenant}}}"]
        now, epoch, next_due, rows, ended = await self._step("claim", keys, tenant, route, limit, lease)
        self._note(tenant, now, epoch)
        taken = [
            _claimed(tenant, route, lane, member=member.decode(), raw=raw, now=now) for member, raw in rows
        ]
        return Batch(now, float(next_due), taken, ended)

    async def _progress(self, claimed: Claimed, action: str, *args: int | str) -> str:
        c = claimed
        kind = "otp" if c.challenge is not None else "msg"
        keys = [f"{kind}:{{{c.tenant}}}:{c.n}", f"clock:{{{c.tenant}}}", _due(c.tenant, c.route, c.lane)]
        got = await self._step("progress", keys, c.tenant, c.member, c.fence, c.gen, action, *args)
        self._note(c.tenant, got[1], got[2])
        return got[0].decode()  # type: ignore[no-any-return]

    async def beat(self, claimed: Claimed, *, lease: int) -> str:
        return await self._progress(claimed, "beat", lease, 0, "", 0, 0)

    async def later(self, claimed: Claimed, *, delay: int, way: int, reason: str, uncertain: bool) -> str:
        return await self._progress(claimed, "later", delay, way, reason[:60], 0, int(uncertain))

    async def finish(
        self, claimed: Claimed, *, state: MessageState, way: int, reason: str, uncertain: bool
    ) -> str:
        return await self._progress(claimed, "finish", 0, way, reason[:60], STATES[state], int(uncertain))

    async def check_values(self, values: Sequence[tuple[str, bytes]]) -> list[str]:
        differing = []
        for name, value in values:
            key = f"meta:{GLOBAL}:key:{name}"
            await self._batcher.call("SET", key, value, "NX", repeatable=True)
            if await self._batcher.call("GET", key, repeatable=True) != value:
                differing.append(name)
        return differing

    async def ping(self) -> str:
        await self._batcher.call("PING", repeatable=True)
        return "ok"

    def listen(self, wake: Wake) -> None:
        def heard(payload: bytes) -> None:
            tag, route, lane = payload.decode().split(" ")
            wake(tag.strip("{}"), route, lane)  # type: ignore[arg-type]

        self._listener = Listener(self._connector, "otpsvc:wake", heard)
        self._listener.start()


def _keys(tenant: str, n: str) -> list[str]:
    return [f"otp:{{{tenant}}}:{n}", f"clock:{{{tenant}}}"]


def _due(tenant: str, route: str, lane: Lane) -> str:
    return f"due:{{{tenant}}}:{route}:{lane}"


def _waits(waits: tuple[int, ...]) -> str:
    return ",".join(str(wait * 1000) for wait in waits)


def _rate(rate: Rate | None) -> tuple[int, int]:
    return (rate.count, rate.window * 1000) if rate else (0, 0)


def _claimed(tenant: str, route: str, lane: Lane, *, member: str, raw: bytes, now: int) -> Claimed:
    at = time.monotonic()
    if member[0] == "c":
        record = unpack(raw)
        left = (record.deadline - now) / 1000
        return Claimed(tenant, route, lane, member, record.fence, record.gen, record, None, left, at)
    message = unpack_message(raw)
    left = (message.deadline - now) / 1000
    return Claimed(tenant, route, lane, member, message.fence, b"", None, message, left, at)
