"""The ways out, one file each: the registry that finds a channel by its `type`, and what several share.

Our own are imported on first use, so that a missing library hurts nobody who does not
use it. Others come as entry points of the group `otpsvc.channels`.
"""

from __future__ import annotations

from ipaddress import ip_address

from otpsvc.channel import Channel
from otpsvc.errors import ConfigError
from otpsvc.files import secret_from, tls_context
from otpsvc.plugins import Registry

__all__ = ["channel_type", "channel_types", "is_loopback", "secret_from", "tls_context"]

GROUP = "otpsvc.channels"
OWN = {
    "file": "otpsvc.channels.file:FileChannel",
    "gsm": "otpsvc.channels.gsm:GsmChannel",
    "mqtt": "otpsvc.channels.mqtt:MqttChannel",
    "rabbitmq": "otpsvc.channels.rabbitmq:RabbitChannel",
    "smtp": "otpsvc.channels.smtp:SmtpChannel",
    "webhook": "otpsvc.channels.webhook:WebhookChannel",
}


_REGISTRY = Registry(GROUP, OWN, Channel)


class NoSuchChannelType(ConfigError):
    """A `[channels.NAME]` table asks for a type that is not installed."""

    def __init__(self, name: str, known: list[str]) -> None:
        choices = ", ".join(known)
        super().__init__("", "type", f"one of {choices}", repr(name))
        self.args = (f"no channel type {name!r}; there are {choices}",)


def channel_types() -> list[str]:
    """The types that a config may name, sorted."""
    return _REGISTRY.types()


def channel_type(name: str) -> type[Channel]:
    """The class of this `type`. Raises: ConfigError."""
    if name not in OWN and name not in channel_types():
        raise NoSuchChannelType(name, channel_types())
    return _REGISTRY.find(name)


def is_loopback(host: str) -> bool:
    """True when what is said to this host stays on this machine. Names are not resolved: DNS may lie."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
