"""The page of a code: shows it, checks it, sends it again."""

from __future__ import annotations

from msgspec import structs

from otpsvc.code import fits, normalised
from otpsvc.errors import BadRequest, NotFound, RequestError
from otpsvc.http.envelope import Reply
from otpsvc.http.pages.answers import Answers, Opened
from otpsvc.http.pages.setting import complaining
from otpsvc.language import Words
from otpsvc.verify import CODE_MAX
from otpsvc.visit import Look


class CodePage:
    """`/otp/{namespace}/{id}`."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._visits = answers.visits

    async def show(self, opened: Opened) -> Reply:
        """GET."""
        look, words = await self._answers.look(opened)
        if look is None:
            return self._answers.ended(opened, words)
        if not look.to and look.open:
            return self._answers.redirect(opened, "/address")
        scene = self._answers.setting.code(opened.visit, look, words, opened.manner)
        # `otp` stood in the links of otpgateway.
        typed = opened.fields.get("otp", "")[:CODE_MAX]
        return self._answers.page(opened.exchange, structs.replace(scene, prefill=typed))

    async def act(self, opened: Opened) -> Reply:
        """POST: check, or send again."""
        look, words = await self._answers.look(opened)
        if look is None:
            return self._answers.ended(opened, words)
        resends = opened.fields.get("action") == "resend"
        # The form of a right code may be posted twice: the check then knows its first answer.
        if not look.open and (resends or look.view.state != "verified"):
            opened.exchange.code = "closed"
            return await self._again(opened)
        return await (self._resend if resends else self._check)(opened, look, words)

    async def _check(self, opened: Opened, look: Look, words: Words) -> Reply:
        visit, code = opened.visit, opened.fields.get("otp", "")
        try:
            _refuse_malformed(code, look)
            view = await self._visits.check(visit, code, address=opened.address, nonce=opened.nonce)
        except RequestError as error:
            return await self._again(opened, error=error)
        scene = self._answers.setting.ended("done", visit, words, opened.manner)
        # A link is opened in a mail's window, where nobody waits for a receipt.
        receipt = "" if visit.right == "link" else view.receipt
        return self._answers.page(opened.exchange, structs.replace(scene, fresh=True, receipt=receipt))

    async def _resend(self, opened: Opened, look: Look, words: Words) -> Reply:
        way, address, nonce = opened.fields.get("provider", ""), opened.address, opened.nonce
        try:
            if way and way != look.view.provider:
                if way not in look.ways:
                    raise NotFound("not a way to the same address")
                await self._visits.direct(opened.visit, way, "", address=address, nonce=nonce)
            else:
                await self._visits.resend(opened.visit, address=address, nonce=nonce)
        except RequestError as error:
            return await self._again(opened, error=error)
        return await self._again(opened, notice=words.say("notice_sent"))

    async def _again(self, opened: Opened, *, error: RequestError | None = None, notice: str = "") -> Reply:
        """The page as it is now, with what there is to say."""
        if error is not None:
            opened.exchange.code = error.code
        look, words = await self._answers.look(opened)
        if look is None:
            return self._answers.ended(opened, words)
        scene = self._answers.setting.code(opened.visit, look, words, opened.manner)
        if look.open:
            scene = structs.replace(scene, notice=notice)
            scene = complaining(scene, error) if error is not None else scene
        return self._answers.page(opened.exchange, scene)


def _refuse_malformed(code: str, look: Look) -> None:
    """What cannot be the code is not counted as an attempt. Raises: BadRequest."""
    typed = normalised(code, look.alphabet)
    if not typed:
        raise BadRequest("`otp` is empty.", code="empty_otp", field="otp")
    if not fits(typed, look.alphabet, look.length or None):
        raise BadRequest("Not the form of a code.", code="invalid_otp", field="otp")
