"""`[feeders.NAME]` with `type = "wsbroker"`: where the broker is, and who we are there."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote_plus, urlsplit, urlunsplit

from msgspec import Meta

from otpsvc.broker_url import check_clear, check_login, check_trust, password_of, split_url
from otpsvc.feeder import FeederConfig

#: Arguments of the URL that say whose messages are wanted: the Java server's and the 2021 PHP server's.
PLACES: Final = ("channel", "topic")
#: Where the original's clients listen when nothing is said.
USUAL_PLACE: Final = "sms"


class WsBrokerConfig(FeederConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[feeders.NAME]` with `type = "wsbroker"`."""

    #: wss://HOST/PATH?topic=NAME, or ?channel=NAME, as the broker wants it; other arguments are kept.
    url: str
    #: Basic auth.
    username: str = ""
    password: str = ""
    password_file: str = ""
    #: PEM file of the authorities to trust; empty: the system's.
    ca_file: str = ""
    #: Seconds between pings; 0: none.
    ping: Annotated[float, Meta(ge=0, le=3600)] = 20.0
    #: Seconds to connect.
    timeout: Annotated[float, Meta(gt=0, le=300)] = 10.0
    #: Allow ws:// to another machine. Certificates are always checked.
    insecure: bool = False

    def __post_init__(self) -> None:
        check_trust(check_url(self.url, insecure=self.insecure), self.ca_file)
        check_login(self)
        if ":" in self.username:
            # Basic auth ends the name there (RFC 7617, 2).
            raise ValueError("username: expected no colon in it")

    def sources(self, name: str) -> tuple[str, ...]:  # noqa: ARG002 - other types need it
        return tuple(places_of(self.url))

    def has(self, name: str, place: str) -> bool:
        return folded(place) in map(folded, self.sources(name))

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own shows every field, the secrets too; a path or query may be one.
        return [("host", urlsplit(self.url).hostname)]

    def __repr__(self) -> str:
        return f"WsBrokerConfig(host={urlsplit(self.url).hostname!r})"

    __str__ = __repr__


def check_url(url: str, *, insecure: bool) -> SplitResult:
    """Wss with a host and no password in it; ws to this machine, or anywhere when `insecure`.

    Raises: ValueError, which does not repeat the URL.
    """
    expected = "url: expected wss://HOST:PORT/PATH?topic=NAME"
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{expected}, in ASCII without spaces (%20)")
    parts = split_url(url, plain="ws", expected=expected)
    if "@" in parts.netloc:
        raise ValueError("url: expected no password in it; use username and password")
    check_clear(parts, insecure=insecure)
    return parts


def places_of(url: str) -> list[str]:
    """Where the messages come from that this URL asks for; the first one is what is subscribed to."""
    said = parse_qsl(urlsplit(url).query)
    named = [value for wanted in PLACES for name, value in said if name == wanted]
    return named or [USUAL_PLACE]


def folded(place: str) -> str:
    """As the loosest of the servers compares: one keeps frames in a table that ignores case."""
    return place.strip().casefold()


def moved(url: str, place: str) -> str:
    """The same URL at another channel or topic; what else it says stays as it was written."""
    parts = urlsplit(url)
    put = f"={quote(place, safe='')}"
    said = parts.query.split("&") if parts.query else []
    names = [unquote_plus(one.partition("=")[0]) for one in said]
    said = [f"{name}{put}" if name in PLACES else one for name, one in zip(names, said, strict=True)]
    if not any(name in PLACES for name in names):
        said.append(f"topic{put}")
    return urlunsplit(parts._replace(query="&".join(said)))


def login_of(config: WsBrokerConfig) -> str:
    """The value of `Authorization`, in UTF-8 (RFC 7617, 2.1); empty without a login. Raises: ConfigError."""
    if not config.username:
        return ""
    login = f"{config.username}:{password_of(config)}"
    return "Basic " + base64.b64encode(login.encode()).decode()
