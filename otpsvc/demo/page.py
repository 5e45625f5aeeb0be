"""The pages of the demo as HTML, from the templates in `web/demo`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct

from otpsvc.demo.mailbox import Mail
from otpsvc.demo.shop import Challenge, Verification
from otpsvc.render import web_folder

#: What may be fetched below /demo/static/, and what it is.
STATIC: Final = {
    "demo.css": "text/css; charset=utf-8",
    "demo.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class Scene(Struct, frozen=True, kw_only=True):
    """One verification as a page shows it."""

    one: Verification
    challenge: Challenge
    mails: Sequence[Mail]

    @property
    def version(self) -> str:
        """Changes when the page would show something else; waits and lives run down by themselves."""
        seen = self.challenge
        facts = (seen.state, seen.attempts, seen.generate, seen.message, [mail.number for mail in self.mails])
        return sha256(repr((facts, self.one.note, len(self.one.calls))).encode()).hexdigest()[:16]


class Pages:
    """Writes pages; `token` is what every form carries."""

    def __init__(self, token: str) -> None:
        self._folder = web_folder() / "demo"
        self._templates = Environment(
            loader=FileSystemLoader(self._folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["token"] = token
        self._templates.filters["clock"] = _clock
        self._templates.filters["span"] = _span
        self._static = {name: (self._folder / name).read_bytes() for name in STATIC}

    def start(self, *, to: str = "", error: str = "", mails: Sequence[Mail] = ()) -> str:
        """Where a person enters an address."""
        return self._templates.get_template("start.html").render(to=to, error=error, mails=mails)

    def scene(self, scene: Scene) -> str:
        """The mail and the code's form, or how it ended."""
        return self._templates.get_template("verification.html").render(
            one=scene.one, seen=scene.challenge, mails=scene.mails, version=scene.version
        )

    def message(self, title: str, text: str) -> str:
        """What went wrong, in a sentence."""
        return self._templates.get_template("message.html").render(title=title, text=text)

    def static(self, name: str) -> bytes | None:
        """A file that pages refer to."""
        return self._static.get(name)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _span(seconds: int) -> str:
    """`4:07`."""
    return f"{seconds // 60}:{seconds % 60:02d}"
