"""Settings for every test; far ends and fixtures live beside the tests that use them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.far_ends.rabbitmq import RabbitServer

# Timed examples fail on a busy machine and say nothing about the code; so do examples that are
# slow to draw. And what passed must pass again: the examples are the same each time.
hypothesis.settings.register_profile(
    "otpsvc",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("otpsvc")


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """Whoever runs the tests may have a real otpsvc configured in the environment."""
    for name in [name for name in os.environ if name.startswith("OTPSVC_")]:
        del os.environ[name]


@pytest.fixture(autouse=True, scope="session")
def _interrupts() -> None:
    """What a script starts in its background ignores SIGINT, and so would all programs under test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """The path of a server, tool or file. Where it is missing: skip at home, fail in CI."""

    def path_of(tool: str) -> str:
        if tool.startswith("/"):
            found = tool if Path(tool).exists() else None
        else:
            found = shutil.which(tool, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
        if found:
            return found
        if os.environ.get("CI"):
            pytest.fail(f"{tool} is missing; .ci/packages installs it")
        pytest.skip(f"{tool} is missing; as root .ci/packages installs it")

    return path_of


@pytest.fixture(scope="session")
def rabbit(need: Callable[[str], str]) -> Iterator[RabbitServer]:
    """The RabbitMQ of this worker: it takes seconds to start, so feeders and channels share it."""
    need("rabbitmq-server")
    need("epmd")
    with RabbitServer() as server:
        yield server
