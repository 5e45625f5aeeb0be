"""The pages of the demo as HTML, from the templates in `web/demo`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from msgspec import Struct

from otpsvc.demo.client import Challenge
from otpsvc.demo.fault import SWITCHES, Faults
from otpsvc.demo.handset import Text
from otpsvc.demo.mailbox import Mail
from otpsvc.demo.shelf import View
from otpsvc.demo.shop import SMS, TENANT, Verification
from otpsvc.demo.story import story
from otpsvc.render import web_folder

#: What may be fetched below /demo/static/, and what it is.
STATIC: Final = {
    "demo.css": "text/css; charset=utf-8",
    "devices.css": "text/css; charset=utf-8",
    "demo.js": "text/javascript; charset=utf-8",
    "shop.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
#: Area codes whose 555 0100 to 0199 belong to nobody.
_AREAS: Final = (202, 206, 212, 303, 312, 404, 415, 503, 617, 702)
_NAMES: Final = ("ann", "ben", "cleo", "dan", "eva", "finn", "gus", "hana", "ivo", "jane")


class Inbox(Struct, frozen=True, kw_only=True):
    """What has arrived, newest first."""

    mails: Sequence[Mail] = ()
    texts: Sequence[Text] = ()

    @property
    def newest(self) -> Mail | Text | None:
        """The message that came last."""
        both: list[Mail | Text] = [*self.mails[:1], *self.texts[:1]]
        return max(both, key=lambda one: one.at, default=None)

    @property
    def facts(self) -> tuple[list[int], list[int]]:
        """Change when something arrives."""
        return [mail.number for mail in self.mails], [text.number for text in self.texts]


class Scene(Struct, frozen=True, kw_only=True):
    """One verification as a page shows it. `raw`: its record in the store."""

    one: Verification
    seen: Challenge
    inbox: Inbox
    raw: bytes

    @property
    def wrong(self) -> str:
        """A code that is surely wrong; empty while no message has come."""
        newest = self.inbox.newest
        return wrong_code(newest.code) if newest and newest.code else ""

    def version(self, faults: Faults) -> str:
        """Changes when the page would show something else; waits and lives run down by themselves."""
        seen, one = self.seen, self.one
        facts = (seen.state, seen.to, seen.attempts, seen.generate, seen.message, self.inbox.facts)
        said = (one.done, one.note, one.aside, len(one.calls), faults.facts)
        return _digest(repr((facts, said, self.raw)))


class Start(Struct, frozen=True, kw_only=True):
    """The first page; `form` names the one that `typed` and `error` belong to. `by`: the chosen way."""

    inbox: Inbox
    account: str = ""
    form: str = ""
    typed: str = ""
    by: str = SMS
    error: str = ""

    def version(self, faults: Faults) -> str:
        """Changes when something arrives or a switch is turned."""
        return _digest(repr((self.inbox.facts, faults.facts)))


class Pages:
    """Writes pages; `token` is what every form carries, `root` where the service is."""

    def __init__(self, token: str, root: str, faults: Faults) -> None:
        self._folder = web_folder() / "demo"
        self._faults = faults
        self._templates = Environment(
            loader=FileSystemLoader(self._folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "token": token, "root": root, "switches": SWITCHES, "faults": faults, "namespace": TENANT,
        }  # fmt: skip
        self._templates.filters |= {"clock": _clock, "span": _span, "linked": _Linker(root)}
        self._static = {name: (self._folder / name).read_bytes() for name in STATIC}

    def start(self, start: Start) -> str:
        """Where a person signs up or in."""
        return self._templates.get_template("start.html").render(
            start=start,
            inbox=start.inbox,
            version=start.version(self._faults),
            mail_to=f"{secrets.choice(_NAMES)}.{secrets.token_hex(2)}@example.com",
            phone_to=f"+1 {secrets.choice(_AREAS)} 555 01{secrets.randbelow(100):02d}",
        )

    def scene(self, scene: Scene, *, view: View, account: str) -> str:
        """The widget's place, the inbox, and what goes on behind."""
        one, seen = scene.one, scene.seen
        return self._templates.get_template("verification.html").render(
            one=one,
            seen=seen,
            inbox=scene.inbox,
            steps=story(one, seen, ttl=view.ttl, held=bool(view.fields) or not view.up),
            view=view,
            wrong=scene.wrong,
            account=account,
            version=scene.version(self._faults),
        )

    def message(self, title: str, text: str) -> str:
        """What went wrong, in a sentence."""
        return self._templates.get_template("message.html").render(title=title, text=text)

    def static(self, name: str) -> bytes | None:
        """A file that pages refer to."""
        return self._static.get(name)


class _Linker:
    """Makes links of the service's own addresses in a text, as mail programs and phones do."""

    def __init__(self, root: str) -> None:
        self._root = root + "/"

    def __call__(self, text: str) -> Markup:
        return Markup("").join(map(self._word, _words(text)))

    def _word(self, word: str) -> Markup:
        if not word.startswith(self._root):
            return escape(word)
        return Markup('<a href="{0}" target="_blank" rel="noopener">{0}</a>').format(word)


def _words(text: str) -> list[str]:
    """A text cut before and after each run of blanks, nothing lost."""
    words = [""]
    for sign in text:
        if words[-1] and sign.isspace() != words[-1][-1].isspace():
            words.append("")
        words[-1] += sign
    return words


def wrong_code(code: str) -> str:
    """The code after this one; of letters, one that begins with another."""
    if code.isdigit():
        return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"
    return ("B" if code.startswith("A") else "A") + code[1:]


def _digest(facts: str) -> str:
    return sha256(facts.encode()).hexdigest()[:16]


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _span(seconds: int) -> str:
    """`4:07`, `2:03:00`, `3 days`."""
    if seconds >= 172_800:
        return f"{seconds // 86_400} days"
    hours, rest = divmod(seconds, 3600)
    short = f"{rest // 60}:{rest % 60:02d}"
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else short
