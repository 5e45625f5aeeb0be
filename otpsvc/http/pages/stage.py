"""Pages as bytes: a constant head with style and script, and the part that changes, by templates.

    head  <!doctype … <style>…</style><script>…</script>   one for each look; packed once, ahead
    rest  <title>… <body>…                                 one for each scene

The policy (CSP) allows exactly this style and this script, by their hashes.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct

from otpsvc.http.pages.scene import Kind, Scene, Theme
from otpsvc.render import web_folder

#: Heads that are kept, each with its packer: about 220 kB. One for each language, theme and look.
HEADS_MAX: Final = 64

#: In this order they are one module.
SCRIPTS: Final = ("code.js", "page.js")

_TEMPLATES: Final[Mapping[Kind, str]] = {
    "code": "code.html",
    "link": "code.html",
    "show": "show.html",
    "address": "address.html",
    "done": "ends.html",
    "expired": "ends.html",
    "locked": "ends.html",
    "cancelled": "ends.html",
    "gone": "ends.html",
    "busy": "ends.html",
}
_HEAD: Final = (
    '<!doctype html>\n<html lang="{lang}" dir="{dir}"{theme}>\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
    '<meta name="robots" content="noindex">\n<meta name="color-scheme" content="{scheme}">\n'
    '<style>{style}</style>\n<script type="module">{script}</script>\n'
)
_POLICY: Final = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self';"
    " form-action 'self'; base-uri 'none';{images} frame-ancestors "
)
_SPANS: Final = ("span_seconds", "span_minutes", "span_hours")

_ACCENT: Final = "#1d5fd1"
#: `--card` of page.css, light and dark: what links stand on.
_CARDS: Final = ("#ffffff", "#1e2127")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
#: Nothing that ends a CSS string or the style element.
_LOGO = re.compile(r"data:image/(?:svg\+xml|png|webp)[A-Za-z0-9;=_-]*,[A-Za-z0-9+/=%._~:;,!*-]+")


class _Look(Struct, frozen=True):
    """What a head depends on."""

    locale: str
    direction: str
    theme: Theme
    accent: str
    logo: str


class _Head(Struct, frozen=True):
    """`packed` is what `packer` gave so far; `policy` still lacks the frame ancestors."""

    text: bytes
    policy: str
    logo: bool
    packed: bytes
    packer: Any


class Stage:
    """Shows scenes. Reads `web/pages` once, when it is made."""

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or web_folder() / "pages"
        self._style = squeezed((folder / "page.css").read_text("utf-8"), "/*")
        scripts = ((folder / name).read_text("utf-8") for name in SCRIPTS)
        self._script = squeezed("\n".join(scripts), "//")
        environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates = {kind: environment.get_template(file) for kind, file in _TEMPLATES.items()}
        self._head = lru_cache(maxsize=HEADS_MAX)(self._new_head)

    def show(self, scene: Scene) -> tuple[bytes, str]:
        """The document, and the value of its Content-Security-Policy."""
        head = self._head(_look_of(scene))
        return head.text + self._rest(scene, head), head.policy + _ancestors(scene)

    def packed(self, scene: Scene) -> tuple[bytes, str]:
        """The same document as gzip; only the part that changes is compressed anew.

        Secrets and what a stranger supplied share one compression here, as BREACH needs it.
        But there are no cookies: who can ask for the page has the token already.
        """
        head = self._head(_look_of(scene))
        packer = head.packer.copy()
        rest = packer.compress(self._rest(scene, head)) + packer.flush()
        return head.packed + rest, head.policy + _ancestors(scene)

    def _rest(self, scene: Scene, head: _Head) -> bytes:
        words = scene.words
        return (
            self._templates[scene.kind]
            .render(
                scene=scene,
                say=words.say,
                texts=words.texts,
                # As the script fills it in again each second.
                timed=lambda text, seconds: text.replace("{time}", words.span(seconds)),
                title=words.texts[f"{scene.kind}_title"],
                logo=head.logo,
                spans=msgspec.json.encode([words.texts[key] for key in _SPANS]).decode(),
            )
            .encode()
        )

    def _new_head(self, look: _Look) -> _Head:
        style = f":root{{{_colours(look)}}}\n{self._style}"
        text = _HEAD.format(
            lang=look.locale,
            dir=look.direction,
            theme=f' data-theme="{look.theme}"' if look.theme else "",
            scheme=look.theme or "light dark",
            style=style,
            script=self._script,
        ).encode()
        logo = bool(_LOGO.fullmatch(look.logo))
        images = " img-src data:;" if logo else ""
        policy = _POLICY.format(style=_hash(style), script=_hash(self._script), images=images)
        packer = zlib.compressobj(9, zlib.DEFLATED, wbits=31, memLevel=7)
        # The flush ends the head's block now, so that no answer has to write it again.
        packed = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
        return _Head(text, policy, logo, packed, packer)


def squeezed(source: str, comment: str) -> str:
    """Our own style or script without indentation, blank lines and lines that are comments.

    Safe as long as no string spans lines; every other line keeps its end, so that the
    script means the same.
    """
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(comment))


def _look_of(scene: Scene) -> _Look:
    page, words = scene.tenant.page, scene.words
    return _Look(words.locale, words.direction, scene.theme, page.accent, page.logo)


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _ancestors(scene: Scene) -> str:
    return " ".join(scene.tenant.origins) if scene.framed and scene.tenant.origins else "'none'"


# --- a tenant's colours -----------------------------------------------------


def _colours(look: _Look) -> str:
    """The tenant's accent and logo as custom properties of the style."""
    accent = look.accent if _COLOUR.fullmatch(look.accent) else _ACCENT
    light, dark = (readable(accent, card) for card in _CARDS)
    logo = f';--logo:url("{look.logo}")' if _LOGO.fullmatch(look.logo) else ""
    return f"--accent:{accent};--on-accent:{text_on(accent)};--link-light:{light};--link-dark:{dark}{logo}"


def text_on(colour: str) -> str:
    """Black or white, whichever is read better on it: at least 4.58 to 1 on any colour."""
    return max("#000000", "#ffffff", key=lambda text: contrast(text, colour))


def readable(colour: str, ground: str) -> str:
    """The colour, made darker or lighter as far as it must be to be read on the ground. (WCAG 2.2, 1.4.3)."""
    end = text_on(ground)
    steps = (_mixed(colour, end, step / 16) for step in range(17))
    return next(found for found in steps if contrast(found, ground) >= 4.5)


def contrast(one: str, other: str) -> float:
    """1 to 21. (WCAG 2.2, contrast ratio)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = (part / 255 for part in bytes.fromhex(colour[1:]))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + bytes(round(one + (two - one) * share) for one, two in pairs).hex()
