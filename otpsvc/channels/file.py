"""Messages as lines of JSON in a file, codes included: for the demo and for tests by hand."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog
from msgspec import Struct
from msgspec.json import Encoder

from otpsvc.address import ANY
from otpsvc.channel import Channel, ChannelConfig
from otpsvc.errors import ConfigError, Refused, Unavailable
from otpsvc.message import Message, Receipt, Report

#: No symbolic link: somebody else could choose where the codes go.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_encode = Encoder().encode


class FileConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "file"`."""

    path: str
    #: Must be true: everyone who reads the file reads the codes.
    allow_plaintext: bool = False

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("path: expected the path of a file")


class _Line(Struct, frozen=True):
    id: str
    to: str
    text: str
    subject: str
    code: str
    #: Unix time in seconds.
    at: float


class FileChannel(Channel):
    """Appends one line per message to a file that only its owner may read."""

    Config = FileConfig
    address = ANY
    config: FileConfig

    def __init__(self, config: FileConfig, report: Report, *, now: Callable[[], float] = time.time) -> None:
        """Raises: ConfigError when plain text was not allowed."""
        super().__init__(config, report)
        if not config.allow_plaintext:
            raise ConfigError("", "allow_plaintext", "true, because the file shows every code", "false")
        self._now = now
        self._file: int | None = None

    async def __aenter__(self) -> Self:
        structlog.get_logger("otpsvc.channels.file").warning(
            "codes are written to a file in plain text", path=self.config.path
        )
        # The folder may come later; until then every send and ping says so.
        with suppress(Unavailable):
            self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    async def send(self, message: Message) -> Receipt:
        """Append one line, whole or not at all. Raises: Refused, Unavailable."""
        line = _Line(message.id, message.to, message.text, message.subject, message.code, self._now())
        try:
            written = _encode(line) + b"\n"
        except UnicodeEncodeError:
            raise Refused("the text is not Unicode") from None
        # No await: a cancellation finds the line whole or absent.
        _append(self._open(), written)
        return Receipt()

    async def ping(self) -> str:
        """Raises: Unavailable."""
        self._open()
        return "ok"

    def _open(self) -> int:
        """The open file. Raises: Unavailable."""
        if self._file is None:
            try:
                self._file = _open_private(self.config.path)
            except OSError as error:
                raise Unavailable(f"cannot open the file: {error.strerror}") from None
        return self._file


def _open_private(path: str) -> int:
    """Raises: OSError, also when it is no regular file or another user's."""
    file = os.open(path, _FLAGS, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(0, "not a regular file")
        os.fchmod(file, 0o600)
    except OSError:
        os.close(file)
        raise
    return file


def _append(file: int, line: bytes) -> None:
    """Raises: Unavailable, after which nothing of the line is there."""
    try:
        written = os.write(file, line)
        if written < len(line):
            os.ftruncate(file, os.lseek(file, 0, os.SEEK_END) - written)
            raise Unavailable("the disk is full")
    except OSError as error:
        raise Unavailable(f"cannot write the file: {error.strerror}") from None
