"""Slow hashes (argon2id) in threads, with a bounded queue in front.

Who cannot be admitted is told before anything is counted (SECURITY 24).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from argon2.low_level import Type, hash_secret_raw
from msgspec import Struct

from otpsvc.errors import HashPoolFull

T = TypeVar("T")
# What a record keeps: 16 random bytes, memory (KiB) and passes.
_SALT = struct.Struct("<16sIB")


class Cost(Struct, frozen=True):
    """Of one argon2id hash; the default is OWASP's minimum (19 MiB, 2 passes, 1 lane)."""

    memory: int = 19_456
    passes: int = 2


def new_salt(cost: Cost) -> bytes:
    """21 bytes: a salt with the cost that belongs to it."""
    return _SALT.pack(os.urandom(16), cost.memory, cost.passes)


def slow_digest(secret: bytes, salt: bytes) -> bytes:
    """16 bytes of argon2id (RFC 9106) over an HMAC. `salt` as `new_salt` made it."""
    noise, memory, passes = _SALT.unpack(salt)
    return hash_secret_raw(secret, noise, passes, memory, parallelism=1, hash_len=16, type=Type.ID)


class HashPool:
    """`threads` hashes at a time, at most `waiting` more behind them."""

    def __init__(self, *, threads: int = 0, waiting: int = 256) -> None:
        self.threads = threads or os.cpu_count() or 1
        self._most = self.threads + waiting
        self._inside = 0
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="hash")

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Run `work` in a thread. Raises: HashPoolFull."""
        if self._inside >= self._most:
            raise HashPoolFull
        self._inside += 1
        loop = asyncio.get_running_loop()
        future = self._executor.submit(work, *args)
        # The place is free when the thread is, also when nobody waits for it any more.
        future.add_done_callback(lambda _: self._left(loop))
        return await asyncio.wrap_future(future)

    def _left(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._inside -= 1

    def close(self) -> None:
        """Let the running hashes end; drop those that wait."""
        self._executor.shutdown(wait=False, cancel_futures=True)
