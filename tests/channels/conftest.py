"""The Mosquitto of the channels' tests, started once a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.far_ends.mosquitto import MosquittoServer


@pytest.fixture(scope="session")
def mosquitto(need: Callable[[str], str]) -> Iterator[MosquittoServer]:
    need("mosquitto")
    with MosquittoServer() as running:
        yield running
