"""Check, read, status and cancel in the memory store: what opens, shows or closes a challenge."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from otpsvc.challenge import CANCELLED_BY, CREATED, SPENT, VERIFIED_BY, WRONG, Flag, State
from otpsvc.step import Answer, Guess
from otpsvc.stores.memory_challenge import Challenge
from otpsvc.stores.memory_space import GRACE, Budget, Space
from otpsvc.tenant import Rate

__all__ = ["Question", "cancel", "check", "read", "status"]

_WORDS = {CREATED: "created", WRONG: "wrong", VERIFIED_BY: "verified", CANCELLED_BY: "closed"}
#: Milliseconds that a verified challenge stays at least, and a consumed one for a repeated call.
VERIFIED_LIFE, CONSUMED_LIFE = 300_000, 3000


def check(space: Space, g: Guess) -> Answer:
    """As `Store.check`."""
    c = space.challenge(g.n)
    if c is None or c.epoch != space.epoch or space.now >= c.deadline or c.has(Flag.CONSUMED):
        return space.answer("unknown")
    if g.gen and g.gen != c.gen:
        return space.answer("unknown")
    if done := c.first_answer(g.op):
        return space.answer(_WORDS.get(done, "wrong"), c)
    if refused := _refused(space, c):
        return refused
    digest = _offered(c, g)
    if digest is None:
        return space.answer("offer", c)
    budget = _WrongChecks(space, c, g)
    if wait := budget.wait():
        return space.answer("budget", c, wait)
    if g.open_most and not _has_open_attempt(space, c, g):
        return space.answer("budget", c, c.deadline - space.now)
    c.attempts += 1
    if c.mix(digest) == c.digest:
        return _verified(space, c, g, budget)
    return _wrong(space, c, g, budget)


def _has_open_attempt(space: Space, c: Challenge, g: Guess) -> bool:
    """Count one of the few attempts that a client without a token has."""
    spent = space.open.get(g.n, space.now) or Counter()
    if spent[g.client] >= g.open_most:
        return False
    spent[g.client] += 1
    space.open.put(g.n, spent, c.deadline + GRACE)
    return True


def _refused(space: Space, c: Challenge) -> Answer | None:
    if c.state == State.LOCKED or (c.attempts >= c.max_attempts and c.state != State.VERIFIED):
        return space.answer("locked", c, c.deadline - space.now)
    if not c.waits_for_code:
        return space.answer("closed", c)
    return space.answer("unsent", c) if not c.route or c.sends == 0 else None


def _offered(c: Challenge, g: Guess) -> bytes | None:
    """The digest made by the record's scheme and key; without one nothing is counted."""
    if g.salt and g.salt != c.salt:
        return None
    wanted = ("a" if c.has(Flag.SLOW_HASH) else "h", c.kid)
    return next((offer.digest for offer in g.offers if (offer.scheme, offer.kid) == wanted), None)


def _verified(space: Space, c: Challenge, g: Guess, budget: _WrongChecks) -> Answer:
    space.unqueue(g.n, c)
    c.drop_queued()
    c.state, c.wait = State.VERIFIED, space.now
    # The answer to a status must stay for a while after a code typed in the last second.
    c.deadline = max(c.deadline, space.now + VERIFIED_LIFE)
    c.remember(g.op, VERIFIED_BY, c.attempts)
    budget.forgive()
    space.event(g.n, c, "v")
    space.keep(g.n, c)
    return space.answer("verified", c)


def _wrong(space: Space, c: Challenge, g: Guess, budget: _WrongChecks) -> Answer:
    c.remember(g.op, WRONG, c.attempts)
    budget.count()
    if c.attempts >= c.max_attempts:
        space.unqueue(g.n, c)
        c.drop_queued()
        c.state = State.LOCKED
        space.event(g.n, c, "l")
    space.keep(g.n, c)
    return space.answer("wrong", c)


class _WrongChecks:
    """The budgets of one guess: of its client and of all, or the small one of trusted challenges."""

    def __init__(self, space: Space, c: Challenge, g: Guess) -> None:
        self._space = space
        trusted = c.has(Flag.TRUSTED)
        self._key = Budget(c.dest, c.purpose, trusted)
        self._client = b"c" + g.client
        self._own: Rate | None = None
        self._all: Rate | None = None
        if g.limits:
            self._own = None if trusted else g.limits[0]
            self._all = g.limits[2] if trusted else g.limits[1]
        self._spent = space.wrong.get(self._key, space.now) or Counter()

    def wait(self) -> float:
        """Milliseconds until the budget is whole again; 0 while something is left."""
        if self._all is None:
            return 0
        own, total = self._spent[self._client], self._spent[b"all"]
        if total < self._all.count and (self._own is None or own < self._own.count):
            return 0
        return max(self._space.wrong.until(self._key) - self._space.now, 1000)

    def count(self) -> None:
        if self._all is None:
            return
        self._spent[self._client] += 1
        self._spent[b"all"] += 1
        now = self._space.now
        begun = self._spent[b"all"] > 1 and self._space.wrong.get(self._key, now) is not None
        window = self._all.window if self._key.trusted or self._own is None else self._own.window
        until = self._space.wrong.until(self._key) if begun else now + window * 1000
        self._space.wrong.put(self._key, self._spent, until)

    def forgive(self) -> None:
        """Whoever knew the code is not counted any more."""
        if self._all is not None:
            self._spent[b"all"] -= self._spent.pop(self._client, 0)


class Question(Struct, frozen=True, kw_only=True):
    """What a status asks, see `Store.status`."""

    op: bytes
    needs: str
    receipt: tuple[bytes, bytes] | None
    until: int = 0
    gen: bytes
    consume: bool


def read(space: Space, n: str, op: bytes = b"") -> Answer:
    """As `Store.read`; `op`: a repeat sees what was consumed by itself."""
    c = space.challenge(n)
    if c is None:
        return space.answer("unknown")
    if c.epoch != space.epoch:
        return space.answer("void", c)
    if space.now >= c.deadline:
        return space.answer("expired", c)
    if c.has(Flag.CONSUMED) and not c.first_answer(op):
        return space.answer("unknown")
    return space.answer("read", c)


def cancel(space: Space, n: str, op: bytes) -> Answer:
    """As `Store.cancel`."""
    found, c = read(space, n, op), space.challenge(n)
    if found.outcome != "read" or c is None:
        return found
    if not c.first_answer(op) and c.waits_for_code:
        space.unqueue(n, c)
        c.drop_queued()
        space.queue("callback", "event").pop("x" + n, None)
        c.state = State.CANCELLED
        c.remember(op, CANCELLED_BY, c.attempts)
        space.keep(n, c)
    return space.answer("cancelled", c)


def status(space: Space, n: str, q: Question) -> Answer:
    """As `Store.status`."""
    found, c = read(space, n, q.op), space.challenge(n)
    if found.outcome != "read" or c is None:
        return found
    if q.gen and q.gen != c.gen:
        return space.answer("unknown")
    if c.state != State.VERIFIED:
        return space.answer("open", c)
    if c.first_answer(q.op):
        return space.answer("verified", c)
    if q.receipt:
        late = 0 < q.until <= space.now
        if late or not _spend(c, q.receipt):
            return space.answer("open", c)
        c.remember(q.op, SPENT, 0)
        space.keep(n, c)
    elif q.needs[c.purpose] == "1":
        return space.answer("open", c)
    told = space.answer("verified", c)
    if q.consume:
        _consume(space, n, c, q.op)
    return told


def _spend(c: Challenge, receipt: tuple[bytes, bytes]) -> bool:
    gen, op = receipt
    if gen != c.gen or c.first_answer(op) != VERIFIED_BY or c.has(Flag.RECEIPT_USED):
        return False
    c.flags |= Flag.RECEIPT_USED
    return True


def _consume(space: Space, n: str, c: Challenge, op: bytes) -> None:
    c.flags |= Flag.CONSUMED
    c.deadline = space.now + CONSUMED_LIFE
    if not c.first_answer(op):
        c.remember(op, SPENT, 0)
    space.keep(n, c)
