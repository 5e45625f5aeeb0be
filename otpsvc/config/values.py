"""Config values that are one written word and mean more: rates, listeners, networks, URLs."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from otpsvc.tenant import Rate

_RATE = re.compile(r"([0-9]{1,10})/([0-9]{1,10})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
#: The bound of `tenant.Count`.
_COUNT_MAX = 1_000_000_000
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PORT = re.compile(r"[0-9]{1,5}")
#: Bytes that fit into sun_path beside its final NUL. (Linux, unix(7))
_UNIX_MAX = 107
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


class Listen(Struct, frozen=True):
    """One address to serve on: `path` of a unix socket, else `host` and `port`."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def is_local(self) -> bool:
        """True when only this machine can reach it."""
        return bool(self.path) or is_loopback(self.host)


class Written(Struct, frozen=True):
    """How a type is written in the file: in words, and the reader of it (raises ValueError)."""

    words: str
    read: Callable[[str], Any]


def read_rate(text: str) -> Rate:
    """`5/10m` as 5 in 600 seconds. Raises: ValueError."""
    found = _RATE.fullmatch(text)
    if not found:
        raise ValueError
    count, window = int(found[1]), int(found[2]) * _SECONDS[found[3]]
    if not (1 <= count <= _COUNT_MAX and 1 <= window <= _COUNT_MAX):
        raise ValueError
    return Rate(count, window)


def read_listen(text: str) -> Listen:
    """`127.0.0.1:9000`, `[::1]:9000`, `unix:/run/otpsvc.sock`. Raises: ValueError."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    host, _, port = text.rpartition(":")
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65_535:
        raise ValueError
    if host.startswith("[") and host.endswith("]"):
        if ip_address(host[1:-1]).version != 6:
            raise ValueError
        return Listen(host[1:-1], int(port))
    if not _HOST.fullmatch(host):
        raise ValueError
    return Listen(host, int(port))


def _unix(path: str) -> Listen:
    if not path or "\0" in path or len(path.encode()) > _UNIX_MAX:
        raise ValueError
    return Listen(path=path)


def read_path(text: str) -> Path:
    """A path as it stands; empty: `Path()`. Raises: ValueError."""
    if "\0" in text:
        raise ValueError
    return Path(text)


#: Types that are written as one string; the reader of the config asks here first.
WRITTEN: Mapping[type, Written] = {
    Rate: Written('a rate such as "5/10m" (count/window; s, m, h or d)', read_rate),
    Listen: Written(
        'an address such as "127.0.0.1:9000", "[::1]:9000" or "unix:/path" (port 1-65535)', read_listen
    ),
    Path: Written("a path", read_path),
}


def read_proxy(text: str) -> str:
    """A network in its one form (`10.0.0.1` is `10.0.0.1/32`), or `unix`. Raises: ValueError."""
    return text if text == "unix" else str(ip_network(text))


def is_loopback(host: str) -> bool:
    """True for names and addresses that never leave this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    """The parts of an absolute http(s) URL without user info. Raises: ValueError."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError
    if parts.port == 0:
        raise ValueError
    return parts


def read_root_url(url: str) -> str:
    """A base URL without its last slash. Raises: ValueError."""
    parts = _split(url)
    if "?" in url or "#" in url:
        raise ValueError
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def is_private_url(url: str) -> bool:
    """True when nobody on the way can read it: https, or this machine. Raises: ValueError."""
    parts = _split(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def read_callback_url(url: str, *, insecure: bool) -> str:
    """A URL to post to, https unless loopback or `insecure`. Raises: ValueError."""
    if "#" in url or not (is_private_url(url) or insecure):
        raise ValueError
    return url


def read_origin(text: str) -> str:
    """An origin exactly as a browser says it, https unless loopback. Raises: ValueError."""
    parts = _split(text)
    default_port = parts.port == _DEFAULT_PORTS[parts.scheme]
    if text != f"{parts.scheme}://{parts.netloc}" or text != text.lower() or default_port:
        raise ValueError
    if parts.netloc.endswith(":") or not is_private_url(text):
        raise ValueError
    return text


def read_redis_url(url: str) -> str:
    """A URL of Redis or Valkey; empty: the embedded store. Raises: ValueError."""
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in _REDIS_SCHEMES or not url.isprintable():
        raise ValueError
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError
    elif "," not in parts.netloc and (not parts.hostname or parts.port == 0):
        raise ValueError
    return url


def read_webhook_secret(text: str) -> str:
    """`whsec_` and base64 of 24 to 64 bytes. (Standard Webhooks) Raises: ValueError."""
    prefix, _, encoded = text.partition("_")
    if prefix != "whsec" or not 24 <= len(base64.b64decode(encoded, validate=True)) <= 64:
        raise ValueError
    return text
