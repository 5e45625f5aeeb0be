"""Pages for tests: scenes on which everything is shown, and reading what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, get_args

from otpsvc.http.pages.scene import Kind, Scene, Way
from otpsvc.http.pages.stage import Stage
from otpsvc.language import locales, words
from otpsvc.tenant import Tenant

KINDS: tuple[Kind, ...] = get_args(Kind)
LANGUAGES = sorted(locales())
LOGO = "data:image/svg+xml;base64,PHN2Zy8+"
SHOP = Tenant(name="shop", title="Northwind", origins=("https://shop.example", "https://b.example"))


class Document(HTMLParser):
    """Tags with their attributes, and the text of some."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open] = self.texts.get(self._open, "") + data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def one(self, id: str) -> dict[str, str]:
        (found,) = (attributes for _, attributes in self.tags if attributes.get("id") == id)
        return found

    def forms(self) -> Iterator[list[dict[str, str]]]:
        """The inputs and buttons of each form."""
        starts = [place for place, (tag, _) in enumerate(self.tags) if tag == "form"]
        for start, end in zip(starts, [*starts[1:], len(self.tags)], strict=True):
            yield [attributes for tag, attributes in self.tags[start:end] if tag in ("input", "button")]


def scene(kind: Kind = "code", locale: str = "en", **more: Any) -> Scene:
    """A page on which everything is shown that its kind has."""
    tenant = more.get("tenant", SHOP)
    fields: dict[str, Any] = {
        "tenant": tenant,
        "words": words(locale, tenant.page.texts),
        "kind": kind,
        "namespace": "shop",
        "id": "user-123",
        "token": "token-of-the-page",
        "op": "0123456789abcdef",
        "to": "j•••@example.com",
        "attempts_left": 5,
        "left": 287,
        "wait": 240,
        "message": "sent",
        "age": 12,
        "can_resend": True,
        "resend_in": 18,
        "sends_left": 3,
        "ways": (Way("mail", "E-mail"), Way("sms", "Text message")),
        "way": "mail",
        "can_change_address": True,
        "asked": 42,
        "version": "pending.0",
    }
    return Scene(**{**fields, **more})


def read(stage: Stage, scene: Scene) -> Document:
    return Document(stage.show(scene)[0])
