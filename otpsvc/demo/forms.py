"""What a visitor can do: each a POST with the run's token, none by GET.

POST /demo/sign-up, /demo/sign-in   -> /demo/v/ID
POST /demo/v/ID/done                the receipt, or nothing from a page without script
POST /demo/v/ID/again, …/guess, …/cancel, …/forget
POST /demo/faults                   turns a switch
POST /demo/sign-out
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from litestar import MediaType, Request, Response, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body
from litestar.response import Redirect

from otpsvc.demo.client import Reply
from otpsvc.demo.front import is_ours
from otpsvc.demo.room import COOKIE, Room
from otpsvc.demo.shop import WAYS, Kind, Verification, Visitor, in_words

#: Of a code while no message has come: as good a guess as any.
_BLIND: Final = "000000"

Fields = dict[str, str]
Form = Annotated[Fields, Body(media_type=RequestEncodingType.URL_ENCODED)]
Asked = Request[Any, Any, Any]


class Forms:
    """The doors that change something."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def doors(self) -> list[HTTPRouteHandler]:
        """For Litestar."""
        return [*self._shop_doors(), *self._verification_doors(), self._faults_door()]

    def _shop_doors(self) -> list[HTTPRouteHandler]:
        @post("/demo/sign-up")
        async def sign_up(request: Asked, data: Form) -> Response[Any]:
            self._refuse_others(request, data)
            return await self._begin(request, "sign-up", data)

        @post("/demo/sign-in")
        async def sign_in(request: Asked, data: Form) -> Response[Any]:
            self._refuse_others(request, data)
            return await self._begin(request, "sign-in", data)

        @post("/demo/sign-out")
        async def sign_out(request: Asked, data: Form) -> Response[Any]:
            self._refuse_others(request, data)
            self._room.shop.forget_cookie(request.cookies.get(COOKIE, ""))
            return Redirect("/demo", status_code=303, cookies=[_cookie("", ends=True)])

        return [sign_up, sign_in, sign_out]

    def _verification_doors(self) -> list[HTTPRouteHandler]:
        room = self._room

        @post("/demo/v/{id:str}/done")
        async def done(request: Asked, id: str, data: Form) -> Response[Any]:
            self._refuse_others(request, data)
            return await self._finish(request, room.known(id), data.get("receipt", ""))

        @post("/demo/v/{id:str}/again")
        async def again(request: Asked, id: str, data: Form) -> Response[Any]:
            self._refuse_others(request, data)
            one = room.known(id)
            before = room.before()
            await room.shop.again(one)
            if one.aside and one.aside.kind == "good":
                await room.arrival(one, before)
            return _see(id)

        @post("/demo/v/{id:str}/guess")
        async def guess(request: Asked, id: str, data: Form) -> Response[Any]:
            self._refuse_others(request, data)
            scene = await room.scene(id)
            await room.shop.guess(scene.one, scene.wrong or _BLIND)
            return _see(id)

        return [
            done, again, guess,
            self._plain_door("cancel", room.shop.cancel), self._plain_door("forget", room.shop.forget),
        ]  # fmt: skip

    def _plain_door(self, name: str, do: Callable[[Verification], Awaitable[None]]) -> HTTPRouteHandler:
        async def door(request: Asked, id: str, data: Form) -> Response[Any]:
            self._refuse_others(request, data)
            await do(self._room.known(id))
            return _see(id)

        return post(f"/demo/v/{{id:str}}/{name}", name=name)(door)

    def _faults_door(self) -> HTTPRouteHandler:
        @post("/demo/faults")
        async def faults(request: Asked, data: Form) -> Response[Any]:
            self._refuse_others(request, data)
            if not await self._room.faults.turn(data.get("switch", ""), data.get("mood", "")):
                raise HTTPException(status_code=400)
            back = data.get("back", "")
            return _see(self._room.known(back).id) if back else Redirect("/demo", status_code=303)

        return faults

    async def _begin(self, request: Asked, kind: Kind, data: Fields) -> Response[Any]:
        """Ask for a verification: with the address, or for the variant in which otpsvc asks for it."""
        room, to = self._room, data.get("to", "").strip()
        cookie = request.cookies.get(COOKIE, "")
        by = data.get("by", WAYS[kind][0])
        if by not in WAYS[kind]:
            raise HTTPException(status_code=400)
        if not to and data.get("ask") != "otpsvc":
            return self._again(cookie, kind, to, by, Reply(http=400, message=_MISSING[kind]))
        visitor = room.shop.visitor(cookie) or room.shop.welcome()
        before = room.before()
        client_ip = request.client.host if request.client else ""
        one, reply = await room.shop.begin(
            kind, to, by=by, visitor=visitor, before=before, client_ip=client_ip
        )
        if not reply.ok:
            return self._again(cookie, kind, to, by, reply)
        await room.arrival(one, before)
        return _see(one.id, visitor)

    def _again(self, cookie: str, kind: Kind, to: str, by: str, reply: Reply) -> Response[Any]:
        page = self._room.start_page(cookie, form=kind, typed=to, by=by, error=in_words(reply))
        status = reply.http if reply.http in (400, 429) else 503
        return Response(page, status_code=status, media_type=MediaType.HTML)

    async def _finish(self, request: Asked, one: Verification, receipt: str) -> Response[Any]:
        """Sign the visitor up or in, when the service says yes and this is who began."""
        visitor = self._room.shop.visitor(request.cookies.get(COOKIE, ""))
        if visitor is not one.visitor:
            # Else a link could sign people in to somebody else's account.
            page = self._room.pages.message(*_FOREIGN)
            return Response(page, status_code=403, media_type=MediaType.HTML)
        if one.done or not await self._room.shop.finish(one, receipt):
            return _see(one.id)
        self._room.shop.sign_in(visitor, one.to)
        return _see(one.id, visitor)

    def _refuse_others(self, request: Asked, data: Fields) -> None:
        """Raises: HTTPException, 403 for a form that is not ours."""
        ours = is_ours(
            site=request.headers.get("sec-fetch-site", ""),
            origin=request.headers.get("origin", ""),
            host=request.headers.get("host", ""),
            given=data.get("token", ""),
            token=self._room.token,
        )
        if not ours:
            raise HTTPException(status_code=403)


_FOREIGN: Final = (
    "Begun in another browser",
    "The shop knows you by a cookie, and yours is not the one with which this was begun.",
)
_MISSING: Final[dict[Kind, str]] = {
    "sign-up": "Please type an e-mail address.",
    "sign-in": "Please type a phone number.",
}


def _see(id: str, visitor: Visitor | None = None) -> Redirect:
    cookies = [_cookie(visitor.cookie)] if visitor else []
    return Redirect(f"/demo/v/{id}", status_code=303, cookies=cookies)


def _cookie(value: str, *, ends: bool = False) -> Cookie:
    return Cookie(
        key=COOKIE, value=value, path="/demo", httponly=True, samesite="lax", max_age=0 if ends else None
    )
