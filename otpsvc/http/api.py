"""The tenants' API: every call as a Litestar route, behind the hot path (`hot.py`)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from otpsvc.errors import BadRequest
from otpsvc.http.asked import Call
from otpsvc.http.calls import CALLS
from otpsvc.http.docs import PATHS, Docs
from otpsvc.http.envelope import Reply, secured, unrouted
from otpsvc.http.exchange import Exchange
from otpsvc.http.fields import unquoted_segment
from otpsvc.http.health import Pulse
from otpsvc.http.pages.door import PageDoor
from otpsvc.http.parts import Parts
from otpsvc.http.static import static

_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_HELLO: Final = b"otpsvc"

AnyRequest = Request[Any, Any, Any]


def framed(parts: Parts) -> Litestar:
    """Every call in every form."""
    routes = [*_calls(), _health(parts), _hello(), *PageDoor(parts).routes(), static()]
    if parts.open_docs:
        routes.append(_docs(Docs(parts.root_url)))
    return Litestar(
        routes,
        openapi_config=None,
        logging_config=None,
        exception_handlers={Exception: _refuse},
    )


def exchange_of(request: AnyRequest) -> Exchange:
    """What `Front` began."""
    exchange: Exchange = request.scope["state"]["exchange"]
    return exchange


def _calls() -> list[HTTPRouteHandler]:
    """One handler for each path, with all its methods."""
    paths: dict[str, dict[str, Call]] = defaultdict(dict)
    for call in CALLS:
        paths[call.route][call.method] = call
    return [_handler(path, calls) for path, calls in paths.items()]


def _handler(path: str, calls: dict[str, Call]) -> HTTPRouteHandler:
    async def serve(request: AnyRequest) -> ASGIApp:
        exchange, call = exchange_of(request), calls[request.method]
        try:
            id = unquoted_segment(next(iter(request.path_params.values()), ""))
        except BadRequest as error:
            return exchange.refuse(error)
        return await exchange.answer(call, id, request.receive)  # type: ignore[arg-type]

    path, methods = path.replace("}", ":str}"), list(calls)
    # The status is that of the answer; Litestar's own guess for DELETE forbids a body.
    return HTTPRouteHandler(path, http_method=methods, status_code=200)(serve)  # type: ignore[arg-type]


def _health(parts: Parts) -> HTTPRouteHandler:
    pulse = Pulse(parts.verifier.store)

    async def health(request: AnyRequest) -> ASGIApp:
        return await pulse.answer(exchange_of(request))

    return HTTPRouteHandler("/api/health", http_method="GET")(health)


def _hello() -> HTTPRouteHandler:
    async def hello(request: AnyRequest) -> ASGIApp:
        length = (b"content-length", b"%d" % len(_HELLO))
        return Reply(200, _HELLO, secured([_TEXT, length], exchange_of(request).id))

    return HTTPRouteHandler("/", http_method="GET")(hello)


def _docs(docs: Docs) -> HTTPRouteHandler:
    async def show(request: AnyRequest) -> ASGIApp:
        page = docs.page(request.scope["path"])
        return page or unrouted(404, exchange_of(request).id, problem=False)

    return HTTPRouteHandler(list(PATHS), http_method="GET")(show)


def _refuse(request: AnyRequest, error: Exception) -> Response[bytes]:
    """What Litestar itself refuses: unknown paths and methods."""
    exchange = exchange_of(request)
    reply = _unrouted(exchange, error) if isinstance(error, HTTPException) else exchange.refuse(error)
    exchange.code = reply.code
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    kind = headers.pop("content-type")
    return Response(reply.body, status_code=reply.status, headers=headers, media_type=kind)


def _unrouted(exchange: Exchange, error: HTTPException) -> Reply:
    allow = (error.headers or {}).get("allow", "")
    methods = ", ".join(sorted(set(allow.split(", ")))).encode()
    return unrouted(
        error.status_code, exchange.id, problem=exchange.problem, allow=methods, sentence="Bad request."
    )
