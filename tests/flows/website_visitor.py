"""A browser without script, and what its person does at a shop of the manual (docs/examples)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import count
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from tests.waiting import PATIENCE


@dataclass
class Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """An answer, and what a person could do with it."""

    def __init__(self, status: int, url: str, headers: Any, html: str) -> None:
        super().__init__()
        self.status, self.url, self.headers, self.html = status, url, headers, html
        self.forms: list[Form] = []
        #: The data attributes of <main>.
        self.main: dict[str, str] = {}
        self._words: list[str] = []
        self._silent = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        data = {name[5:]: value for name, value in found.items() if name.startswith("data-")}
        self._silent = tag in ("script", "style")
        if tag == "form":
            # urljoin takes "?" for nothing; browsers take it for an empty query.
            here = self.url.partition("?")[0] if found.get("action", "").startswith("?") else self.url
            self.forms.append(Form(urljoin(here, found.get("action", "")), data=data))
        elif tag == "main":
            self.main = data
        elif tag == "input" and self.forms and "name" in found:
            self.forms[-1].fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._words.append(data)

    @property
    def policy(self) -> dict[str, str]:
        """Its Content-Security-Policy."""
        parts = self.headers["Content-Security-Policy"].split(";")
        return {name: value for name, _, value in (part.strip().partition(" ") for part in parts)}

    @property
    def words(self) -> str:
        """What is read, without tags."""
        return " ".join(" ".join(self._words).split())

    def form(self, *, has: str = "", to: str = "") -> Form:
        """The form with this field, or that is sent to this path."""
        for form in self.forms:
            if (has and has in form.fields) or (to and urlsplit(form.action).path == to):
                return form
        raise AssertionError(f"no form {has or to} in: {self.words}")


class Browser:
    """Somebody's, without script. Each comes from an address of its own: the guards count by it."""

    _hosts = count(2)

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            connector=aiohttp.TCPConnector(local_addr=(f"127.0.0.{next(self._hosts)}", 0)),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()

    def take_cookies_of(self, other: Browser) -> None:
        assert self._http is not None
        assert other._http is not None
        self._http.cookie_jar.update_cookies(
            {cookie.key: cookie.value for cookie in other._http.cookie_jar}, URL(self.origin)
        )

    async def get(self, path: str = "/") -> Page:
        return await self._ask("GET", urljoin(self.origin, path))

    async def post(self, form: Form, *, origin: str | None = None, **fields: str) -> Page:
        """Send a form as it stands, with these fields filled in. `origin`: of the page that it stands on."""
        site = urlsplit(form.action)
        headers = {"Origin": f"{site.scheme}://{site.netloc}" if origin is None else origin}
        if origin is None:
            headers["Sec-Fetch-Site"] = "same-origin"
        return await self._ask("POST", form.action, data={**form.fields, **fields}, headers=headers)

    async def _ask(self, method: str, url: str, **more: Any) -> Page:
        assert self._http is not None
        async with asyncio.timeout(PATIENCE), self._http.request(method, url, **more) as answer:
            return Page(answer.status, str(answer.url), answer.headers, await answer.text())

    # At the shop.

    async def asks(self, to: str) -> Page:
        """Gives the address; the page that follows has what the widget needs."""
        return await self.post((await self.get()).form(to="/start"), to=to)

    async def types(self, form: Form, code: str) -> str:
        """What happens inside the frame of a form's widget; the receipt that it hands to the page."""
        frame = await self.get(form.data["url"])
        done = await self.post(frame.form(has="otp"), otp=code)
        assert (frame.status, done.status) == (200, 200)
        return done.main.get("receipt", "")
