"""Waiting in tests: for something to hold, never for a time to pass."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

#: Seconds. No aim for speed: a machine under heavy load is no fault of what is tested.
PATIENCE = 60.0


async def until(
    holds: Callable[[], Any], told: Callable[[], object] = str, *, patience: float = PATIENCE
) -> Any:
    """Wait until `holds()` (or what it awaits) is true and return that.

    `told` says what was there instead. Raises: AssertionError after `patience` seconds.
    """
    end = time.monotonic() + patience
    while True:
        found = holds()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"it did not happen within {patience:g} s: {told()}"
        await asyncio.sleep(0.005)


async def stays(holds: Callable[[], Any], told: Callable[[], object] = str, *, seconds: float = 0.3) -> None:
    """Look for `seconds` whether it goes on holding: for what must not happen.

    A slow machine can only make it miss a fault, never report a false one.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert holds(), f"it held no more: {told()}"
        await asyncio.sleep(0.005)
