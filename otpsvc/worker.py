"""A child (`child.py`): takes its orders over a socket pair, serves, and ends with its parent."""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import structlog
import uvloop

from otpsvc import logs
from otpsvc.child import BEAT, LENGTH, Order
from otpsvc.config import Config
from otpsvc.errors import OtpsvcError
from otpsvc.serving import Process
from otpsvc.starting import beside, not_dumpable

_log = structlog.get_logger("otpsvc")


def main(handle: int) -> None:
    """`handle`: the file descriptor of our end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(_work(socket.socket(fileno=handle))))


async def _work(line: socket.socket) -> int:
    """The exit status."""
    reader, writer = await asyncio.open_unix_connection(sock=line)
    order = await _heard(reader)
    if not isinstance(order, Order):
        return 1
    logs.configure(order.config.app.log, order.config.app.log_level, cache=True)
    not_dumpable()
    try:
        process = _process(order, ready=lambda: writer.write(b"r"))
        _on_signals(process)
        async with beside(_obey(reader, writer, process), _beat(writer)):
            await process.run()
    except OtpsvcError as error:
        _log.error("cannot start", reason=logs.in_words(error))
        return 1
    return 0


def _process(order: Order, *, ready: Callable[[], None]) -> Process:
    return Process(
        order.config,
        order.contents.keyring(),
        store_url=order.store_url,
        roles=frozenset({order.role}),
        public=_sockets(order.public),
        admin=_sockets(order.admin),
        ready=ready,
    )


def _sockets(handles: Sequence[int]) -> list[socket.socket]:
    return [socket.socket(fileno=handle) for handle in handles]


def _on_signals(process: Process) -> None:
    """A child that somebody ends by hand drains too, and is replaced."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stop)
    # The config comes from the parent.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)


async def _heard(reader: asyncio.StreamReader) -> object:
    """The parent's next word; None when the parent is gone."""
    try:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        packed = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    # From our parent alone, over a socket that nobody else can reach.
    return pickle.loads(packed)  # noqa: S301


async def _obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, process: Process) -> None:
    while isinstance(word := await _heard(reader), Config):
        writer.write(b"+" if await process.reload(word) else b"-")
    process.stop()
    if word is None:
        _log.error("the parent is gone")


async def _beat(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(BEAT)
        writer.write(b"a")
