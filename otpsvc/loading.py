"""Where a config comes from: the file, the environment, the command line; and all that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from otpsvc.address import ANY, AddressKind
from otpsvc.channel import Channel, ChannelConfig
from otpsvc.channels import channel_type
from otpsvc.circles import circles, twins
from otpsvc.config import Config, Outside, load, problems
from otpsvc.config.values import Listen, read_listen
from otpsvc.config.words import ENVIRONMENT
from otpsvc.errors import ConfigError
from otpsvc.feeder import FeederConfig
from otpsvc.feeders import feeder_type, secret_of
from otpsvc.message import Delivery
from otpsvc.render import check

#: Looked for in this order when no file is named.
PLACES: Final = (Path("config.toml"), Path("/etc/otpsvc/config.toml"))
#: The route of events to tenants; no channel and no route may take its name.
CALLBACK: Final = "callback"


class Source(Struct, frozen=True, kw_only=True):
    """What was said at start, kept for every later reading. `listen` and `workers` go over the file."""

    path: Path | None = None
    listen: tuple[str, ...] = ()
    workers: int = 0

    def config(self, environ: Mapping[str, str] | None = None) -> Config:
        """Read it all anew. Raises: ConfigError, the first problem."""
        config = load(self.path, **_outside(environ))
        if wrong := self._further(config):
            raise wrong[0]
        return self._over(config)

    def problems(self, environ: Mapping[str, str] | None = None) -> list[ConfigError]:
        """Everything that is wrong with file and environment."""
        wrong = problems(self.path, **_outside(environ))
        return wrong or self._further(load(self.path, **_outside(environ)))

    def _further(self, config: Config) -> list[ConfigError]:
        """What can only be seen once channels are made."""
        file = str(self.path or ENVIRONMENT)
        wrong = [
            ConfigError(file, f"{section}.{CALLBACK}", "another name: this one is the tenants' callbacks'")
            for section in ("channels", "routes")
            if CALLBACK in getattr(config, section)
        ]
        for name, ways in config.routes.items():
            names = {make(config.channels[way]).address.name for way in ways} - {"any"}
            if len(names) > 1:
                expected = "channels that take the same kind of address"
                wrong.append(ConfigError(file, f"routes.{name}", expected, " and ".join(sorted(names))))
        for name, channel in config.channels.items():
            for key, tenants in channel.named_tenants().items():
                unknown = [tenant for tenant in tenants if tenant not in config.tenants]
                if unknown:
                    known = ", ".join(sorted(config.tenants)) or "there are none"
                    where = f"channels.{name}.{key}"
                    wrong.append(ConfigError(file, where, f"a tenant ({known})", f'"{unknown[0]}"'))
        wrong += twins(config, file)
        if config.feeders:
            wrong += circles(config, _kinds(config), file)
        return wrong

    def _over(self, config: Config) -> Config:
        app = config.app
        if self.listen:
            app = structs.replace(app, listen=tuple(map(_listen, self.listen)))
        if self.workers:
            app = structs.replace(app, workers=self.workers)
        return structs.replace(config, app=app)


def find(path: Path | None) -> Path | None:
    """The named file, else the first of PLACES that exists; None: the environment alone."""
    if path is not None:
        return path.absolute()
    return next((place.absolute() for place in PLACES if place.is_file()), None)


def make(config: ChannelConfig) -> Channel:
    """The channel that a `[channels.NAME]` table asks for, not yet opened. Raises: ConfigError."""
    return channel_type(config.type)(config, _later_news)


def _kinds(config: Config) -> dict[str, AddressKind]:
    """What channels and routes take, as `ways` sees it."""
    kinds = {name: make(channel).address for name, channel in config.channels.items()}
    for name, ways in config.routes.items():
        kinds[name] = next((kinds[way] for way in ways if kinds[way].name != "any"), ANY)
    return kinds


def _listen(text: str) -> Listen:
    try:
        listen = read_listen(text)
    except ValueError:
        expected = 'an address such as "127.0.0.1:9000", "[::1]:9000" or "unix:/path"'
        raise ConfigError("command line", "--listen", expected, text[:100]) from None
    return structs.replace(listen, path=str(Path(listen.path).absolute())) if listen.path else listen


def _outside(environ: Mapping[str, str] | None) -> Outside:
    return Outside(
        channel_types=lambda name: channel_type(name).Config,
        environ=os.environ if environ is None else environ,
        check_template=check,
        check_channel=_try_out,
        feeder_types=lambda name: feeder_type(name).Config,
        check_feeder=_try_out_feeder,
    )


def _try_out(config: ChannelConfig) -> None:
    make(config)


def _try_out_feeder(config: FeederConfig) -> None:
    feeder_type(config.type).check(config)
    secret_of(config)


def _later_news(_news: Delivery) -> None:
    """A channel that was not opened has no news; the app sets another."""
