"""The `[channels.NAME]` tables: each typed by the `Config` of its channel type, its files looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import structs

from otpsvc.channel import ChannelConfig
from otpsvc.config.reading import CheckTemplate, Reader, check_text
from otpsvc.config.types import fields_of
from otpsvc.config.values import is_loopback
from otpsvc.config.words import Key, is_sensitive
from otpsvc.errors import ConfigError

#: The `Config` class of a channel type. Raises: ConfigError, LookupError, ImportError.
ChannelTypes = Callable[[str], type[ChannelConfig]]
#: Looks at a channel's config as its constructor does. Raises: ConfigError.
CheckChannel = Callable[[ChannelConfig], None]

#: Bounds of what every channel has.
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "timeout": (0.1, 600),
    "retries": (0, 100),
    "rate": (0, 100_000),
    "concurrency": (1, 10_000),
}


class ChannelReader:
    """Makes the configs of channels."""

    def __init__(
        self,
        reader: Reader,
        *,
        channel_types: ChannelTypes,
        check_template: CheckTemplate | None,
        check_channel: CheckChannel | None,
    ) -> None:
        self._reader = reader
        self._channel_types = channel_types
        self._check_template = check_template
        self._check_channel = check_channel

    def channel(self, name: str, table: object) -> ChannelConfig | None:
        """One channel; None (and problems) when its table cannot be read."""
        key: Key = ("channels", name)
        if not isinstance(table, dict):
            self._reader.wrong_value(key, "a table", table)
            return None
        cls = self._type(table, (*key, "type"))
        config = self._reader.struct(cls, table, key) if cls else None
        if config is None:
            return None
        self._check(config, key)
        config = self._with_files(config, key)
        self._warn(config, key)
        if self._check_channel and not self._reader.is_wrong(key):
            self._ask_channel(config, key, self._check_channel)
        return config

    def _type(self, table: Mapping[str, Any], key: Key) -> type[ChannelConfig] | None:
        name = table.get("type")
        if not isinstance(name, str):
            words = 'a type of channel such as "smtp"'
            if name is None:
                self._reader.wrong(key, words, "nothing")
            else:
                self._reader.wrong_value(key, words, name)
            return None
        try:
            return self._channel_types(name)
        except ConfigError as error:
            self._reader.wrong(key, error.expected, error.got)
        except LookupError:
            self._reader.wrong_value(key, "a known type of channel", name)
        except ImportError as error:
            self._reader.wrong(key, "a type whose packages are installed", f"{name} ({error})")
        return None

    def _check(self, config: ChannelConfig, key: Key) -> None:
        for name, (least, most) in _BOUNDS.items():
            value: float = getattr(config, name)
            if not least <= value <= most:
                self._reader.wrong_value((*key, name), f"a number from {least:g} to {most:g}", value)
        for name in ("subject", "template"):
            check_text(self._reader, getattr(config, name), (*key, name), self._check_template)

    def _with_files(self, config: ChannelConfig, key: Key) -> ChannelConfig:
        """The config with whole paths; every file that is read later must be there now."""
        found: dict[str, str] = {}
        for name in fields_of(type(config)):
            value = getattr(config, name, "")
            if not isinstance(value, str) or not value or "\0" in value:
                continue
            if name.endswith("_file"):
                self._look_at(value, (*key, name))
                found[name] = str(self._reader.path(value))
            elif config.type == "file" and name == "path":
                found[name] = str(self._reader.path(value))
        return structs.replace(config, **found) if found else config

    def _look_at(self, path: str, key: Key) -> None:
        content = self._reader.content(key, path)
        if content is not None and is_sensitive(key):
            self._reader.warn_exposed(key, Path(path))

    def _warn(self, config: ChannelConfig, key: Key) -> None:
        warn = self._reader.warn
        fields = fields_of(type(config))
        for name in fields:
            if is_sensitive((name,)) and not name.endswith("_file") and getattr(config, name):
                self._reader.warn_plain(
                    (*key, name), others=[f"{name}_file"] if f"{name}_file" in fields else []
                )
        if config.type == "file":
            warn(key, "codes are written to a file in clear text; for development and tests alone")
        if getattr(config, "insecure", False):
            warn((*key, "insecure"), "codes may travel in clear text")
        if getattr(config, "tls", "") == "none" and not is_loopback(str(getattr(config, "host", ""))):
            warn((*key, "tls"), "codes travel in clear text")

    def _ask_channel(self, config: ChannelConfig, key: Key, check: CheckChannel) -> None:
        try:
            check(config)
        except ConfigError as error:
            here = (*key, error.key) if error.key in fields_of(type(config)) else key
            self._reader.wrong(here, error.expected, "" if is_sensitive(here) else error.got)
