"""What answers below `/demo`: pages, the inbox as JSON, and files. What changes something is in `forms`.

GET  /demo                     the shop's first page
GET  /demo/v/ID                the widget, the messages and what goes on behind
GET  /demo/version, /demo/v/ID/version   change when the page would
GET  /demo/mail/N              the HTML part of a mail, for a frame that runs nothing
GET  /demo/inbox               all messages, as JSON
GET  /demo/code/ID             the code from the last message of a verification, for scripts
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from litestar import Litestar, MediaType, Request, Response, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from otpsvc.demo.client import Challenge
from otpsvc.demo.forms import Forms
from otpsvc.demo.handset import Text
from otpsvc.demo.mailbox import Mail
from otpsvc.demo.page import STATIC, Start
from otpsvc.demo.room import COOKIE, Room
from otpsvc.demo.shop import MAIL

#: Seconds between two looks at a message that is on its way, and how many.
_LOOK, _LOOKS = 0.05, 100
#: A mail brings styles of its own and links that open elsewhere; nothing else may happen in it.
_MAIL_CSP: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self';"
    " sandbox allow-popups allow-popups-to-escape-sandbox"
)
_HEAD: Final = re.compile(r"<head[^>]*>", re.IGNORECASE)
_ELSEWHERE: Final = '<base target="_blank">'

Asked = Request[Any, Any, Any]


class Doors:
    """Answers for one run of the demo."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._headers = _headers(room.root)

    def app(self) -> Litestar:
        """The doors as an ASGI app."""
        return Litestar(
            [*self._page_doors(), *self._message_doors(), *Forms(self._room).doors()],
            openapi_config=None,
            logging_config=None,
            request_max_body_size=16_384,
            exception_handlers={HTTPException: self._refused},
            after_request=self._guarded,
        )

    def _page_doors(self) -> list[HTTPRouteHandler]:
        room = self._room

        @get("/demo", media_type=MediaType.HTML, sync_to_thread=False)
        def start(request: Asked) -> str:
            return room.start_page(request.cookies.get(COOKIE, ""))

        @get("/demo/version", sync_to_thread=False)
        def start_version() -> dict[str, str]:
            return {"version": Start(inbox=room.inbox()).version(room.faults)}

        @get("/demo/v/{id:str}", media_type=MediaType.HTML)
        async def verification(request: Asked, id: str) -> str:
            return await room.page(id, request.cookies.get(COOKIE, ""))

        @get("/demo/v/{id:str}/version")
        async def version(id: str) -> dict[str, str]:
            return {"version": (await room.scene(id)).version(room.faults)}

        @get("/demo/static/{name:str}", sync_to_thread=False)
        def static(name: str) -> Response[bytes]:
            content = room.pages.static(name)
            if content is None:
                raise HTTPException(status_code=404)
            return Response(content, media_type=STATIC[name])

        return [start, start_version, verification, version, static]

    def _message_doors(self) -> list[HTTPRouteHandler]:
        room = self._room

        @get("/demo/mail/{number:int}", media_type=MediaType.HTML, sync_to_thread=False)
        def mail(number: int) -> Response[str]:
            found = room.mailbox.mail(number)
            if found is None or not found.html:
                raise HTTPException(status_code=404)
            # As mail programs do: its links open a window of their own.
            html = _HEAD.sub(lambda head: head[0] + _ELSEWHERE, found.html, count=1)
            return Response(html, headers={"Content-Security-Policy": _MAIL_CSP})

        @get("/demo/inbox", sync_to_thread=False)
        def inbox() -> list[Mail | Text]:
            both: list[Mail | Text] = [*room.mailbox.mails(), *room.handset.texts()]
            return sorted(both, key=lambda message: message.at, reverse=True)

        @get("/demo/code/{id:str}", media_type=MediaType.TEXT)
        async def code(id: str) -> str:
            return await self._code(id)

        return [mail, inbox, code]

    async def _code(self, id: str) -> str:
        """The code that a verification's last message brought, as soon as it is there.

        Raises: HTTPException.
        """
        challenge = await self._settled(id)
        room = self._room
        messages: list[Mail] | list[Text] = (
            room.mailbox.mails(challenge.to)
            if challenge.provider == MAIL
            else room.handset.texts_of(id, challenge.to)
        )
        if not challenge.to or not messages or not messages[0].code:
            raise HTTPException(status_code=404)
        return messages[0].code + "\n"

    async def _settled(self, id: str) -> Challenge:
        """A challenge whose message is no longer on its way, or soon. Raises: HTTPException."""
        for _ in range(_LOOKS):
            reply = await self._room.shop.read(id)
            challenge = reply.challenge
            if not reply.ok or challenge is None:
                raise HTTPException(status_code=404 if reply.code == "not_found" else 503)
            if not challenge.on_its_way:
                return challenge
            await asyncio.sleep(_LOOK)
        raise HTTPException(status_code=503)

    def _refused(self, request: Asked, error: HTTPException) -> Response[str]:
        """A page for browsers, a line for everything else: it may stand in the middle of a command."""
        status = error.status_code
        title, text = _WORDS.get(status, _WORDS[400])
        if "text/html" in request.headers.get("accept", ""):
            page = self._room.pages.message(title, text)
            return Response(page, status_code=status, media_type=MediaType.HTML, headers=self._headers)
        return Response(title + ".\n", status_code=status, media_type=MediaType.TEXT, headers=self._headers)

    def _guarded(self, response: Response[Any]) -> Response[Any]:
        for name, value in self._headers.items():
            response.headers.setdefault(name, value)
        return response


def _headers(root: str) -> dict[str, str]:
    """`root` beside 'self': who comes by the name localhost gets widget and frame from there."""
    policy = (
        f"default-src 'none'; style-src 'self'; script-src 'self' {root}; img-src 'self';"
        f" connect-src 'self'; frame-src 'self' {root}; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


_WORDS: Final = {
    400: ("That was no form of ours", "Please go back and try again."),
    403: ("This form is of another run", "The demo was started anew, or another site sent it. Start again."),
    404: ("There is nothing here", "The demo remembers a verification until it is stopped. Start a new one."),
    503: ("The service does not answer", "Please try again in a moment."),
}
