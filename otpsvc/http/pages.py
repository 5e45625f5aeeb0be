"""The page behind `url`: a form for the code that works without script, for who holds the view token.

Whoever has no valid token gets one fixed answer, whatever the reason, and no look
into the store. Finished pages with address form, resend and widget come later.
"""

from __future__ import annotations

import time
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any, Final

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from otpsvc.dispatch import Client
from otpsvc.errors import BadRequest, Busy, NotFound, RequestError
from otpsvc.http.envelope import Reply, secured
from otpsvc.http.exchange import Exchange
from otpsvc.http.fields import read_body, read_fields, unquoted_segment
from otpsvc.http.parts import Parts
from otpsvc.tenant import Tenant
from otpsvc.token import Subject
from otpsvc.token import read as read_token
from otpsvc.view import View

_STYLE: Final = (
    ":root{color-scheme:light dark;font:1.05rem/1.5 system-ui,sans-serif}"
    "body{max-width:24rem;margin:12vh auto;padding:0 1.2rem}h1{font-size:1.3rem}"
    "input,button{font:inherit;width:100%;box-sizing:border-box;padding:.7rem;border-radius:.5rem;"
    "border:1px solid #8888;margin:.4rem 0}input{letter-spacing:.3em;text-align:center}"
    "button{background:#1d5fd1;color:#fff;border:0;cursor:pointer}.no{color:#c0392b}"
)
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    '<meta name="robots" content="noindex">'
    "<title>{title}</title><style>{style}</style><h1>{title}</h1>{main}</html>"
)
_FORM: Final = (
    '{said}<form method="post" action="?"><input type="hidden" name="t" value="{token}">'
    '<label for="otp">{label}</label><input id="otp" name="otp" required autofocus maxlength="64"'
    ' autocomplete="one-time-code" inputmode="{mode}"><button>Verify</button></form>'
)
#: State of a challenge -> title and text of its page.
_ENDS: Final = {
    "verified": ("Verified", "You can close this window."),
    "locked": ("Too many attempts", "Ask for a new code where you came from."),
    "expired": ("Too late", "The code has expired. Ask for a new one where you came from."),
}
_GONE: Final = ("Not available", "This page does not exist, or not any more.")


class Page:
    """`/otp/{namespace}/{id}`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def route(self) -> HTTPRouteHandler:
        """For Litestar."""

        async def page(request: Request[Any, Any, Any]) -> ASGIApp:
            exchange: Exchange = request.scope["state"]["exchange"]
            try:
                return await self._answer(request, exchange)
            except Busy as error:
                exchange.code = error.code
                return _reply(503, "Not now", "Please try again in a moment.", exchange.id)
            except (BadRequest, NotFound):
                return _reply(404, *_GONE, exchange.id)

        return HTTPRouteHandler("/otp/{namespace:str}/{id:str}", http_method=["GET", "POST"])(page)

    async def _answer(self, request: Request[Any, Any, Any], exchange: Exchange) -> Reply:
        """Raises: BadRequest, NotFound, Busy."""
        posted, headers = request.method == "POST", exchange.headers
        if posted and headers.get(b"sec-fetch-site", b"") == b"cross-site":
            raise NotFound("not from here")
        body = await read_body(request.receive, headers) if posted else b""  # type: ignore[arg-type]
        query = request.scope["query_string"]
        fields = read_fields(body, headers.get(b"content-type", b""), query)
        tenant, view = await self._open(request.path_params, fields.get("t", ""))
        exchange.tenant = tenant.name
        said = ""
        if posted and view.state == "pending":
            view, said = await self._check(tenant, view, fields.get("otp", ""), exchange)
        elif posted:
            exchange.code = "closed"
        return _show(tenant, view, said, fields["t"], exchange.id)

    async def _open(self, path: dict[str, str], token: str) -> tuple[Tenant, View]:
        """Whose page it is, and its challenge. Raises: NotFound, BadRequest, Busy."""
        verifier, name, id = self._parts.verifier, path["namespace"], unquoted_segment(path["id"])
        read = read_token(verifier.keyring, "view", Subject(name, id), token, now=time.time())
        tenant = self._parts.tenants().get(name)
        if read is None or tenant is None:
            raise NotFound("no valid token")
        view = await verifier.read(tenant, id)
        # A create since then belongs to another page. A guess that races it is still only
        # one of the newer challenge's counted guesses.
        if view.gen != read.gen.hex():
            raise NotFound("of an older create")
        return tenant, view

    async def _check(self, tenant: Tenant, view: View, code: str, exchange: Exchange) -> tuple[View, str]:
        verifier, said = self._parts.verifier, ""
        try:
            client = Client(exchange.address, bool(exchange.address))
            return await verifier.check(tenant, view.id, code, client=client), said
        except RequestError as error:
            exchange.code = error.code
            said = "This code is not right." if error.code == "wrong_code" else error.message
        return await verifier.read(tenant, view.id), said


def _show(tenant: Tenant, view: View, said: str, token: str, request_id: bytes) -> Reply:
    if view.state in _ENDS:
        return _reply(200, *_ENDS[view.state], request_id)
    if view.state != "pending":
        return _reply(404, *_GONE, request_id)
    label = view.channel_description or f"Enter the code that {tenant.title or tenant.name} sent you."
    main = _FORM.format(
        said=f'<p class="no" role="alert">{escape(said)}</p>' if said else "",
        token=escape(token),
        label=escape(label),
        mode="numeric" if tenant.codes.alphabet == "digits" else "text",
    )
    return _html(200, "Enter your code", main, request_id)


def _reply(status: int, title: str, text: str, request_id: bytes) -> Reply:
    return _html(status, title, f"<p>{escape(text)}</p>", request_id)


def _html(status: int, title: str, main: str, request_id: bytes) -> Reply:
    body = _PAGE.format(title=escape(title), style=_STYLE, main=main).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"content-security-policy", _POLICY.encode()),
        (b"referrer-policy", b"same-origin"),
    ]
    return Reply(status, body, secured(headers, request_id))
