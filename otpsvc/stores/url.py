"""Reads the store's URL; every refusal names the key and never repeats the URL.

    redis://user:password@host:port/db              plain TCP
    rediss://host:port/db?ssl_ca_certs=/path        TLS; ssl_certfile, ssl_keyfile, ssl_check_hostname
    unix:///path?db=0                               unix socket
    redis+sentinel://host:port,host2:port2/service  the master is asked for before every connection
    rediss+sentinel://...                           the same, sentinels and master over TLS

`db`, `username` and `password` may stand in the query too; sentinels take
`sentinel_username` and `sentinel_password`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Never
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from otpsvc.errors import ConfigError

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
PORT: Final = 6379
SENTINEL_PORT: Final = 26379
Address = tuple[str, int]


@dataclass(slots=True)
class Target:
    """Where the store is and how to log in. `sentinels` is reordered as they answer."""

    tls: bool = False
    path: str = ""
    address: Address | None = None
    sentinels: list[Address] = field(default_factory=list)
    service: str = ""
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    sentinel_login: dict[str, Any] = field(default_factory=dict, repr=False)


def _refuse(expected: str, got: str = "") -> Never:
    raise ConfigError("redis", "redis.url", expected, got)


def _file(value: str) -> str:
    if not Path(value).is_file():
        _refuse("an existing file", value)
    return value


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        _refuse("true or false for ssl_check_hostname")
    return value == "true"


def _database(value: str) -> int:
    if not value.isascii() or not value.isdigit():
        _refuse("a whole number as database")
    return int(value)


#: Query parameters, in redis-py's words, and how each is read.
_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "db": _database,
    "username": str,
    "password": str,
    "sentinel_username": str,
    "sentinel_password": str,
    "ssl_ca_certs": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_password": str,
    "ssl_check_hostname": _flag,
}


def read_url(url: str) -> Target:
    """Raises: ConfigError."""
    parts = _split(url)
    if parts.scheme not in SCHEMES:
        _refuse("a URL that begins with " + ", ".join(f"{scheme}://" for scheme in SCHEMES))
    options = _query(parts.query)
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options |= {key: unquote(value) for key, value in (("username", user), ("password", password)) if value}
    target = Target(tls=parts.scheme.startswith("rediss"))
    target.options = {key: value for key, value in options.items() if not key.startswith("sentinel_")}
    if not target.tls and any(key.startswith("ssl_") for key in options):
        _refuse("rediss:// or rediss+sentinel:// with ssl_ parameters")
    if "username" in options and "password" not in options:
        _refuse("a password beside the username")
    _locate(target, parts, place)
    target.sentinel_login = {
        key.removeprefix("sentinel_"): value for key, value in options.items() if key.startswith("sentinel_")
    }
    if target.sentinel_login and not target.sentinels:
        _refuse("a sentinel URL with sentinel_ parameters")
    return target


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        _refuse("a well-formed URL")


def _locate(target: Target, parts: SplitResult, place: str) -> None:
    path = unquote(parts.path)
    if parts.scheme == "unix":
        if place or not path:
            _refuse("unix:// and an absolute path")
        target.path = path
        return
    first, _, second = path.strip("/").partition("/")
    if parts.scheme.endswith("+sentinel"):
        if not first:
            _refuse("the service's name after the sentinels' addresses")
        target.sentinels = [_address(each, SENTINEL_PORT) for each in place.split(",")]
        target.service, database = first, second
    else:
        target.address, database = _address(place, PORT), first
    if database:
        target.options.setdefault("db", _database(database))


def _query(query: str) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _READERS:
            # Not named: behind a "?" that was not escaped it is a piece of the password.
            _refuse("only query parameters among " + ", ".join(_READERS))
        read[key] = _READERS[key](value)
    return read


def _address(text: str, port: int) -> Address:
    """`host`, `host:port`, `[::1]:port`."""
    parts = _split(f"//{text}")
    try:
        named = parts.port
    except ValueError:
        _refuse("host:port")
    return parts.hostname or "localhost", named or port
