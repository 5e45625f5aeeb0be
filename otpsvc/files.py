"""What a config names by a path: secrets, and certificates to trust."""

from __future__ import annotations

import ssl
from pathlib import Path

from otpsvc.errors import ConfigError


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
