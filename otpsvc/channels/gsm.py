"""Text messages by modems on this machine's serial ports."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog

from otpsvc.address import phone
from otpsvc.attempt import surely_unsent
from otpsvc.channel import Channel
from otpsvc.channels.gsm_config import GsmConfig
from otpsvc.channels.gsm_line import line_of
from otpsvc.channels.gsm_trace import Traces
from otpsvc.errors import (
    BadRequest,
    ModemError,
    NotFound,
    Refused,
    Unanswered,
    Unavailable,
    Uncertain,
    UnknownModem,
)
from otpsvc.gsm.ledger import Ledger, MemoryLedger
from otpsvc.gsm.pool import Pool
from otpsvc.gsm.types import Change, Event, Job, Snapshot, State, Text
from otpsvc.gsm.ussd import dangerous, dialable
from otpsvc.lines import Answered, Line
from otpsvc.message import Delivery, Incoming, Message, Receipt, Report

#: Why a port cannot be opened that another process has: see `gsm/port.py`.
IN_USE: Final = "in use by another program"
#: Seconds for which the network waits for a reply in a USSD session, about.
SESSION: Final = 180.0

_log = structlog.get_logger("otpsvc.gsm")


class GsmChannel(Channel):
    """A pool of modems. The app lends it a ledger before it is opened."""

    Config = GsmConfig
    config: GsmConfig

    def __init__(self, config: GsmConfig, report: Report) -> None:
        super().__init__(config, report)
        self.address = phone(config.country)
        self._modems = config.modem_settings()
        self._pool: Pool | None = None
        self._entered = False
        self._traces = Traces()
        # Modems whose network waits for a reply, and until when by `time.monotonic()`.
        self._sessions: dict[str, float] = {}
        self._ledger: Ledger = MemoryLedger()
        self._take: Callable[[Incoming], Awaitable[object]] | None = None
        self._changed: Callable[[], None] = lambda: None

    def lend(
        self,
        ledger: Ledger,
        take: Callable[[Incoming], Awaitable[object]],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """What outlives this process: counts, references, PINs that were refused; and where texts go.

        `changed` is called when a modem came into another state.
        """
        self._ledger = ledger
        self._take = take
        self._changed = changed

    @property
    def elsewhere(self) -> bool:
        return self._on_another_host() or self._with_another_process()

    def _on_another_host(self) -> bool:
        return bool(self.config.host) and self.config.host != socket.gethostname()

    def _with_another_process(self) -> bool:
        """Whether no port is left for this one: what it claimed would wait in vain."""
        if self._pool is None:
            return False
        in_use = False
        for settings in self._modems:
            try:
                modem = self._pool.modem(settings.name)
            except UnknownModem:
                return False
            if modem.state not in (State.ABSENT, State.DISABLED):
                return False
            in_use = in_use or (modem.state is State.ABSENT and modem.reason == IN_USE)
        return in_use

    async def __aenter__(self) -> Self:
        self._entered = True
        await self._open_pool()
        return self

    async def _open_pool(self) -> None:
        if not self._on_another_host():
            self._pool = Pool(self._modems, self.config.pool_settings(), ledger=self._ledger, tell=self._told)
            await self._pool.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered = False
        await self._close_pool()

    async def _close_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.__aexit__(None, None, None)

    async def change(self, config: GsmConfig) -> None:
        """Take over another config while running: modems that stay keep their lines. Raises: ConfigError."""
        modems = config.modem_settings()
        self.config, self._modems, self.address = config, modems, phone(config.country)
        if self._on_another_host():
            await self._close_pool()
        elif self._pool is not None:
            await self._pool.change(modems, config.pool_settings())
        elif self._entered:
            await self._open_pool()

    async def send(self, message: Message) -> Receipt:
        pool = self._pool
        if pool is None:
            raise Unavailable("closed")
        if self._with_another_process():
            raise Unavailable("another process has the modems")
        try:
            sent = await pool.send(self._job(message))
        except Uncertain as error:
            # The pool has carried its policy out.
            raise Uncertain(error.reason, settled=True) from None
        references = ",".join(map(str, sent.references))
        return Receipt(f"{sent.modem}:{references}", max(1, sent.parts), uncertain=sent.uncertain)

    def _job(self, message: Message) -> Job:
        modem = message.modem.partition(".")[2] or message.modem
        return Job(
            id=f"{message.tenant}:{message.id}",
            to=message.to,
            text=message.text,
            deadline=time.monotonic() + message.seconds_left(),
            group=message.tenant or self._served_by(modem),
            modem=modem,
            urgent=bool(message.code),
        )

    def _served_by(self, modem: str) -> str:
        """For an operator's own text: somebody who may use the modem that it names."""
        table = self.config.modems.get(modem)
        return table.tenants[0] if table and table.tenants else ""

    async def ping(self) -> str:
        """`3 of 4 modems ready`. Raises: Unavailable when none is."""
        if self._on_another_host():
            return "on another host"
        shots = await self._shots()
        ready = sum(shot.state in ("ready", "sending") for shot in shots)
        words = f"{ready} of {len(shots)} modems ready"
        if not ready:
            raise Unavailable(words)
        return words

    async def _shots(self) -> list[Snapshot]:
        return await self._pool.snapshots() if self._pool else []

    def _told(self, event: Event) -> None:
        if isinstance(event, Change):
            usual = event.after in ("opening", "probing", "ready", "sending", "registering", "disabled")
            # Taken out of the config, or the service ends.
            say = _log.info if usual or event.reason == "let go" else _log.warning
            if {event.before, event.after} == {"ready", "sending"}:
                say = _log.debug
            else:
                self._changed()
            say(
                "modem",
                modem=event.modem,
                before=event.before.value,
                after=event.after.value,
                reason=event.reason,
            )
            return
        tenant, _, message = event.job.partition(":")
        if not tenant:
            # An operator's own text, which no record stands for.
            return
        detail = "" if event.ok else f"status {event.status}"
        self.report(Delivery(tenant, message, event.ok, detail))

    async def keep(self, text: Text) -> None:
        """A text came in; it is deleted from the SIM once this returns. Raises: StoreUnavailable."""
        if self._take is None:
            return
        await self._take(
            Incoming(
                id=text.id,
                line=text.modem,
                sender=text.sender,
                text=text.text,
                tenant=self.config.inbox_of(text.modem),
                to=self._number(text.modem),
                at=text.at,
                complete=text.complete,
            )
        )

    def _number(self, modem: str) -> str:
        try:
            return self._pool.modem(modem).facts.number if self._pool else ""
        except UnknownModem:
            return ""

    # What other processes ask for: see `lines.py`.

    async def lines(self) -> list[Line]:
        return [line_of(shot) for shot in await self._shots()]

    async def ussd(self, name: str, code: str, *, reply: bool, operator: bool) -> Answered:
        pool = self._pool
        try:
            dialable(code)
        except ValueError as error:
            raise BadRequest(str(error), code="invalid_ussd", field="code") from None
        if dangerous(code) or not (operator or reply or code in self.config.ussd):
            words = "This USSD code is not allowed: see `ussd` of the channel."
            raise BadRequest(words, code="ussd_not_allowed", field="code")
        if pool is None:
            raise Unanswered
        if self._sessions.pop(name, 0.0) < time.monotonic() and reply and not operator:
            # Without a session it would be dialled, and no list has allowed it.
            raise BadRequest("The network waits for no reply.", code="ussd_not_allowed", field="reply")
        try:
            answer = await pool.ussd(name, code, reply=reply)
        except UnknownModem:
            raise NotFound("There is no such modem.", code="unknown_modem") from None
        except ModemError as error:
            raise Unanswered(f"{error}.") from None
        if answer.more:
            self._sessions[name] = time.monotonic() + SESSION
        return Answered(text=answer.text, raw=answer.raw, more=answer.more, status=answer.status)

    async def send_by(self, name: str, to: str, text: str) -> str:
        message = Message(
            id=f"operator.{secrets.token_hex(8)}",
            to=self.address.parse(to),
            text=text,
            modem=name,
            expires=time.time() + self.config.timeout,
            until=time.monotonic() + self.config.timeout,
        )
        try:
            async with asyncio.timeout(self.config.timeout):
                receipt = await self.send(message)
        except Refused as error:
            raise BadRequest(f"Refused: {error.reason}.", code="refused") from None
        except Uncertain as error:
            return f"uncertain: {error.reason}"
        except Unavailable as error:
            raise Unanswered(f"Not sent: {error.reason}.") from None
        except TimeoutError as late:
            if surely_unsent(late):
                raise Unanswered("Not sent: timed out.") from None
            return "uncertain: timed out"
        doubt = ", and perhaps before that once more" if receipt.uncertain else ""
        return f"sent as {receipt.id}, {receipt.parts} part{'s' * (receipt.parts > 1)}{doubt}"

    async def trace(self, name: str, seconds: float) -> AsyncGenerator[str, None]:
        if self._pool is None:
            raise Unanswered
        try:
            modem = self._pool.modem(name)
        except UnknownModem:
            raise NotFound("There is no such modem.", code="unknown_modem") from None
        end = time.monotonic() + seconds
        with self._traces.of(modem) as lines:
            while (left := end - time.monotonic()) > 0:
                try:
                    yield await asyncio.wait_for(lines.get(), left)
                except TimeoutError:
                    return
