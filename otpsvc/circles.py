"""Tables that get in each other's way at a broker: two clients of one name, texts that come back for ever.

feeder ─> its way ─> channel ─> queue or topic ─> feeder
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from otpsvc.address import AddressKind
from otpsvc.config import Config
from otpsvc.config.words import quoted
from otpsvc.errors import ConfigError
from otpsvc.feeder import FeederConfig
from otpsvc.submit import SCOPES, By, Defaults, takes, usual_way

#: From each feeder: the channel and the feeder at its other end.
Steps = Mapping[str, list[tuple[str, str]]]


def circles(config: Config, kinds: Mapping[str, AddressKind], file: str) -> Iterator[ConfigError]:
    """A text of such a feeder would be sent to it again. `kinds`: of channels and routes, in their order."""
    steps = {name: _steps(config, kinds, feeder) for name, feeder in config.feeders.items()}
    for name, others in steps.items():
        for channel, other in others:
            if name in _reached(steps, other):
                got = f"{quoted(channel)}, which publishes to where feeders.{other} takes commands"
                yield ConfigError(file, f"feeders.{name}.channel", "a way that does not lead back to it", got)
                break


def twins(config: Config, file: str) -> Iterator[ConfigError]:
    """A broker throws one client out when another one of its name comes."""
    clients = {f"channels.{name}": one.client() for name, one in config.channels.items()}
    clients |= {f"feeders.{name}": one.client(name) for name, one in config.feeders.items()}
    owners: dict[object, str] = {}
    for table, client in clients.items():
        if client is None:
            continue
        if owner := owners.get(client):
            words = "a client id that no other table has at this broker"
            yield ConfigError(file, f"{table}.client_id", words, f"{quoted(client.name)}, as {owner} has")
        owners.setdefault(client, table)


def _steps(config: Config, kinds: Mapping[str, AddressKind], feeder: FeederConfig) -> list[tuple[str, str]]:
    found = []
    for channel in _channels(config, kinds, feeder):
        spot = config.channels[channel].puts(feeder.tenant)
        if spot is not None:
            found += [(channel, name) for name, one in config.feeders.items() if one.takes(name, spot)]
    return found


def _channels(config: Config, kinds: Mapping[str, AddressKind], feeder: FeederConfig) -> list[str]:
    """All that its texts and mails may be sent by."""
    tenant = config.tenants[feeder.tenant]
    defaults = Defaults(sms=config.relay.sms, mail=config.relay.mail)
    kinds_of_texts: tuple[By, ...] = ("phone", "email")
    ways = [
        feeder.channel if takes(kinds, feeder.channel, by) else usual_way(kinds, defaults, tenant, by)
        for by in kinds_of_texts
        if SCOPES[by] in tenant.scopes
    ]
    return list(dict.fromkeys(one for way in ways if way for one in config.routes.get(way, (way,))))


def _reached(steps: Steps, name: str) -> set[str]:
    """Itself, and every feeder that gets texts that came to it."""
    found, ahead = {name}, [name]
    while ahead:
        new = {other for _, other in steps[ahead.pop()]} - found
        found |= new
        ahead += new
    return found
