"""A tenant's templates, and what one message says: subject, text and HTML."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Template

from otpsvc.errors import BadRequest
from otpsvc.template import REFUSED, VARIABLES, check, cleaned, compiled, written
from otpsvc.tenant import Texts
from otpsvc.veiled import Veiled

__all__ = [
    "VARIABLES",
    "Rendered",
    "Templates",
    "check",
    "locales",
    "origin_line",
    "render",
    "script_folder",
    "web_folder",
]

#: Characters of what is rendered.
_MOST: Mapping[str, int] = {"subject": 255, "text": 16_384, "html": 65_536, "sms": 16_384}
_LIKE_ORIGIN = re.compile(r"\s*@.*#")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Rendered(Veiled, frozen=True):
    """One message in words. Its repr shows nothing of them."""

    subject: str
    text: str
    html: str = ""


class Templates:
    """A tenant's templates, compiled once; of several layers the first that is not empty counts.

    The default templates of `locale` (else of its language, else English) come last.
    `origins` (the tenant's, the first https one counts) and `root_url` make the
    origin-bound last line of SMS. Raises: ValueError, which names the template.
    """

    def __init__(
        self,
        *layers: Texts,
        locale: str = "en",
        origins: Sequence[str] = (),
        root_url: str = "",
    ) -> None:
        self.origin = next(filter(None, map(_https_host, origins)), "")
        ours = _https_host(root_url)
        self.embedded = ours if ours != self.origin else ""
        every = (*layers, _defaults(_nearest(locale)))
        self._compiled: dict[str, Template] = {}
        for name in _MOST:
            source = next(filter(None, (getattr(texts, name) for texts in every)))
            try:
                self._compiled[name] = compiled(source, html=name == "html", one_line=name == "subject")
                self._try_out(name)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

    def write(self, name: str, values: Mapping[str, str | int]) -> str:
        """One part (`subject`, `text`, `html`, `sms`) from cleaned values. Raises: BadRequest."""
        text = written(self._compiled[name], values, most=_MOST[name])
        _check_written(text, name)
        return text

    def _try_out(self, name: str) -> None:
        """What fails with full or with empty values is found when the service starts."""
        full = {key: 2 if empty == 0 else "a" for key, empty in VARIABLES.items()}
        for values in (full, VARIABLES):
            try:
                self.write(name, values)
            except BadRequest as error:
                raise ValueError(error.message) from None


def render(templates: Templates, values: Mapping[str, str | int], *, address_kind_name: str) -> Rendered:
    """What is sent to an address of this kind: mail has all parts, a phone the short text alone.

    `values` are VARIABLES; one that is missing counts as empty. Raises: BadRequest
    when the rendered parts are too long or not safe to send.
    """
    clean = cleaned(values)
    if address_kind_name == "email":
        write = templates.write
        return Rendered(write("subject", clean), write("text", clean), write("html", clean))
    text = templates.write("sms", clean)
    if address_kind_name != "phone":
        return Rendered(templates.write("subject", clean), text)
    code = str(clean["code"])
    if templates.origin and code:
        text = f"{text}\n{origin_line(templates.origin, code, templates.embedded)}"
    return Rendered("", text)


def origin_line(host: str, code: str, embedded: str = "") -> str:
    """The last line that binds a code to a web origin (WICG, origin-bound one-time codes).

    Raises: ValueError, as nothing but plain host names and codes may stand there.
    """
    if not (_HOST.fullmatch(host) and code.isascii() and code.isalnum()):
        raise ValueError("an origin line takes a host name and a code of letters and digits")
    if not embedded:
        return f"@{host} #{code}"
    if not _HOST.fullmatch(embedded):
        raise ValueError("an origin line takes a host name for what is embedded")
    return f"@{host} #{code} @{embedded}"


def web_folder() -> Path:
    """Where templates, styles and pages lie: inside the installed package, or beside it in a checkout.

    Raises: FileNotFoundError.
    """
    return _folder("web")


def script_folder() -> Path:
    """Where the widget for tenants' sites lies, as `web_folder`."""
    return _folder("js")


def _folder(name: str) -> Path:
    package = Path(__file__).parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no folder {name} in {package} or beside it")


def locales() -> frozenset[str]:
    """The languages that have default templates, such as `en`."""
    return frozenset(folder.name for folder in (web_folder() / "messages").iterdir() if folder.is_dir())


def _nearest(locale: str) -> str:
    """`de-AT`, else `de`, else `en`; compared with what is there, so no path can be made of it."""
    known = locales()
    language = locale.replace("_", "-")
    return next((name for name in (language, language.partition("-")[0].lower()) if name in known), "en")


@cache
def _defaults(locale: str) -> Texts:
    folder = web_folder() / "messages"
    texts = {
        name: (folder / locale / f"{name}.txt").read_text("utf-8") for name in ("subject", "text", "sms")
    }
    layout = string.Template((folder / "mail.html").read_text("utf-8"))
    return Texts(**texts, html=layout.substitute(_mail_words("en") | _mail_words(locale)))


def _mail_words(locale: str) -> dict[str, str]:
    return tomllib.loads((web_folder() / "messages" / locale / "mail.toml").read_text("utf-8"))


def _check_written(text: str, name: str) -> None:
    if name == "subject" and ("\n" in text or REFUSED.search(text)):
        raise BadRequest("The subject holds control characters.", code="template")
    # Only `origin_line` may bind a code to a host; another's would hand the code to their page.
    if name == "sms" and _LIKE_ORIGIN.match(text.rpartition("\n")[2]):
        raise BadRequest(
            "The last line may not begin with @ and hold a #: `origins` makes it.", code="template"
        )


def _https_host(url: str) -> str:
    """The host of an https origin, or an empty string."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    host = parts.hostname or ""
    return host if parts.scheme == "https" and _HOST.fullmatch(host) else ""
