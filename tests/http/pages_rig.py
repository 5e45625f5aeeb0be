"""A visitor of the pages without a browser: reads what stands in them, posts their forms."""

from __future__ import annotations

import re
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from tests.http.door import Answer, Door

_HIDDEN = re.compile(r'<input type="hidden" name="([a-z]+)" value="([^"]*)"')
_FACT = re.compile(r' data-([a-z]+)="([^"]*)"')


class Page(NamedTuple):
    """An answer as a person and their script see it."""

    answer: Answer

    @property
    def text(self) -> str:
        return self.answer.body.decode()

    @property
    def main(self) -> dict[str, str]:
        """The data of <main>."""
        return dict(_FACT.findall(self.text.partition("<main")[2].partition(">")[0]))

    @property
    def kind(self) -> str:
        return self.main["kind"]

    @property
    def title(self) -> str:
        return self.text.partition("<h1>")[2].partition("</h1>")[0]

    @property
    def hidden(self) -> dict[str, str]:
        return dict(_HIDDEN.findall(self.text.partition('<form id="check"')[2].partition("</form>")[0]))


class Visitor:
    """Opens `url`, then goes on from page to page."""

    def __init__(self, door: Door, url: str, *, client: str = "198.51.100.7") -> None:
        parts = urlsplit(url)
        self.door = door
        self.path, self.query = parts.path, parts.query
        self.client = client
        self.page: Page | None = None

    @classmethod
    async def of(cls, door: Door, **fields: str) -> Self:
        """For a new challenge."""
        return cls(door, (await door.put(**fields)).json["data"]["url"])

    @property
    def token(self) -> str:
        return parse_qs(self.query)["t"][0]

    async def get(self, below: str = "", *, query: str | None = None, **headers: str) -> Page:
        query = self.query if query is None else query
        return await self._ask("GET", f"{self.path}{below}?{query}", None, headers)

    async def post(self, below: str = "", *, form: dict[str, str] | None = None, **fields: str) -> Page:
        """The form of the last page, or `form`, with these fields."""
        kept = form if form is not None else (self.page.hidden if self.page else {})
        return await self._ask("POST", self.path + below, kept | fields, {})

    async def follow(self) -> Page:
        """The redirect that was answered."""
        assert self.page
        assert self.page.answer.status == 302
        return await self._ask("GET", self.page.answer.headers["location"], None, {})

    async def _ask(
        self, method: str, target: str, fields: dict[str, str] | None, headers: dict[str, str]
    ) -> Page:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.door.ask(
            method, target, fields, auth="", headers=sent, client=(self.client, 4711)
        )
        self.page = Page(answer)
        return self.page
