"""The `[channels.NAME]` tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from otpsvc.channel import ChannelConfig
from otpsvc.config.plugin import PluginReader
from otpsvc.config.reading import CheckTemplate, Reader, check_text
from otpsvc.config.values import is_loopback
from otpsvc.config.words import Key

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


class ChannelReader(PluginReader[ChannelConfig]):
    """Makes the configs of channels."""

    section, noun, example = "channels", "channel", "smtp"

    def __init__(
        self,
        reader: Reader,
        *,
        types: ChannelTypes,
        check: CheckChannel | None,
        check_template: CheckTemplate | None,
    ) -> None:
        super().__init__(reader, types=types, check=check)
        self._check_template = check_template

    def _check(self, config: ChannelConfig, key: Key) -> None:
        for name, (least, most) in _BOUNDS.items():
            value: float = getattr(config, name)
            if not least <= value <= most:
                self._reader.wrong_value((*key, name), f"a number from {least:g} to {most:g}", value)
        for name in ("subject", "template"):
            check_text(self._reader, getattr(config, name), (*key, name), self._check_template)

    def _warn(self, config: ChannelConfig, key: Key) -> None:
        warn = self._reader.warn
        if config.type == "file":
            warn(key, "codes are written to a file in clear text; for development and tests alone")
        if getattr(config, "insecure", False):
            warn((*key, "insecure"), "codes may travel in clear text")
        if getattr(config, "tls", "") == "none" and not is_loopback(str(getattr(config, "host", ""))):
            warn((*key, "tls"), "codes travel in clear text")
        for name, sentence in config.warnings().items():
            warn((*key, name), sentence)
