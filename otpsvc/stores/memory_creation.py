"""Create and resend in the memory store: one challenge, its generation, its sends."""

from __future__ import annotations

from otpsvc.challenge import CANCELLED_BY, CREATED, VERIFIED_BY, Flag, State
from otpsvc.step import Answer, Creation, Once, Resend
from otpsvc.stores.memory_challenge import QUEUED, SENDING, Challenge
from otpsvc.stores.memory_space import DAY, Opened, Space

__all__ = ["create", "resend"]


def create(space: Space, c: Creation) -> Answer:
    """As `Store.create`."""
    known = _alive(space, c.n)
    if known and known.first_answer(c.op):
        return space.answer("created", known)
    if c.pin and not _may_go_on(c, known):
        return space.answer("changed", known)
    if c.once and (first := _asked_before(space, c, c.once)):
        return first
    if refused := _refused(space, c, known):
        if c.once:
            space.onces.drop(c.once.name)
        return refused
    if known:
        space.unqueue(c.n, known)
    challenge = _challenge(space, c, known)
    _fill(space, c, challenge)
    if c.route:
        _send(space, c.n, challenge, waits=c.waits, lease=c.lease)
    _owe_event(space, c.n, challenge)
    challenge.remember(c.op, CREATED, challenge.sends)
    space.keep(c.n, challenge)
    answer = space.answer("created", challenge)
    if c.once:
        assert answer.record is not None
        # The sealed code is kept no longer than its message needs it.
        kept = Answer("done", answer.now, answer.record._replace(body=b""))
        space.onces.put(c.once.name, Opened(c.once.fingerprint, c.op, kept), space.now + DAY)
    return answer


def _alive(space: Space, n: str) -> Challenge | None:
    known = space.challenge(n)
    if known is None or known.has(Flag.CONSUMED):
        return None
    if known.epoch != space.epoch or space.now >= known.deadline:
        space.end(n, known)
        space.unqueue(n, known)
        return None
    return known


def _may_go_on(c: Creation, known: Challenge | None) -> bool:
    """Whether a page may name this address, or another way to it."""
    if known is None or known.gen != c.pin or not known.waits_for_code:
        return False
    return known.sends == 0 or known.dest == c.dest or known.has(Flag.COLLECTED)


def _asked_before(space: Space, c: Creation, once: Once) -> Answer | None:
    opened = space.onces.get(once.name, space.now)
    if opened is None:
        return None
    if opened.fingerprint != once.fingerprint:
        return space.answer("mismatch")
    if opened.answer:
        return opened.answer
    return None if opened.op == c.op else space.answer("running")


def _refused(space: Space, c: Creation, known: Challenge | None) -> Answer | None:
    if c.route and c.dest in space.blocks:
        return space.answer("blocked", known)
    if known and known.attempts >= known.max_attempts:
        return space.answer("locked", known, known.deadline - space.now)
    if known and c.route and known.sends >= known.max_sends:
        return space.answer("sends", known, known.deadline - space.now)
    # The wait guards a destination: a corrected address need not sit it out.
    if known and c.route and space.now < known.wait and known.dest == c.dest:
        return space.answer("wait", known, known.wait - space.now)
    wait = space.count_send(c.sends) if c.route else 0
    return space.answer("budget", known, wait) if wait else None


def _challenge(space: Space, c: Creation, known: Challenge | None) -> Challenge:
    """The known one, in a new generation unless it is the same code to the same destination."""
    if known is None:
        known = Challenge(space.now, space.epoch, c.max_attempts, c.max_sends)
    elif _same_generation(space, c, known):
        return known
    known.gen, known.kid, known.salt, known.gen_at = c.gen, c.kid, c.salt, space.now
    known.purpose, known.kind, known.dest = c.purpose, c.kind, c.dest
    known.digest = known.mix(c.digest) if c.digest else bytes(16)
    known.uncertain = 0
    # What verified an older generation says nothing about this one.
    known.ops = [(op, CANCELLED_BY if what == VERIFIED_BY else what, at) for op, what, at in known.ops]
    return known


def _same_generation(space: Space, c: Creation, known: Challenge) -> bool:
    if not known.waits_for_code or not c.route or known.sends == 0:
        return False
    if (known.dest, known.kind, known.purpose) != (c.dest, c.kind, c.purpose):
        return False
    if (known.flags | c.flags) & Flag.SLOW_HASH or (known.flags ^ c.flags) & Flag.SUPPLIED:
        return False
    if c.flags & Flag.SUPPLIED and known.mix(c.digest) != known.digest:
        return False
    # A code too old to live half its time again is replaced.
    return known.gen_at + c.cap - space.now >= min(c.ttl, c.cap) / 2


def _fill(space: Space, c: Creation, challenge: Challenge) -> None:
    # A PUT never raises the limits of a live record.
    challenge.max_attempts = min(challenge.max_attempts, c.max_attempts)
    challenge.max_sends = min(challenge.max_sends, c.max_sends)
    challenge.state, challenge.flags = State.OPEN, c.flags
    challenge.deadline = min(space.now + c.ttl, challenge.gen_at + c.cap)
    challenge.blob, challenge.body, challenge.route = c.blob, c.body, c.route
    challenge.mstate, challenge.due, challenge.wait = 0, space.now, space.now
    challenge.reason, challenge.tries, challenge.way = "", 0, 0


def _send(space: Space, n: str, challenge: Challenge, *, waits: tuple[int, ...], lease: int) -> None:
    now = space.now
    challenge.sends += 1
    challenge.fence = challenge.fence % 65535 + 1
    challenge.wait = now + (waits[min(challenge.sends, len(waits)) - 1] * 1000 if waits else 0)
    challenge.mstate, challenge.due, challenge.tries = QUEUED, now, 0
    if lease:
        # The caller's own worker has it already: the entry only guards against its death.
        challenge.mstate, challenge.due, challenge.tries = SENDING, now + lease, 1
    space.queue(challenge.route, "otp")["c" + n] = challenge.due
    if not lease:
        space.wake(challenge.route, "otp")


def _owe_event(space: Space, n: str, challenge: Challenge) -> None:
    if challenge.has(Flag.CALLBACK):
        space.queue("callback", "event")["x" + n] = challenge.deadline


def resend(space: Space, r: Resend) -> Answer:
    """As `Store.resend`."""
    known = space.challenge(r.n)
    if known is None or known.epoch != space.epoch or space.now >= known.deadline:
        return space.answer("unknown")
    if known.has(Flag.CONSUMED):
        return space.answer("unknown")
    if known.first_answer(r.op):
        return space.answer("created", known)
    if refused := _resend_refused(space, r, known):
        return refused
    space.unqueue(r.n, known)
    if known.has(Flag.SLOW_HASH):
        known.kid, known.salt, known.body = r.kid, r.salt, r.body
        known.digest, known.gen_at, known.uncertain = known.mix(r.digest), space.now, 0
    known.state, known.way, known.reason = State.OPEN, 0, ""
    _send(space, r.n, known, waits=r.waits, lease=r.lease)
    _owe_event(space, r.n, known)
    known.remember(r.op, CREATED, known.sends)
    space.keep(r.n, known)
    return space.answer("created", known)


def _resend_refused(space: Space, r: Resend, known: Challenge) -> Answer | None:
    now = space.now
    if known.attempts >= known.max_attempts:
        return space.answer("locked", known, known.deadline - now)
    if not known.waits_for_code:
        return space.answer("closed", known)
    if not known.route or known.sends == 0:
        return space.answer("unsent", known)
    if known.dest in space.blocks:
        return space.answer("blocked", known)
    if known.sends >= known.max_sends:
        return space.answer("sends", known, known.deadline - now)
    if now < known.wait:
        return space.answer("wait", known, known.wait - now)
    return _resend_refused_by_code(space, r, known)


def _resend_refused_by_code(space: Space, r: Resend, known: Challenge) -> Answer | None:
    # Only the tenant knows a code that it supplied: it must come again, by a PUT.
    if known.has(Flag.SUPPLIED):
        return space.answer("supplied", known)
    if known.gen != r.gen or (known.has(Flag.SLOW_HASH) and not r.digest):
        return space.answer("offer", known)
    wait = space.count_send(r.sends)
    return space.answer("budget", known, wait) if wait else None
