"""The page that asks for an address, where the create gave none, or corrects one that was given here."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from otpsvc.errors import BadRequest, RequestError
from otpsvc.http.envelope import Reply
from otpsvc.http.pages.answers import Answers, Opened
from otpsvc.http.pages.scene import Scene
from otpsvc.http.pages.setting import complaining
from otpsvc.language import Words
from otpsvc.visit import Look

#: Characters of a wrong address that are shown again.
_SHOWN_MAX: Final = 256


class AddressPage:
    """`/otp/{namespace}/{id}/address`."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._visits = answers.visits

    async def show(self, opened: Opened) -> Reply:
        """GET."""
        look, words = await self._answers.look(opened)
        if look is None:
            return self._answers.ended(opened, words)
        if not _may_give_address(opened, look):
            return self._answers.redirect(opened)
        return self._answers.page(opened.exchange, self._scene(opened, look, words))

    async def take(self, opened: Opened) -> Reply:
        """POST: the code goes there."""
        look, words = await self._answers.look(opened)
        if look is None:
            return self._answers.ended(opened, words)
        if not _may_give_address(opened, look):
            return self._answers.redirect(opened)
        scene, to = self._scene(opened, look, words), opened.fields.get("to", "").strip()
        try:
            await self._send(opened, scene.way, to, locale=words.locale)
        except RequestError as error:
            opened.exchange.code = error.code
            scene = complaining(
                structs.replace(scene, typed=to[:_SHOWN_MAX]), error.code, wait=error.retry_after
            )
            return self._answers.page(opened.exchange, scene)
        return self._answers.redirect(opened)

    async def _send(self, opened: Opened, way: str, to: str, *, locale: str) -> None:
        if not to:
            raise BadRequest("The address is empty.", code="invalid_address", field="to")
        await self._visits.direct(
            opened.visit, way, to, address=opened.address, nonce=opened.nonce, locale=locale
        )

    def _scene(self, opened: Opened, look: Look, words: Words) -> Scene:
        visit, chosen = opened.visit, look.view.provider
        ways = self._visits.ways(visit.tenant, chosen)
        kinds = {way: self._visits.kind(visit.tenant, way) for way in ways}
        wanted = opened.fields.get("provider", "")
        way = wanted if wanted in kinds else chosen
        return self._answers.setting.address(visit, look, words, opened.manner, way=way, kinds=kinds)


def _may_give_address(opened: Opened, look: Look) -> bool:
    return opened.visit.full and look.open and (not look.to or look.can_change_address)
