"""Runs the commands of relay clients, and answers in the words of OTP-Broker and OTP-Pi.

A command that is repeated within ten minutes (the same id,
destination and text: a redelivery, a second door) is run once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from msgspec import Struct

from otpsvc import command, lenient
from otpsvc.address import masked
from otpsvc.blocking import BlockList
from otpsvc.command import Batch, Command
from otpsvc.errors import Busy, Forbidden, NotFound, RequestError, StoreUnavailable, Unanswered
from otpsvc.lines import Answered, Line, Lines, named
from otpsvc.message import MessageState
from otpsvc.oldcode import CodeDesk, Told
from otpsvc.oldwords import FAILED, OK, Answer, answer, full_name, listed, modem, refused
from otpsvc.submit import LIFE_MAX, By, Submission, Submitted, Submitter, check_text, fingerprint, one_form
from otpsvc.tenant import Scope, Tenant
from otpsvc.verification import Verifications

#: Milliseconds for which a repeated command is known.
REPEAT: Final = 600_000
#: Seconds for which what was told of the modems is good enough to say that none is ready.
LOOK: Final = 1.0


class Via(Struct, frozen=True, kw_only=True):
    """The door that commands came through.

    `way`: of messages that name none. `mark`: what tells a repeat of the frame that brought
    them (empty: nothing does), `at`: the command's place in it. `again`: it may have been run
    before. `open`: answers may show addresses. `told`: somebody reads the answer. `until`
    (Unix time): so long who carries the commands, and cannot make one, could bring one again.
    """

    way: str = ""
    mark: bytes = b""
    at: int = 0
    again: bool = False
    open: bool = True
    told: bool = True
    until: float = 0.0

    @property
    def key(self) -> str:
        """Of a create, as an Idempotency-Key; empty when a repeat cannot be told."""
        return f"feeder:{self.mark.hex()}:{self.at}" if self.mark else ""

    @property
    def op(self) -> bytes:
        """The same of a check: 8 bytes, or none."""
        return blake2b(self.key.encode(), digest_size=8).digest() if self.mark else b""


class Ran(Struct, frozen=True):
    """`answers` and `refusals` (code words; "": it was done), one for each command of the batch."""

    batch: Batch
    answers: tuple[Answer | None, ...]
    refusals: tuple[str, ...]

    @property
    def answer(self) -> Answer | None:
        """To all of them: `{}` to what is unknown, None to frames that want none."""
        return listed(self.batch.word, list(self.answers)) if self.batch.listed else self.answers[0]


class Relay:
    """`channels` answers those of a route; `now` is in seconds since the epoch."""

    def __init__(
        self,
        *,
        submitter: Submitter,
        blocks: BlockList,
        codes: CodeDesk,
        verifications: Verifications,
        lines: Lines,
        channels: Callable[[str], Sequence[str]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._submitter = submitter
        self._blocks = blocks
        self._codes = codes
        self._verifications = verifications
        self._lines = lines
        self._channels = channels
        self._now = now
        self._seen: tuple[float, list[Line]] = (float("-inf"), [])

    def read(self, body: bytes) -> Batch:
        """Raises: BadRequest: no JSON object."""
        return command.read(body, now=self._now())

    async def run(self, tenant: Tenant, batch: Batch, via: Via = Via()) -> Ran:  # noqa: B008 - frozen
        """Run all commands of a body.

        Raises: Busy: ask again; what was done before in the same body is known then. What was
        refused is an answer.
        """
        told = [await self.one(tenant, one, via) for one in batch.commands]
        return Ran(batch, tuple(said for said, _ in told), tuple(refusal for _, refusal in told))

    async def one(self, tenant: Tenant, one: Command, via: Via) -> tuple[Answer | None, str]:
        """One command's answer and, where it was refused, the code word. Raises: Busy: ask again."""
        run = self._RUNS.get(type(one))
        if run is None:
            return (None, "") if isinstance(one, command.Silent) else ({}, "unknown_command")
        try:
            said: Answer = await run(self, tenant, one, via)
        except RequestError as error:
            return refused(one, error, self._about(one, via)), error.code
        expired = isinstance(one, command.Send | command.RequestCode) and one.life < 0
        return said, "expired" if expired else ""

    # One method for each command.

    async def _send(self, tenant: Tenant, one: command.Send, via: Via) -> Answer:
        if one.life < 0:
            return answer(one.word, FAILED, error="expired", data={"id": "", "status": "expired"})
        life, known = self._times(one.life, via)
        by: By = one.by or ("email" if "@" in one.to else "phone")  # type: ignore[assignment]
        subject = one.subject if by == "email" else ""
        check_text(one.text, subject)
        to = one_form(tenant, by, one.to)
        mark = fingerprint(self._submitter.keyring, tenant, by, one.id, to, one.text, subject, one.modem)
        asked = Submission(
            to=one.to,
            text=one.text,
            subject=subject,
            route=via.way if self._submitter.takes(via.way, by) else "",
            by=by,
            life=life,
            modem=one.modem,
            once="relay:" + mark.hex(),
            once_life=known,
            fingerprint=mark,
        )
        asked = await self._submitter.at_modem(tenant, self._lines, asked)
        sent = await self._submitter.submit(tenant, asked)
        return await self._accepted(one, by, sent, via)

    def _times(self, life: float, via: Via) -> tuple[float, int]:
        """Seconds that a message may take, and milliseconds for which a repeat of it is known.

        What was sealed is known for as long as it could be brought again; a repeat is known by
        its message, which must be there as long.
        """
        if not via.until:
            return life, REPEAT
        left = min(max(via.until - self._now(), 1.0), LIFE_MAX)
        return min(life or left, left), max(REPEAT, int(left * 1000))

    async def _accepted(self, one: command.Send, by: str, sent: Submitted, via: Via) -> Answer:
        data: Answer = {"id": sent.id, "status": sent.state.value}
        if sent.state in (MessageState.FAILED, MessageState.EXPIRED):
            # A repeat of one that did not do.
            return answer(one.word, FAILED, error=sent.reason or sent.state.value, data=data)
        if by == "email":
            return answer(one.word, OK, message="The mail was accepted.", data=data)
        queued = via.told and sent.state == MessageState.QUEUED
        waits = queued and await self._no_line_ready(sent.route)
        if waits:
            data["status"] = "waiting"
        words = "No modem is ready; it is sent when one is." if waits else "The message was accepted."
        return answer(one.word, OK, message=words, data={"modemID": one.modem, "result": words, **data})

    async def _no_line_ready(self, route: str) -> bool:
        """True when modems serve this route and none of them is ready. A doubt is no reason to say so."""
        at, lines = self._seen
        if time.monotonic() - at > LOOK:
            try:
                lines = await self._lines.lines()
            except Busy:
                return False
            self._seen = (time.monotonic(), lines)
        served = [line for line in lines if line.channel in self._channels(route)]
        return bool(served) and not any(line.ready for line in served)

    async def _block(self, tenant: Tenant, one: command.Block, _via: Via) -> Answer:
        _permit(tenant, "sms")
        if one.on:
            await self._blocks.block(tenant, one.to, now=self._now())
        else:
            await self._blocks.unblock(tenant, one.to)
        return answer(one.word, OK, data={"status": "blocked" if one.on else "unblocked"})

    async def _request(self, tenant: Tenant, one: command.RequestCode, via: Via) -> Answer:
        _permit(tenant, "otp")
        told = await self._codes.request(tenant, one, again=via.again)
        return self._told("request-otp", one, told, via)

    async def _verify(self, tenant: Tenant, one: command.VerifyCode, via: Via) -> Answer:
        _permit(tenant, "otp")
        return self._told("verify-otp", one, await self._codes.verify(tenant, one, op=via.op), via)

    def _told(self, word: str, one: command.RequestCode | command.VerifyCode, told: Told, via: Via) -> Answer:
        code, error, status = told
        return answer(word, code, error=error, data=self._about(one, via) | {"status": status})

    def _about(self, one: Command, via: Via) -> Answer:
        """What every answer to a command tells besides its status."""
        if isinstance(one, command.CreateVerification | command.CheckVerification):
            return {"id": one.fields.get("id", "")}
        if not isinstance(one, command.RequestCode | command.VerifyCode):
            return {"id": ""}
        when, to = self._when(one.date_time), one.to if via.open else masked(one.to)
        return {"reference": one.reference, "receiver": to, "date_time": when, "id": one.reference}

    def _when(self, date_time: str) -> int:
        """As the client told it (Unix time), else now."""
        told = date_time.isascii() and date_time.isdecimal() and len(date_time) <= 20
        return int(date_time) if told else int(self._now())

    async def _create(self, tenant: Tenant, one: command.CreateVerification, via: Via) -> Answer:
        _permit(tenant, "otp")
        return await self._verifications.create(tenant, one, key=via.key, again=via.again)

    async def _check(self, tenant: Tenant, one: command.CheckVerification, via: Via) -> Answer:
        _permit(tenant, "otp")
        return await self._verifications.check(tenant, one, op=via.op)

    async def _ussd(self, tenant: Tenant, one: command.Ussd, via: Via) -> Answer:
        _permit(tenant, "ussd")
        code = command.read_ussd(one.code)
        about = {"modem_id": one.modem, "ussd_code": code, "status": "unanswered"}
        if via.again:
            # To ask again would start a second session, which may cost money.
            words = "It was asked before; what became of it is not known."
            return answer("request-ussd", FAILED, error=words, data=about)
        name = one.modem
        try:
            name = await self._line(tenant, one.modem)
            answered = await self._asked(name, code)
        except Unanswered as error:
            about["modem_id"] = one.modem or name
            return answer("request-ussd", FAILED, error=error.message, data=about)
        data = {
            "modem_id": one.modem or name,
            "ussd_code": code,
            "ussd_content": answered.text,
            "ussd_content_raw": answered.raw,
            "ussd_response": answered.text,
            "replyable": answered.more,
        }
        return answer("request-ussd", OK, data=data)

    async def _asked(self, name: str, code: str) -> Answered:
        """Raises: NotFound, BadRequest; Unanswered: perhaps it was asked, so it is not asked again here."""
        try:
            return await self._lines.ussd(name, code)
        except StoreUnavailable as error:
            raise Unanswered(error.message) from None

    async def _line(self, tenant: Tenant, name: str) -> str:
        """The whole name of this modem, or of any that is ready. Raises: NotFound, StoreUnavailable."""
        lines = [line for line in await self._lines.lines() if tenant.may_use(line.channel)]
        if name:
            return full_name(named(lines, name))
        ready = [full_name(line) for line in lines if line.ready]
        if not ready:
            raise NotFound("No device connected", code="unknown_modem")
        return ready[0]

    async def _list(self, tenant: Tenant, one: command.ModemList, _via: Via) -> Answer:
        _permit(tenant, "modems")
        lines = {full_name(line): modem(line) for line in await self._lines.lines()}
        data = {"date_time": self._when(one.date_time), "modem_list": lines}
        return answer("get-modem-list", OK, data=data)

    async def _echo(self, _tenant: Tenant, one: command.Echo, _via: Via) -> Answer:
        body = lenient.plain(one.body)
        assert isinstance(body, dict)
        return body

    _RUNS: Final[Mapping[type[Any], Callable[[Relay, Tenant, Any, Via], Awaitable[Answer]]]] = {
        command.Send: _send,
        command.Block: _block,
        command.RequestCode: _request,
        command.VerifyCode: _verify,
        command.CreateVerification: _create,
        command.CheckVerification: _check,
        command.Ussd: _ussd,
        command.ModemList: _list,
        command.Echo: _echo,
    }


def _permit(tenant: Tenant, scope: Scope) -> None:
    if scope not in tenant.scopes:
        raise Forbidden("This namespace may not do that.", code="scope")
