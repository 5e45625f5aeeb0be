"""What the pages say, in the reader's language: catalogues, a tenant's own texts, and who gets which.

    web/languages/de.toml  ─┐
    a tenant's own texts   ─┼─> Words("de") ─> say("time_left", time="3 min")
    web/languages/en.toml  ─┘   (the first that has the key)

Tags of languages come from links, forms and headers, so they are compared with what is
there and no path is ever made of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Literal

import msgspec
from msgspec import Struct

Direction = Literal["ltr", "rtl"]

#: What everybody gets when nothing else was asked for, and what stands in for missing texts.
DEFAULT = "en"
#: A word of a text that is filled in.
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")

_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8}){0,7}")
#: Characters of a tag, and of an Accept-Language header; languages in one.
_TAG_MAX, _ACCEPT_MAX, _ACCEPT_LANGUAGES = 35, 500, 20
#: RFC 9110 12.4.2
_QUALITY = re.compile(r"(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"


class Catalogue(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of `web/languages`."""

    name: str
    direction: Direction
    texts: dict[str, str]


class Words(Struct, frozen=True):
    """The texts of one language, with a tenant's own ones; `locale` is the nearest tag that has any."""

    locale: str
    direction: Direction
    texts: Mapping[str, str]

    def say(self, key: str, /, **values: str | int) -> str:
        """The text with its placeholders filled. Raises: KeyError (a key or a value is missing: a bug).

        In a right-to-left language each value that is text stands between U+2068 and U+2069:
        a phone number would else be shown with its + and its groups in reverse order.
        """
        text = self.texts[key]
        if "{" not in text:
            return text
        if self.direction == "rtl":
            values = {name: _isolated(value) for name, value in values.items()}
        return PLACEHOLDER.sub(lambda found: str(values[found[1]]), text)

    def span(self, seconds: int) -> str:
        """`12 s`, `3 min`, `2 h` in this language, rounded up."""
        minutes = -(-seconds // 60)
        if seconds < 60:
            return self.say("span_seconds", count=max(0, seconds))
        if minutes < 60:
            return self.say("span_minutes", count=minutes)
        return self.say("span_hours", count=-(-minutes // 60))


def _isolated(value: str | int) -> str | int:
    return f"{_ISOLATE}{value}{_END_ISOLATE}" if isinstance(value, str) else value


def locales() -> frozenset[str]:
    """The languages that have a catalogue, such as `en`."""
    return frozenset(catalogues())


def choose(*wanted: str, accept: str = "") -> str:
    """The first wanted locale that has a catalogue (`de-AT` has that of `de`), cleaned: `DE_at` is `de-AT`.

    Else what the Accept-Language header prefers, else English. Whatever is no tag is passed over.
    """
    for text in wanted:
        if (tag := tag_of(text)) and nearest(tag, catalogues()):
            return tag
    return _accepted(accept[:_ACCEPT_MAX]) if accept else DEFAULT


_NOTHING: Mapping[str, Mapping[str, str]] = {}


def words(locale: str, overrides: Mapping[str, Mapping[str, str]] = _NOTHING) -> Words:
    """The words of a locale, else of its language, else English.

    `overrides` (locale -> key -> text): those of `de-AT` go over those of `de`. They are read
    once for each locale and must not change after.
    """
    tag = tag_of(locale)
    return _merged(tag, _Same(overrides)) if overrides else _plain(nearest(tag, catalogues()) or DEFAULT)


def tag_of(text: str) -> str:
    """A tag as one writes it (`zh-Hant-TW`); empty when it is none, or too long to be one."""
    return _tag(text) if len(text) <= _TAG_MAX else ""


def nearest(tag: str, names: Mapping[str, object]) -> str:
    """The name that is the tag, else the first of its shorter forms; empty: none."""
    return next((name for name in shortened(tag) if name in names), "")


def shortened(tag: str) -> Iterator[str]:
    """`zh-Hant-TW`, `zh-Hant`, `zh`. (RFC 4647 3.4)."""
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


@cache
def catalogues() -> Mapping[str, Catalogue]:
    """All of them, by their tag. Raises: ValueError (a file that is no catalogue), FileNotFoundError."""
    # Brings Jinja2 along, which not every process wants.
    from otpsvc.render import web_folder

    files = sorted((web_folder() / "languages").glob("*.toml"))
    return {file.stem: msgspec.toml.decode(file.read_bytes(), type=Catalogue) for file in files}


# Tags come from strangers: what is kept of them is bounded in number and in length.


@lru_cache(maxsize=1024)
def _tag(text: str) -> str:
    if not _TAG.fullmatch(text):
        return ""
    language, *rest = text.replace("_", "-").split("-")
    # RFC 5646 2.1.1: regions upper case, scripts title case.
    cased = (
        part.upper() if len(part) == 2 else part.title() if len(part) == 4 else part.lower() for part in rest
    )
    return "-".join([language.lower(), *cased])


# RFC 9110 12.5.4
@lru_cache(maxsize=256)
def _accepted(header: str) -> str:
    """The language of the highest quality that we have; of equal ones the first."""
    known = [(quality, tag) for quality, tag in _ranges(header) if quality and nearest(tag, catalogues())]
    return max(known, key=lambda one: one[0])[1] if known else DEFAULT


def _ranges(header: str) -> Iterator[tuple[float, str]]:
    """Quality and tag of each item; `*` counts as English, and what cannot be read is left out."""
    for item in header.split(",", _ACCEPT_LANGUAGES)[:_ACCEPT_LANGUAGES]:
        name, separator, weight = item.strip(" \t").partition(";")
        found = _QUALITY.fullmatch(separator + weight)
        name = name.rstrip(" \t")
        if found:
            yield float(found[1] or 1), DEFAULT if name == "*" else tag_of(name)


class _Same:
    """Makes a mapping a key of a cache: two are equal when they are the same object."""

    __slots__ = ("mapping",)

    def __init__(self, mapping: Mapping[str, Mapping[str, str]]) -> None:
        self.mapping = mapping

    def __hash__(self) -> int:
        return id(self.mapping)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.mapping is other.mapping


@cache
def _plain(locale: str) -> Words:
    catalogue = catalogues()[locale]
    return Words(locale, catalogue.direction, catalogues()[DEFAULT].texts | catalogue.texts)


@lru_cache(maxsize=1024)
def _merged(tag: str, own: _Same) -> Words:
    # A reader of a language that we lack is shown English, and so the tenant's English texts.
    tag = tag if nearest(tag, catalogues()) else DEFAULT
    plain = _plain(nearest(tag, catalogues()))
    names = [name for name in shortened(tag) if name in own.mapping]
    texts = dict(plain.texts)
    for name in reversed(names):
        texts |= own.mapping[name]
    return Words(max([plain.locale, *names], key=len), plain.direction, texts)
