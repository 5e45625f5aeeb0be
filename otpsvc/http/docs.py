"""Shows the API's documentation: the OpenAPI document and our own viewer of it, nothing from outside."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from otpsvc.http.envelope import Reply, encode, secured
from otpsvc.render import web_folder

PATHS: Final = ("/openapi.json", "/docs", "/docs/viewer.js", "/docs/viewer.css")
_KINDS: Final = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".json": b"application/json",
}
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Docs:
    """`root_url`: where the document says that the API is."""

    def __init__(self, root_url: str) -> None:
        self._root_url = root_url

    def page(self, path: str) -> Reply | None:
        """The answer to one of PATHS; None for others."""
        path = path.rstrip("/") or "/"
        if path == "/openapi.json":
            from otpsvc.http.openapi import document

            return _reply(encode(document(self._root_url)), ".json")
        if path not in PATHS:
            return None
        name = "index.html" if path == "/docs" else path.rpartition("/")[2]
        return _reply(_file(name), Path(name).suffix)


def _reply(body: bytes, kind: str) -> Reply:
    headers = [
        (b"content-type", _KINDS[kind]),
        (b"content-length", b"%d" % len(body)),
        (b"content-security-policy", _POLICY),
    ]
    return Reply(200, body, secured(headers, b"-"))


@cache
def _file(name: str) -> bytes:
    return (web_folder() / "openapi" / name).read_bytes()
