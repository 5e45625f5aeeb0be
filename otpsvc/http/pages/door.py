"""The door of the pages: `/otp/{namespace}/{id}`, its `/address` and its `/status`.

They work without script: every form is answered by a page or a redirect, and a form that
is posted twice gets its first answer. A GET changes nothing. Whoever has no valid token
gets one fixed answer, whatever the reason, and no look into the store. (SECURITY 8 to 15)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from otpsvc.errors import BadRequest, Busy, Limited, NotFound
from otpsvc.http.auth import Buckets
from otpsvc.http.envelope import Reply, encode, secured
from otpsvc.http.exchange import Exchange
from otpsvc.http.fields import read_body, read_fields, read_form, unquoted_segment
from otpsvc.http.pages.address import AddressPage
from otpsvc.http.pages.answers import Answers, Opened
from otpsvc.http.pages.code import CodePage
from otpsvc.http.pages.setting import Manner, read_manner, version, words_of
from otpsvc.http.parts import Parts
from otpsvc.request import client_prefix

AnyRequest = Request[Any, Any, Any]
Answer = Callable[[Opened], Awaitable[Reply]]

#: Forms that one client may post at once, and seconds until one more is allowed.
BURST: Final = 100
REFILL: Final = 0.2
_EXPIRED: Final = b'{"status":"error","message":"Session expired.","code":"not_found"}'


class PageDoor:
    """Made once for each process."""

    def __init__(self, parts: Parts) -> None:
        self._answers = Answers(parts)
        self._buckets = Buckets(BURST, REFILL)

    def routes(self) -> list[HTTPRouteHandler]:
        """For Litestar."""
        page, code, address = (
            "/otp/{namespace:str}/{id:str}",
            CodePage(self._answers),
            AddressPage(self._answers),
        )
        return [
            self._route(page, get=code.show, post=code.act),
            self._route(page + "/address", get=address.show, post=address.take),
            self._route(page + "/status", get=self._status),
        ]

    def _route(self, path: str, *, get: Answer, post: Answer | None = None) -> HTTPRouteHandler:
        async def serve(request: AnyRequest) -> ASGIApp:
            return await self._serve(request, post if request.method == "POST" and post else get)

        methods = ["GET", "HEAD", "POST"] if post else ["GET", "HEAD"]
        return HTTPRouteHandler(path, http_method=methods)(serve)  # type: ignore[arg-type]

    async def _serve(self, request: AnyRequest, answer: Answer) -> Reply:
        """Every error becomes a page."""
        exchange: Exchange = request.scope["state"]["exchange"]
        try:
            opened = await self._open(request, exchange)
        except (BadRequest, NotFound):
            return self._gone(exchange)
        try:
            if request.method == "POST" or opened.visit.right == "open":
                self._slow_down(exchange.address)
            return await answer(opened)
        except (Busy, Limited) as error:
            return self._busy(opened, error)
        except (BadRequest, NotFound):
            return self._gone(exchange)

    async def _open(self, request: AnyRequest, exchange: Exchange) -> Opened:
        """Raises: NotFound (no right, or not from here), BadRequest."""
        path, headers, posted = request.path_params, exchange.headers, request.method == "POST"
        body = await read_body(request.receive, headers) if posted else b""  # type: ignore[arg-type]
        # A client that keeps the query of `action="?"` sends the token twice: the form's fields count.
        fields = read_form(request.scope["query_string"])
        fields |= read_fields(body, headers.get(b"content-type", b""), b"")
        manner = read_manner(fields, _language(exchange))
        visit = self._answers.visits.admit(path["namespace"], unquoted_segment(path["id"]), manner.token)
        if posted:
            _refuse_foreign(headers, strict=visit.right == "open")
        exchange.tenant = visit.tenant.name
        return Opened(exchange, visit, manner, fields)

    def _slow_down(self, address: str) -> None:
        """Raises: Limited, when this client asks too often."""
        if address and (wait := self._buckets.take(client_prefix(address))):
            words = f"Too many requests from this client. Retry after {wait} seconds."
            raise Limited(words, retry_after=wait, code="client_limit")

    async def _status(self, opened: Opened) -> Reply:
        """GET: the state for the page's script, as otpgateway answers it, with a word and a version."""
        look, _ = await self._answers.look(opened)
        if look is None:
            return _json(400, _EXPIRED, opened.exchange)
        view = look.view
        body = encode({"closed": view.closed, "state": view.state, "version": version(view)})
        return _json(200, body, opened.exchange)

    def _gone(self, exchange: Exchange) -> Reply:
        """The same for everybody who has no right to see more."""
        words = words_of(Manner(accept=_language(exchange)))
        return self._answers.page(exchange, self._answers.setting.gone(words), 404)

    def _busy(self, opened: Opened, error: Busy | Limited) -> Reply:
        opened.exchange.code = error.code
        words = words_of(opened.manner, opened.visit.tenant)
        scene = self._answers.setting.ended("busy", opened.visit, words, opened.manner)
        status = 429 if isinstance(error, Limited) else 503
        after = (b"retry-after", b"%d" % error.retry_after)
        return self._answers.page(opened.exchange, scene, status, after)


def _refuse_foreign(headers: Mapping[bytes, bytes], *, strict: bool) -> None:
    """Forms of other sites. `strict`: also of other origins, where no token speaks for the form.

    Raises: NotFound.
    """
    site = headers.get(b"sec-fetch-site", b"")
    if site == b"cross-site" or (strict and site == b"same-site"):
        raise NotFound("not from here")


def _language(exchange: Exchange) -> str:
    return exchange.headers.get(b"accept-language", b"").decode("latin-1")


def _json(status: int, body: bytes, exchange: Exchange) -> Reply:
    kind = (b"content-type", b"application/json; charset=utf-8")
    headers = [kind, (b"content-length", b"%d" % len(body))]
    return Reply(status, body, secured(headers, exchange.id))
