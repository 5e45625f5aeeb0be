"""The ways out, one file each: the registry that finds a channel by its `type`, and what several share.

Our own are imported on first use, so that a missing library hurts nobody who does not
use it. Others come as entry points of the group `otpsvc.channels`.
"""

from __future__ import annotations

import ssl
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from ipaddress import ip_address
from pathlib import Path

from otpsvc.channel import Channel
from otpsvc.errors import ConfigError

GROUP = "otpsvc.channels"
OWN = {
    "file": "otpsvc.channels.file:FileChannel",
    "smtp": "otpsvc.channels.smtp:SmtpChannel",
    "webhook": "otpsvc.channels.webhook:WebhookChannel",
}


class NoSuchChannelType(ConfigError):
    """A `[channels.NAME]` table asks for a type that is not installed."""

    def __init__(self, name: str, known: list[str]) -> None:
        choices = ", ".join(known)
        super().__init__("", "type", f"one of {choices}", repr(name))
        self.args = (f"no channel type {name!r}; there are {choices}",)


def channel_types() -> list[str]:
    """The types that a config may name, sorted."""
    return sorted({*OWN, *(point.name for point in entry_points(group=GROUP))})


def channel_type(name: str) -> type[Channel]:
    """The class of this `type`. Our own names cannot be taken over by another package.

    Raises: ConfigError.
    """
    if place := OWN.get(name):
        module, _, attribute = place.partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise NoSuchChannelType(name, channel_types())
    if len({point.value for point in found}) > 1:
        packages = ", ".join(point.value for point in found)
        raise ConfigError("", f"type {name!r}", "one package that brings it", packages)
    return _foreign(found[0])


def _foreign(point: EntryPoint) -> type[Channel]:
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        expected = f"{point.value} to be importable"
        raise ConfigError("", f"type {point.name!r}", expected, repr(error)) from None
    if not (isinstance(found, type) and issubclass(found, Channel)):
        raise ConfigError("", f"type {point.name!r}", "a subclass of otpsvc.channel.Channel", point.value)
    return found


def is_loopback(host: str) -> bool:
    """True when what is said to this host stays on this machine. Names are not resolved: DNS may lie."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(ca_file: str) -> ssl.SSLContext:
    """A client's TLS settings; `ca_file` (PEM) takes the place of the system's authorities.

    Raises: ConfigError.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigError("", "ca_file", "a readable PEM file", f"{ca_file} ({error.strerror})") from None


def secret_from(path: str, *, key: str) -> str:
    """The secret that this file holds, without the blank space around it.

    Raises: ConfigError, which names `key` and never the content.
    """
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("", key, "a readable text file", f"{path} ({type(error).__name__})") from None
    if not secret:
        raise ConfigError("", key, "a file with a secret in it", f"{path} (empty)")
    return secret
