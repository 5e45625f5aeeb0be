"""What answers below `/demo`: pages, forms, and the inbox as JSON.

GET  /demo                     a form for the address
POST /demo/create              -> /demo/v/ID
GET  /demo/v/ID                the mail and a form for the code
POST /demo/v/ID/check, …/resend, …/cancel   -> /demo/v/ID
GET  /demo/v/ID/version        changes when the page would
GET  /demo/mail/N              the HTML part of a mail, for a frame without rights
GET  /demo/inbox               all mails, as JSON
GET  /demo/code/ID             the code from the last mail of a verification, for scripts
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body
from litestar.response import Redirect

from otpsvc.demo.front import is_ours
from otpsvc.demo.mailbox import Mail, Mailbox
from otpsvc.demo.page import STATIC, Pages, Scene
from otpsvc.demo.shop import Challenge, Reply, Shop, Verification, complaint

#: Seconds that an answer waits for a mail which is on its way.
_MOMENT: Final = 1.0
#: Seconds between two looks at a message that is on its way, and how many.
_LOOK, _LOOKS = 0.05, 100
_CSP: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: A mail brings styles of its own, and nothing else may happen in it.
_MAIL_CSP: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
_HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

Fields = dict[str, str]
Form = Annotated[Fields, Body(media_type=RequestEncodingType.URL_ENCODED)]
Asked = Request[Any, Any, Any]


class Doors:
    """Answers for one run of the demo; `token` is what its forms carry."""

    def __init__(self, *, shop: Shop, mailbox: Mailbox, token: str) -> None:
        self._shop = shop
        self._mailbox = mailbox
        self._token = token
        self._pages = Pages(token)

    def app(self) -> Litestar:
        """The doors as an ASGI app."""
        return Litestar(
            [*self._page_doors(), *self._form_doors(), *self._plain_doors()],
            openapi_config=None,
            logging_config=None,
            request_max_body_size=16_384,
            exception_handlers={HTTPException: self._refused},
            after_request=_with_headers,
        )

    def _page_doors(self) -> list[HTTPRouteHandler]:
        @get("/demo", media_type=MediaType.HTML, sync_to_thread=False)
        def start() -> str:
            return self._pages.start(mails=self._mailbox.mails()[:5])

        @get("/demo/v/{id:str}", media_type=MediaType.HTML)
        async def verification(id: str) -> str:
            return self._pages.scene(await self._scene(id))

        @get("/demo/v/{id:str}/version")
        async def version(id: str) -> dict[str, str]:
            return {"version": (await self._scene(id)).version}

        return [start, verification, version]

    def _form_doors(self) -> list[HTTPRouteHandler]:
        @post("/demo/create")
        async def create(request: Asked, data: Form) -> Response[str] | Redirect:
            self._refuse_others(request, data)
            return await self._create(data.get("to", "").strip())

        @post("/demo/v/{id:str}/check")
        async def check(request: Asked, id: str, data: Form) -> Redirect:
            self._refuse_others(request, data)
            await self._shop.check(self._known(id), data.get("otp", ""))
            return _see(id)

        @post("/demo/v/{id:str}/resend")
        async def resend(request: Asked, id: str, data: Form) -> Redirect:
            self._refuse_others(request, data)
            one, after = self._known(id), self._mailbox.taken
            if (await self._shop.resend(one)).ok:
                await self._mailbox.wait(one.to, after=after, seconds=_MOMENT)
            return _see(id)

        @post("/demo/v/{id:str}/cancel")
        async def cancel(request: Asked, id: str, data: Form) -> Redirect:
            self._refuse_others(request, data)
            await self._shop.cancel(self._known(id))
            return _see(id)

        return [create, check, resend, cancel]

    def _plain_doors(self) -> list[HTTPRouteHandler]:
        @get("/demo/mail/{number:int}", media_type=MediaType.HTML, sync_to_thread=False)
        def mail(number: int) -> Response[str]:
            found = self._mailbox.mail(number)
            if found is None or not found.html:
                raise HTTPException(status_code=404)
            return Response(found.html, headers={"Content-Security-Policy": _MAIL_CSP})

        @get("/demo/inbox", sync_to_thread=False)
        def inbox() -> list[Mail]:
            return self._mailbox.mails()

        @get("/demo/code/{id:str}", media_type=MediaType.TEXT)
        async def code(id: str) -> str:
            return await self._code(id)

        @get("/demo/static/{name:str}", sync_to_thread=False)
        def static(name: str) -> Response[bytes]:
            content = self._pages.static(name)
            if content is None:
                raise HTTPException(status_code=404)
            return Response(content, media_type=STATIC[name])

        return [mail, inbox, code, static]

    async def _create(self, to: str) -> Response[str] | Redirect:
        after = self._mailbox.taken
        one, reply = await self._shop.create(to, after=after)
        if not reply.ok:
            page = self._pages.start(to=to, error=complaint(reply), mails=self._mailbox.mails()[:5])
            return Response(page, status_code=_status(reply), media_type=MediaType.HTML)
        # A page without script does not look again by itself.
        await self._mailbox.wait(one.to, after=after, seconds=_MOMENT)
        return _see(one.id)

    async def _scene(self, id: str) -> Scene:
        """Raises: HTTPException, 404 for an id of which the shop knows nothing."""
        one = self._known(id)
        reply = await self._shop.read(id)
        if not reply.ok and reply.code != "not_found":
            raise HTTPException(status_code=503)
        challenge = reply.challenge if reply.ok else None
        if challenge is None:
            # The service forgets what has ended; the shop knows how.
            challenge = one.last if one.last and one.last.ended else None
        return Scene(
            one=one,
            challenge=challenge or Challenge(id, to=one.to, state="expired"),
            mails=self._mailbox.mails(one.to, after=one.after),
        )

    async def _code(self, id: str) -> str:
        """The code that a verification's last mail brought, as soon as it is there. Raises: HTTPException."""
        challenge = await self._settled(id)
        mails = self._mailbox.mails(challenge.to)
        if not mails or not mails[0].code:
            raise HTTPException(status_code=404)
        return mails[0].code + "\n"

    async def _settled(self, id: str) -> Challenge:
        """A challenge whose message is no longer on its way, or soon. Raises: HTTPException."""
        for _ in range(_LOOKS):
            reply = await self._shop.read(id)
            challenge = reply.challenge
            if not reply.ok or challenge is None:
                raise HTTPException(status_code=404 if reply.code == "not_found" else 503)
            if not challenge.on_its_way:
                return challenge
            await asyncio.sleep(_LOOK)
        raise HTTPException(status_code=503)

    def _known(self, id: str) -> Verification:
        one = self._shop.find(id)
        if one is None:
            raise HTTPException(status_code=404)
        return one

    def _refuse_others(self, request: Asked, data: Fields) -> None:
        """Raises: HTTPException, 403 for a form that is not ours."""
        ours = is_ours(
            site=request.headers.get("sec-fetch-site", ""),
            origin=request.headers.get("origin", ""),
            host=request.headers.get("host", ""),
            given=data.get("token", ""),
            token=self._token,
        )
        if not ours:
            raise HTTPException(status_code=403)

    def _refused(self, request: Asked, error: HTTPException) -> Response[str]:
        """A page for browsers, a line for everything else: it may stand in the middle of a command."""
        status = error.status_code
        title, text = _WORDS.get(status, _WORDS[400])
        if "text/html" in request.headers.get("accept", ""):
            page = self._pages.message(title, text)
            return Response(page, status_code=status, media_type=MediaType.HTML, headers=_HEADERS)
        return Response(title + ".\n", status_code=status, media_type=MediaType.TEXT, headers=_HEADERS)


_WORDS: Final = {
    400: ("That was no form of ours", "Please go back and try again."),
    403: ("This form is of another run", "The demo was started anew, or another site sent it. Start again."),
    404: ("There is nothing here", "The demo remembers a verification until it is stopped. Start a new one."),
    503: ("The service does not answer", "Please try again in a moment."),
}


def _with_headers(response: Response[Any]) -> Response[Any]:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _see(id: str) -> Redirect:
    return Redirect(f"/demo/v/{id}", status_code=303)


def _status(reply: Reply) -> int:
    return reply.http if reply.http in (400, 429) else 503
