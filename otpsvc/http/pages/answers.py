"""What every page's answer is made with: the request that was let in, and how a scene is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

from otpsvc.errors import NotFound
from otpsvc.http.envelope import Reply, secured
from otpsvc.http.exchange import Exchange
from otpsvc.http.pages.scene import Scene
from otpsvc.http.pages.setting import Manner, Setting, words_of
from otpsvc.http.pages.stage import Stage
from otpsvc.http.parts import Parts
from otpsvc.language import Words
from otpsvc.veiled import Veiled
from otpsvc.visit import Look, Visit, Visits

#: Characters of a form's nonce.
_NONCE_MAX: Final = 64


class Opened(Veiled, frozen=True):
    """One request for a page that its visitor may see."""

    exchange: Exchange
    visit: Visit
    manner: Manner
    fields: Mapping[str, str]

    @property
    def nonce(self) -> str:
        """Of the form that was posted."""
        nonce = self.fields.get("op", "")
        return nonce if len(nonce) <= _NONCE_MAX else ""

    @property
    def address(self) -> str:
        """The client's."""
        return self.exchange.address

    @property
    def navigates(self) -> bool:
        """A browser shows the answer in the place of its page: no script asked. (W3C Fetch Metadata, 2.3)."""
        return self.exchange.headers.get(b"sec-fetch-mode") == b"navigate" and "script" not in self.fields


class Answers:
    """Looks at challenges, and answers with pages."""

    def __init__(self, parts: Parts) -> None:
        self.visits = Visits(parts.verifier, parts.tenants)
        self.setting = Setting(parts.titles)
        self._stage = Stage()
        self._prefix = urlsplit(parts.root_url).path.rstrip("/")

    async def look(self, opened: Opened) -> tuple[Look | None, Words]:
        """None when it has ended, or a newer create took its place. Raises: Busy."""
        visit, manner = opened.visit, opened.manner
        try:
            look = await self.visits.look(visit)
        except NotFound:
            return None, words_of(manner, visit.tenant)
        words = words_of(manner, visit.tenant, look.locale)
        # Who may not give an address has nothing to do on a page that wants one.
        return (look if look.to or visit.full else None), words

    def page(self, exchange: Exchange, scene: Scene, status: int = 200, *more: tuple[bytes, bytes]) -> Reply:
        """A scene as an answer."""
        packs = b"gzip" in exchange.headers.get(b"accept-encoding", b"")
        body, policy = self._stage.packed(scene) if packs else self._stage.show(scene)
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"same-origin"),
            (b"vary", b"accept-encoding, accept-language"),
            *([(b"content-encoding", b"gzip")] if packs else []),
            *more,
        ]
        return Reply(status, body, secured(headers, exchange.id))

    def ended(self, opened: Opened, words: Words) -> Reply:
        """Too late, whatever became of it."""
        opened.exchange.code = "not_found"
        scene = self.setting.ended("expired", opened.visit, words, opened.manner)
        return self.page(opened.exchange, scene)

    def redirect(self, opened: Opened, below: str = "", *, said: str = "") -> Reply:
        """To the page of the code, or to one below it. `said`: a word for what it shall say besides."""
        visit, query = opened.visit, urlencode(opened.manner.query | ({"said": said} if said else {}))
        place = f"{self._prefix}/otp/{visit.tenant.name}/{visit.id}{below}" + (f"?{query}" if query else "")
        headers = [(b"location", place.encode()), (b"content-length", b"0")]
        return Reply(302, b"", secured(headers, opened.exchange.id))
