"""The page of a code: shows it, checks it, sends it again."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from otpsvc.code import fits, normalised
from otpsvc.errors import BadRequest, NotFound, RequestError
from otpsvc.http.envelope import Reply
from otpsvc.http.pages.answers import Answers, Opened
from otpsvc.http.pages.scene import Scene
from otpsvc.http.pages.setting import complaining
from otpsvc.language import Words
from otpsvc.verify import CODE_MAX
from otpsvc.visit import Look

#: What a redirect may have the page say: the refusals that lead to it, and that a message was sent.
_SENT: Final = "sent"
_REFUSALS: Final = frozenset({"wrong_code", "invalid_otp", "empty_otp"})


class CodePage:
    """`/otp/{namespace}/{id}`.

    A form is answered by the page that comes next. Where no script asked, a redirect leads to it,
    so that a browser can go back, load it anew and open its address.
    """

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
        scene = _saying(structs.replace(scene, prefill=typed), opened.fields.get("said", ""))
        return self._answers.page(opened.exchange, scene)

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
        return await (self._resend(opened, look) if resends else self._check(opened, look, words))

    async def _check(self, opened: Opened, look: Look, words: Words) -> Reply:
        visit, code = opened.visit, opened.fields.get("otp", "")
        try:
            _refuse_malformed(code, look)
            view = await self._visits.check(visit, code, address=opened.address, nonce=opened.nonce)
        except RequestError as error:
            return await self._again(opened, error=error)
        if opened.navigates:
            return self._answers.redirect(opened)
        scene = self._answers.setting.ended("done", visit, words, opened.manner)
        # A link is opened in a mail's window, where nobody waits for a receipt.
        receipt = "" if visit.right == "link" else view.receipt
        return self._answers.page(opened.exchange, structs.replace(scene, fresh=True, receipt=receipt))

    async def _resend(self, opened: Opened, look: Look) -> Reply:
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
        return await self._again(opened, said=_SENT)

    async def _again(self, opened: Opened, *, error: RequestError | None = None, said: str = "") -> Reply:
        """The page as it is now, with what there is to say."""
        if error is not None:
            said = opened.exchange.code = error.code
        if opened.navigates and (said == _SENT or said in _REFUSALS):
            return self._answers.redirect(opened, said=said)
        look, words = await self._answers.look(opened)
        if look is None:
            return self._answers.ended(opened, words)
        scene = self._answers.setting.code(opened.visit, look, words, opened.manner)
        if look.open:
            scene = complaining(scene, said, wait=error.retry_after) if error else _saying(scene, said)
        return self._answers.page(opened.exchange, scene)


def _saying(scene: Scene, word: str) -> Scene:
    """With what a word means, where the form is shown."""
    if scene.kind not in ("code", "link"):
        return scene
    if word == _SENT:
        return structs.replace(scene, notice=scene.words.say("notice_sent"))
    return complaining(scene, word) if word in _REFUSALS else scene


def _refuse_malformed(code: str, look: Look) -> None:
    """What cannot be the code is not counted as an attempt. Raises: BadRequest."""
    typed = normalised(code, look.alphabet)
    if not typed:
        raise BadRequest("`otp` is empty.", code="empty_otp", field="otp")
    if not fits(typed, look.alphabet, look.length or None):
        raise BadRequest("Not the form of a code.", code="invalid_otp", field="otp")
