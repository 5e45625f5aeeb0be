"""The config: file and environment as types, or every reason why they cannot be used.

file -> TOML -> overlay (environment) -> Reader (types, bounds) -> rules between keys -> Config
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, Unpack

from msgspec import Struct, field

from otpsvc.channel import ChannelConfig
from otpsvc.config.app import App, AppReader, Redis, Tls
from otpsvc.config.channels import ChannelReader, ChannelTypes, CheckChannel
from otpsvc.config.environment import Tables, overlay
from otpsvc.config.feeders import CheckFeeder, FeederReader, FeederTypes, check_replies
from otpsvc.config.reading import CheckTemplate, Reader, each
from otpsvc.config.relay import Relay, read_relay
from otpsvc.config.tenants import TenantReader, TenantTable, check_codes, check_limits
from otpsvc.config.types import fields_of
from otpsvc.config.values import Listen
from otpsvc.config.words import ENVIRONMENT, nearest
from otpsvc.errors import ConfigError
from otpsvc.feeder import FeederConfig
from otpsvc.tenant import Codes, Limits, Tenant

__all__ = ["App", "Config", "ConfigTables", "Listen", "Outside", "Redis", "Relay", "Tls", "load", "problems"]

#: A name of a tenant, channel or route: part of keys, paths and metrics.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME_WORDS = "a name of 1 to 64 letters, digits, - and _"
#: Bytes of a config file; a thousand tenants take one of these.
_FILE_MAX = 16 * 1024 * 1024


class ConfigTables(Struct, frozen=True, kw_only=True):
    """All that a config file may hold."""

    app: App = field(default_factory=App)
    redis: Redis = field(default_factory=Redis)
    codes: Codes = field(default_factory=Codes)
    limits: Limits = field(default_factory=Limits)
    tenants: dict[str, TenantTable] = field(default_factory=dict)
    channels: dict[str, ChannelConfig] = field(default_factory=dict)
    routes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    relay: Relay = field(default_factory=Relay)
    feeders: dict[str, FeederConfig] = field(default_factory=dict)


class Config(Struct, frozen=True, kw_only=True):
    """A config that can be used. `warnings` are sentences for the log, the health page and `check`."""

    app: App
    redis: Redis
    tenants: Mapping[str, Tenant]
    channels: Mapping[str, ChannelConfig]
    #: Channels in the order in which they are tried.
    routes: Mapping[str, tuple[str, ...]]
    relay: Relay = Relay()
    feeders: Mapping[str, FeederConfig] = {}
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Config(tenants={len(self.tenants)}, channels={sorted(self.channels)})"

    __str__ = __repr__


class Outside(TypedDict):
    """What `load` and `problems` are told beside the path."""

    channel_types: ChannelTypes
    environ: Mapping[str, str]
    #: Raises ValueError with a sentence when a text is no template.
    check_template: NotRequired[CheckTemplate | None]
    #: Looks at a channel's config as its constructor does. Raises ConfigError.
    check_channel: NotRequired[CheckChannel | None]
    #: The `Config` of a type of feeder; without it there can be no feeders.
    feeder_types: NotRequired[FeederTypes]
    #: Looks at a feeder's files and packages. Raises ConfigError.
    check_feeder: NotRequired[CheckFeeder | None]


def load(path: Path | None, **outside: Unpack[Outside]) -> Config:
    """The config of this file (None: of the environment alone, which then names a tenant).

    Raises: ConfigError, the first of `problems`.
    """
    config, wrong = _read(path, outside)
    if config is None:
        raise wrong[0]
    return config


def problems(path: Path | None, **outside: Unpack[Outside]) -> list[ConfigError]:
    """Everything that is wrong with it; empty: `load` takes it."""
    return _read(path, outside)[1]


def _read(path: Path | None, outside: Outside) -> tuple[Config | None, list[ConfigError]]:
    """The config, or None and all problems."""
    tables = _tables(path)
    if isinstance(tables, ConfigError):
        return None, [tables]
    over = overlay(
        tables,
        outside["environ"],
        root=ConfigTables,
        plugins={
            "channels": _known_types(outside["channel_types"]),
            "feeders": _known_types(outside.get("feeder_types", _no_feeder)),
        },
    )
    file, base = (str(path), path.parent) if path else (ENVIRONMENT, Path())
    reader = Reader(file, base.absolute(), over.variables)
    reader.warnings += over.warnings
    config = _Assembly(reader, tables, outside).config()
    if path is None and not tables.get("tenants"):
        reader.wrong(("tenants",), "at least one tenant (or a config file)", "none")
    wrong = over.problems + reader.problems
    return (None if wrong else config), wrong


def _tables(path: Path | None) -> Tables | ConfigError:
    """The file as TOML, or why it is none."""
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_MAX + 1)
    except OSError as error:
        return ConfigError(str(path), "", "a readable file", error.strerror or "")
    if len(content) > _FILE_MAX:
        return ConfigError(str(path), "", f"a file of at most {_FILE_MAX} bytes")
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return ConfigError(str(path), "", "UTF-8 text", f"other bytes in line {line}")
    except tomllib.TOMLDecodeError as error:
        # It names line and column, and repeats no value.
        return ConfigError(str(path), "", "valid TOML", str(error))
    except ValueError:
        return ConfigError(str(path), "", "valid TOML", "an integer of more than 4300 digits")
    except RecursionError:
        return ConfigError(str(path), "", "valid TOML", "values nested too deeply")


def _known_types(types: Callable[[str], type[Struct]]) -> Callable[[str], type[Struct] | None]:
    def known(name: str) -> type[Struct] | None:
        try:
            return types(name)
        except (ConfigError, LookupError, ImportError):
            return None

    return known


def _no_feeder(name: str) -> type[FeederConfig]:
    raise LookupError(name)


class _Assembly:
    """Puts one config together from its tables, section by section."""

    def __init__(self, reader: Reader, tables: Tables, outside: Outside) -> None:
        self._reader = reader
        self._tables = tables
        self._outside = outside

    def config(self) -> Config:
        """The config; not to be used when the reader noted problems."""
        for name in sorted(self._tables.keys() - fields_of(ConfigTables).keys()):
            self._reader.wrong((name,), nearest(name, fields_of(ConfigTables)))
        app = AppReader(self._reader).app(self._section("app"))
        redis = AppReader(self._reader).redis(self._section("redis"))
        channels, routes, tenants = self._channels(), self._routes(), self._tenants()
        return Config(
            app=app,
            redis=redis,
            channels=channels,
            routes=routes,
            relay=read_relay(self._reader, self._section("relay"), ways={*channels, *routes}),
            tenants=tenants,
            feeders=self._feeders(tenants),
            warnings=tuple(self._reader.warnings),
        )

    def _section(self, name: str) -> Any:
        return self._tables.get(name, {})

    def _named(self, section: str) -> dict[str, Any]:
        """The entries of a section whose keys are names."""
        entries = self._section(section)
        if not isinstance(entries, dict):
            self._reader.wrong_value((section,), "a table", entries)
            return {}
        for name in entries:
            if not _NAME.fullmatch(name):
                self._reader.wrong((section, name), _NAME_WORDS)
        return entries

    def _channels(self) -> dict[str, ChannelConfig]:
        channels = ChannelReader(
            self._reader,
            types=self._outside["channel_types"],
            check=self._outside.get("check_channel"),
            check_template=self._outside.get("check_template"),
        )
        read = {name: channels.read(name, table) for name, table in self._named("channels").items()}
        if not read:
            self._reader.warn(("channels",), "there is none: nothing can be sent")
        return {name: config for name, config in read.items() if config}

    def _feeders(self, tenants: Mapping[str, Tenant]) -> dict[str, FeederConfig]:
        feeders = FeederReader(
            self._reader,
            types=self._outside.get("feeder_types", _no_feeder),
            check=self._outside.get("check_feeder"),
            tenants=tenants,
            ways={*self._named("channels"), *self._named("routes")},
        )
        read = {name: feeders.read(name, table) for name, table in self._named("feeders").items()}
        found = {name: config for name, config in read.items() if config}
        check_replies(self._reader, found)
        return found

    def _routes(self) -> dict[str, tuple[str, ...]]:
        """Names of channels in order; that a channel's own table is wrong is another problem."""
        channels, kind = self._named("channels"), fields_of(ConfigTables)["routes"].type
        routes: dict[str, tuple[str, ...]] = self._reader.value(kind, self._named("routes"), ("routes",))
        for name, ways in routes.items():
            if name in channels:
                self._reader.wrong(("routes", name), "a name that no channel has")
            if not ways or len(set(ways)) < len(ways):
                self._reader.wrong(("routes", name), "one channel or more, each once")
            for here, way in each(("routes", name), ways):
                if way not in channels:
                    words = f"a channel ({', '.join(sorted(channels)) or 'there are none'})"
                    self._reader.wrong_value(here, words, way)
        return routes

    def _tenants(self) -> dict[str, Tenant]:
        codes = self._reader.struct(Codes, self._section("codes"), ("codes",)) or Codes()
        limits = self._reader.struct(Limits, self._section("limits"), ("limits",)) or Limits()
        check_codes(self._reader, codes, ("codes",))
        check_limits(self._reader, limits, ("limits",))
        tenants = TenantReader(
            self._reader,
            ways={*self._named("channels"), *self._named("routes")},
            codes=codes,
            limits=limits,
            check_template=self._outside.get("check_template"),
        )
        read = {name: tenants.tenant(name, table) for name, table in self._named("tenants").items()}
        if not read:
            self._reader.warn(("tenants",), "there is none: nobody can ask for a code")
        return {name: tenant for name, tenant in read.items() if tenant}
