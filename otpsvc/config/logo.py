"""A logo: what kind of picture a file is by its content, and that an SVG neither runs nor fetches anything.

A browser that shows a picture as a picture runs no script of it and fetches nothing for it.
Such files are refused all the same: a logo is also opened by hand, and copied elsewhere.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import quote
from xml.parsers import expat

#: Bytes; it is part of every page.
LOGO_MAX = 10_240

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_TYPES = "an svg, png, webp or jpeg picture"
_SVG = "http://www.w3.org/2000/svg"
#: What runs, what holds other kinds of documents, and what sets attributes later.
_ELEMENTS = frozenset({"script", "foreignobject", "iframe", "embed", "object", "handler", "listener"})
#: References inside the file, and pictures that stand in it.
_INSIDE = re.compile(r"\s*(?:#|data:image/(?:png|jpeg|webp|gif);base64,)", re.IGNORECASE)
#: Ways of CSS to fetch. A backslash may write any of them in other letters.
_FETCHES = re.compile(
    r"@import|\b(?:src|image|image-set)\(|\\|\burl\(\s*[\"']?(?!\s*[\"']?(?:#|data:image/(?:png|jpeg|webp|gif);base64,))",
    re.IGNORECASE,
)


def logo_uri(content: bytes) -> str:
    """The picture as a `data:` URI. Raises: ValueError, which says what it should be."""
    if content.startswith(_PNG):
        return _coded("png", content)
    if content.startswith(_JPEG):
        return _coded("jpeg", content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _coded("webp", content)
    text = _checked_svg(content)
    # In base64 it would be a third longer once the page is compressed.
    return f"data:image/svg+xml,{quote(text, safe='/:;,=+*!~')}"


def _coded(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _checked_svg(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
        _SvgCheck().parse(text)
    except (UnicodeDecodeError, expat.ExpatError):
        raise ValueError(_TYPES) from None
    return text


class _SvgCheck:
    """One pass over an SVG. Entities are never expanded: a document type is refused before them."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.XmlDeclHandler = self._declaration
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.ProcessingInstructionHandler = self._instruction
        self._parser.StartElementHandler = self._element
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._root = True
        self._styles: list[list[str]] = []

    def parse(self, text: str) -> None:
        """Raises: ValueError, expat.ExpatError."""
        self._parser.Parse(text.encode(), True)

    def _refuse(self, what: str) -> NoReturn:
        raise ValueError(f"an svg without {what}, line {self._parser.CurrentLineNumber}")

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        # A browser would read other characters than we did.
        if encoding and encoding.lower() != "utf-8":
            self._refuse("an encoding other than UTF-8")

    def _doctype(self, *_: object) -> None:
        self._refuse("a document type")

    def _instruction(self, *_: object) -> None:
        self._refuse("processing instructions")

    def _element(self, name: str, attributes: Mapping[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if self._root and local != "svg":
            raise ValueError(_TYPES)
        if self._root and space != _SVG:
            raise ValueError(f'an svg with xmlns="{_SVG}"')
        self._root = False
        if local.lower() in _ELEMENTS:
            self._refuse(f"<{local.lower()}>")
        for attribute, value in attributes.items():
            self._attribute(attribute.rpartition(" ")[2].lower(), value)
        if local.lower() == "style":
            self._styles.append([])

    def _attribute(self, name: str, value: str) -> None:
        if name.startswith("on"):
            self._refuse("handlers of events")
        if name == "attributename" and re.search(r"href|src|^on|style", value.strip(), re.IGNORECASE):
            self._refuse("animated references")
        fetches = name in {"href", "src", "base"} and not _INSIDE.match(value)
        if fetches or _FETCHES.search(value):
            self._refuse("references to the outside")

    def _end(self, name: str) -> None:
        # Comments and sections cut the text of an element in pieces.
        if name.rpartition(" ")[2].lower() == "style" and _FETCHES.search("".join(self._styles.pop())):
            self._refuse("references to the outside")

    def _characters(self, text: str) -> None:
        for pieces in self._styles:
            pieces.append(text)
