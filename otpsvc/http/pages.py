"""stub"""
from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from typing import Any
from otpsvc.http.envelope import Reply
from otpsvc.http.parts import Parts
class Page:
    def __init__(self, parts: Parts) -> None: ...
    def route(self) -> HTTPRouteHandler:
        async def serve(request: Request[Any, Any, Any]) -> ASGIApp:
            return Reply(404, b"", [])
        return HTTPRouteHandler("/otp/{ns:str}/{id:str}", http_method=["GET","POST"])(serve)
