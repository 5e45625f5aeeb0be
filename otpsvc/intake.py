"""What feeders hand in, run as their tenant: repeats, order, and waiting for a store that is away.

    Frame ─> (unsealed) ─> command ─> relay ─> Taken

A door that can deliver twice is answered once: texts are known by their words for ten
minutes (`relay`); questions for as long by the id that their publisher gave them, for a day
where the broker says that it delivers again.
"""

from __future__ import annotations

import fnmatch
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import structlog
from msgspec import Struct, structs

from otpsvc import command, lenient, logs
from otpsvc.command import Batch, Command
from otpsvc.errors import BadRequest, Busy, StillRunning
from otpsvc.feeder import FeederConfig, Frame, Note, Taken
from otpsvc.insisting import Insisting
from otpsvc.keyring import Keyring
from otpsvc.oldwords import FAILED, Answer, answer, encoded, noted, word_of
from otpsvc.order import Order
from otpsvc.parcel import Parcels
from otpsvc.relay import REPEAT, Ran, Relay, Via
from otpsvc.store import Store
from otpsvc.tenant import Tenant
from otpsvc.veiled import Veiled

#: Milliseconds for which a question is known, and for which of several consumers the one that was
#: first to get a frame runs it: the others may get it as late as they look for a store that was away.
KNOWN, SHARED = 86_400_000, 30_000
#: Seconds that an answer may be held back.
DELAY_MAX: Final = 60.0
_PLACE_MAX: Final = 255
_OWN_MAX: Final = 255
#: Run once more they would do more than once.
_QUESTIONS: Final = frozenset(
    {
        command.RequestCode, command.VerifyCode, command.CreateVerification, command.CheckVerification,
        command.Ussd,
    }
)  # fmt: skip
_WORDLESS: Final = frozenset({command.ModemList, command.Echo})
#: They change the block list, or it decides about them.
_ORDERED: Final = frozenset({command.Block, command.Send, command.RequestCode, command.CreateVerification})

_log = structlog.get_logger("otpsvc.feeders")
T = TypeVar("T")
#: What became of one command: its answer and, where it was refused, the code word.
Done = tuple[Answer | None, str]


class _Asked(Veiled, frozen=True, kw_only=True):
    """A frame. `body` as it was meant; `id` tells it from another with the same words.

    `own`: the id under which its sender wants the answer. `until`: Unix time after which
    a sealed one is worth nothing; 0: it was not sealed.
    """

    body: bytes = b""
    id: str = ""
    own: str = ""
    callback: str = ""
    delay: float = 0.0
    told: bool = False
    until: float = 0.0


class _Broken(Busy):
    """A fault of ours."""

    code = "internal"
    message = "Internal error."


class _Running(Busy):
    """The same command runs elsewhere, or did until a moment ago."""

    code = StillRunning.code
    message = "The same command is still running."


class Running(Struct, frozen=True):
    """What runs and what is known, for every intake of a process."""

    relay: Relay
    store: Store
    keyring: Keyring


class Intake:
    """Of one feeder. `tenant` is asked for each command; `counted` is told what became of each frame.

    Outcomes: "done", "refused", "silent" (it asked for nothing), "elsewhere" (another
    consumer of the same frame runs it), "later" (a try that must be repeated).
    """

    def __init__(
        self,
        name: str,
        config: FeederConfig,
        *,
        running: Running,
        tenant: Callable[[], Tenant],
        secret: str = "",
        counted: Callable[[str], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._config = config
        self._running = running
        self._tenant = tenant
        self._parcels = Parcels(secret) if secret else None
        self._counted = counted
        self._now = now
        self._order = Order()
        #: Tells this consumer from others that get the same frames.
        self._token = secrets.token_bytes(8)

    def replies_to(self, place: str) -> bool:
        """Whether answers may go there."""
        fits = 0 < len(place) <= _PLACE_MAX and place.isprintable()
        return fits and any(fnmatch.fnmatchcase(place, pattern) for pattern in self._config.replies)

    async def take(self, frame: Frame) -> Taken:
        """Run what it asks for. Waits as long as the store is away."""
        asked = _Asked(told=frame.asked)
        try:
            asked, read = self._read(frame)
            batch = command.read_object(read, now=self._now())
        except BadRequest as error:
            return self._unread(asked, error)
        except Exception as bug:  # noqa: BLE001 - nor may this end the feeder
            self._broke(bug)
            return self._unread(asked, _Broken())
        kinds = {type(one) for one in batch.commands}
        if kinds <= {command.Silent}:
            self._counted("silent")
            return Taken()
        insisting = Insisting(lambda: self._counted("later"))
        orders = kinds & _ORDERED
        if not orders or command.Ussd in kinds:
            # A network may take its time, for which all others would wait.
            return await self._run(frame, asked, batch, insisting)
        async with self._order.turn(alone=command.Block in orders) as leave:
            insisting.trouble = leave
            return await self._run(frame, asked, batch, insisting)

    def _read(self, frame: Frame) -> tuple[_Asked, Mapping[str, Any]]:
        """Raises: BadRequest."""
        body, id, until = frame.body, frame.id, 0.0
        if self._parcels is not None:
            body, id, until = self._parcels.read(body, now=self._now())
        read = lenient.read_literal(body) if frame.literal else lenient.read_json(body)
        at = command.with_callback(read)
        callback = lenient.text_of(at, "callback_topic")
        callback = callback if self.replies_to(callback) else ""
        delay = abs(lenient.number_of(at.get("callback_delay", 10)) or 0.0) / 1000
        asked = _Asked(
            body=body,
            id=id,
            own=lenient.text_of(read, "correlation_id")[:_OWN_MAX],
            callback=callback,
            delay=min(delay, DELAY_MAX),
            told=frame.asked or bool(callback),
            until=until,
        )
        return asked, read

    async def _run(self, frame: Frame, asked: _Asked, batch: Batch, insisting: Insisting) -> Taken:
        """Each command until it is done or refused; what was done is not done anew."""
        begun, done = time.monotonic(), list[Done]()
        plain = Via(way=self._config.channel, open=False, told=asked.told, until=asked.until)
        via: Via | Busy | None = plain
        kinds = _QUESTIONS | _WORDLESS if frame.shared else _QUESTIONS
        if any(type(one) in kinds for one in batch.commands):
            token = secrets.token_bytes(8)
            via = await self._passed(insisting, lambda: self._known(plain, frame, asked, token))
        if via is None:
            self._counted("elsewhere")
            return Taken()
        for at, one in enumerate(batch.commands):
            if isinstance(via, Busy):
                done.append(_gone(one, via))
            else:
                here = structs.replace(via, at=at) if at else via
                done.append(await self._one(one, here, begun, insisting))
        said, refusals = zip(*done, strict=True)
        return self._taken(asked, Ran(batch, said, refusals))

    async def _one(self, one: Command, via: Via, begun: float, insisting: Insisting) -> Done:
        tried = False

        async def once() -> Done:
            nonlocal via, tried
            if tried and not isinstance(one, command.Ussd):
                # The last try may have done it; that of a USSD code never raises then.
                via = structs.replace(via, again=True)
            tried = True
            aged = _aged(one, begun, ended=0 < via.until <= self._now())
            said, refusal = await self._running.relay.one(self._tenant(), aged, via)
            if refusal == StillRunning.code:
                raise _Running
            return said, refusal

        done = await self._passed(insisting, once)
        return _gone(one, done) if isinstance(done, Busy) else done

    async def _passed(self, insisting: Insisting, step: Callable[[], Awaitable[T]]) -> T | Busy:
        """What a step answers, or why it never did."""
        try:
            return await insisting.on(step)
        except Busy as error:
            return error
        except Exception as bug:  # noqa: BLE001 - it must not be delivered for ever, nor end the feeder
            self._broke(bug)
            return _Broken()

    def _broke(self, bug: Exception) -> None:
        _log.error("a command broke", feeder=self._name, exception=logs.traced(bug))

    async def _known(self, via: Via, frame: Frame, asked: _Asked, token: bytes) -> Via | None:
        """With what tells a repeat. None: another consumer runs it. Raises: StoreUnavailable."""
        tenant, store = self._tenant().name, self._running.store
        name = self._running.keyring.digest("frame", tenant, asked.id.encode("utf-8", "replace"), asked.body)
        if frame.shared:
            mine = await store.hold(f"frame:{name.hex()}", self._token, life=SHARED)
            return structs.replace(via, mark=token) if mine else None
        within = KNOWN if frame.again else REPEAT if asked.id else 0
        known = await store.first(tenant, name.hex(), token, life=KNOWN, within=within)
        return structs.replace(via, mark=name + known, again=known != token)

    def _taken(self, asked: _Asked, ran: Ran) -> Taken:
        refusals = {at: code for at, code in enumerate(ran.refusals) if code}
        self._counted("refused" if len(refusals) == len(ran.refusals) else "done")
        said = ran.answer
        if said == {}:
            # Over HTTP that is all that old clients hear; whoever asked here wants to know why.
            words = "Unknown command, or one that lacks what it needs."
            said = answer(ran.batch.word, FAILED, error=words, data=_REFUSED)
        return Taken(
            answer=_encoded(asked, said),
            refusals=refusals,
            commands=len(ran.refusals),
            callback=asked.callback,
            delay=asked.delay,
            notes=_notes(ran),
        )

    def _unread(self, asked: _Asked, error: BadRequest | Busy) -> Taken:
        self._counted("refused")
        said = answer("", FAILED, error=error.message, data=_REFUSED)
        return Taken(
            answer=_encoded(asked, said),
            refusals={0: error.code},
            callback=asked.callback,
            delay=asked.delay,
        )


_REFUSED: Final = {"id": "", "status": "refused"}


def _gone(one: Command, error: Busy) -> Done:
    return answer(word_of(one), FAILED, error=error.message, data=_REFUSED), error.code


def _aged(one: Command, begun: float, *, ended: bool) -> Command:
    """As it is now, when it was read at `begun` (monotonic)."""
    if not isinstance(one, command.Send | command.RequestCode) or (one.life <= 0 and not ended):
        return one
    left = one.life - (time.monotonic() - begun)
    return structs.replace(one, life=left if left > 0 and not ended else -1.0)


def _notes(ran: Ran) -> tuple[Note, ...]:
    """Where each message of it is; of what is no whole command it is told who gave it an id."""
    rows = zip(ran.batch.commands, ran.answers, ran.refusals, strict=True)
    return tuple(
        noted(one, said or {}, code)
        for one, said, code in rows
        if isinstance(one, command.Send | command.Unknown) and (said or one.id)
    )


def _encoded(asked: _Asked, said: Answer | None) -> bytes:
    """The answer to whoever wants one."""
    if not asked.told or not said:
        return b""
    if asked.own:
        said = said | {"correlation_id": asked.own}
    return encoded(said)
