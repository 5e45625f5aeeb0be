"""A folder with a config file, and types of channels that no test of the config needs a library for."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from otpsvc.channel import ChannelConfig
from otpsvc.config import Config, load, problems

PLANTED = "pl4nted-hunter2"
WHSEC = "whsec_" + base64.b64encode(bytes(32)).decode()
#: The least that a tenant must say.
SHOP = '[tenants.shop]\nsecret_hash = "otpsvc1$x"\n'
MAIL = '[channels.mail]\ntype = "mail"\nhost = "mx.example"\n'


class MailConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str
    port: Annotated[int, Meta(ge=1, le=65_535)] = 25
    tls: Literal["starttls", "none"] = "starttls"
    password: str = ""
    password_file: str = ""
    ca_file: str = ""
    url: str = ""
    insecure: bool = False
    idle: Annotated[float, Meta(gt=0)] = 30.0
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.host == "bad":
            raise ValueError(f"host: expected a good host, not with {self.password}")
        if self.host == "worse":
            raise ValueError("expected something else")
        if self.subject == "off":
            raise ValueError("idle: expected less")


class FileConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str


def channel_types(name: str) -> type[ChannelConfig]:
    types: dict[str, type[ChannelConfig]] = {"mail": MailConfig, "file": FileConfig}
    return types[name]


class Place:
    """A folder with a config file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "otpsvc.toml"

    def file(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def load(self, text: str, environ: Mapping[str, str] | None = None, **outside: Any) -> Config:
        self.file("otpsvc.toml", text)
        return load(self.path, channel_types=channel_types, environ=environ or {}, **outside)

    def wrong(self, text: str | bytes, environ: Mapping[str, str] | None = None, **outside: Any) -> list[str]:
        """All problems, with `FILE` for the path of the file."""
        self.file("otpsvc.toml", text)
        found = problems(self.path, channel_types=channel_types, environ=environ or {}, **outside)
        return [str(one).replace(str(self.path), "FILE") for one in found]
