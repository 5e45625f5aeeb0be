"""What one run of the demo has in it, and the pages that are made of it."""

from __future__ import annotations

import asyncio
from typing import Final

from litestar.exceptions import HTTPException

from otpsvc.demo.client import Challenge
from otpsvc.demo.fault import Faults
from otpsvc.demo.handset import Handset
from otpsvc.demo.mailbox import Mailbox
from otpsvc.demo.page import Inbox, Pages, Scene, Start
from otpsvc.demo.shelf import Shelf
from otpsvc.demo.shop import ENDS, SMS, Before, Shop, Verification, Visitor

#: The session of the shop, and nobody else's.
COOKIE: Final = "demo_shop"
#: Seconds that an answer waits for a message which is on its way.
_MOMENT: Final = 1.0
#: Messages of each kind on the first page.
_LAST: Final = 3


class Room:
    """`root` is where service and demo are; `token` is what the demo's forms carry."""

    def __init__(
        self,
        *,
        shop: Shop,
        mailbox: Mailbox,
        handset: Handset,
        faults: Faults,
        shelf: Shelf,
        root: str,
        token: str,
    ) -> None:
        self.shop = shop
        self.mailbox = mailbox
        self.handset = handset
        self.root = root
        self.token = token
        self.faults = faults
        self.pages = Pages(token, root, faults)
        self._shelf = shelf

    def known(self, id: str) -> Verification:
        """Raises: HTTPException, 404 for an id of which the shop knows nothing."""
        one = self.shop.find(id)
        if one is None:
            raise HTTPException(status_code=404)
        return one

    def inbox(self) -> Inbox:
        """The last messages of all."""
        return Inbox(mails=self.mailbox.mails()[:_LAST], texts=self.handset.texts()[:_LAST])

    def _inbox_of(self, one: Verification, to: str) -> Inbox:
        """The messages of one verification: whoever named the address may have named a number."""
        mails = self.mailbox.mails(to, after=one.before.mails) if "@" in to else []
        return Inbox(mails=mails, texts=self.handset.texts_of(one.id, to, after=one.before.texts))

    def start_page(
        self, cookie: str, *, form: str = "", typed: str = "", by: str = SMS, error: str = ""
    ) -> str:
        account = self._account(self.shop.visitor(cookie))
        return self.pages.start(
            Start(inbox=self.inbox(), account=account, form=form, typed=typed, by=by, error=error)
        )

    async def page(self, id: str, cookie: str) -> str:
        """A verification's page, with the store as it is now. Raises: HTTPException."""
        scene = await self.scene(id)
        newest = scene.inbox.newest
        view = await self._shelf.view(id, secrets=(newest.code if newest else "", scene.seen.to, id))
        return self.pages.scene(scene, view=view, account=self._account(self.shop.visitor(cookie)))

    async def scene(self, id: str) -> Scene:
        """Where a verification stands. Raises: HTTPException: unknown, or the service is away."""
        one = self.known(id)
        reply, raw = await asyncio.gather(self.shop.read(id), self._shelf.glance(id))
        if not reply.ok and reply.code != "not_found":
            raise HTTPException(status_code=503)
        seen = (reply.challenge if reply.ok else None) or _remembered(one)
        return Scene(one=one, seen=seen, inbox=self._inbox_of(one, seen.to), raw=raw)

    async def arrival(self, one: Verification, before: Before) -> None:
        """Wait a moment for a message: a page without script does not look again by itself."""
        if not one.to or self.faults.mood(ENDS[one.provider]) != "works":
            return
        if "@" in one.to:
            await self.mailbox.wait(one.to, after=before.mails, seconds=_MOMENT)
        else:
            await self.handset.wait(one.id, one.to, after=before.texts, seconds=_MOMENT)

    def before(self) -> Before:
        """The messages that have come by now."""
        return Before(mails=self.mailbox.taken, texts=self.handset.taken)

    @staticmethod
    def _account(visitor: Visitor | None) -> str:
        return visitor.account if visitor else ""


def _remembered(one: Verification) -> Challenge:
    """How it ended: the service forgets, the shop knows."""
    if one.last and one.last.ended:
        return one.last
    return Challenge(one.id, to=one.to, provider=one.provider, state="expired")
