"""The ways in other than HTTP, one file each: the registry of their types, and what all share.

Our own are imported on first use, so that a missing library hurts nobody who does not
use it. Others come as entry points of the group `otpsvc.feeders`.
"""

from __future__ import annotations

from otpsvc.errors import ConfigError
from otpsvc.feeder import Feeder, FeederConfig
from otpsvc.files import secret_from
from otpsvc.parcel import SECRET_MIN
from otpsvc.plugins import Registry

GROUP = "otpsvc.feeders"
OWN = {
    "mqtt": "otpsvc.feeders.mqtt:MqttFeeder",
    "rabbitmq": "otpsvc.feeders.rabbitmq:RabbitFeeder",
    "wsbroker": "otpsvc.feeders.wsbroker:WsBrokerFeeder",
}
_REGISTRY = Registry(GROUP, OWN, Feeder)


def feeder_types() -> list[str]:
    """The types that a config may name, sorted."""
    return _REGISTRY.types()


def feeder_type(name: str) -> type[Feeder]:
    """The class of this `type`. Raises: ConfigError."""
    return _REGISTRY.find(name)


def secret_of(config: FeederConfig) -> str:
    """What its commands are sealed under; empty: they are not. Raises: ConfigError."""
    if not config.secret_file:
        return config.secret
    secret = secret_from(config.secret_file, key="secret_file")
    if len(secret) < SECRET_MIN:
        raise ConfigError("", "secret_file", f"a file with at least {SECRET_MIN} characters in it", "fewer")
    return secret
