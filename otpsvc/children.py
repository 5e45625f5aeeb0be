"""The processes behind one parent: N for the API, one that delivers, one with the feeders, if there are any.

Who dies is replaced (`child.py`).
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from otpsvc.child import Child, Order
from otpsvc.config import Config
from otpsvc.keyring_file import Contents
from otpsvc.listening import Listeners
from otpsvc.starting import DRAIN, Role, preflight, warnings_of

#: The order in which children end, and the seconds that each may take. Who takes no more is first;
#: deliverers are last: what was accepted until then is sent at once.
ENDS: Final[tuple[tuple[Role, float], ...]] = (
    ("feeders", 15.0),
    ("api", DRAIN + 15.0),
    ("delivery", DRAIN + 15.0),
)

_log = structlog.get_logger("otpsvc")


class Parent:
    """Serves by its children. See `supervisor.Served`."""

    def __init__(
        self,
        config: Config,
        contents: Contents,
        *,
        store_url: str,
        roles: frozenset[Role],
        listeners: Listeners,
        ready: Callable[[], None],
    ) -> None:
        self._config = config
        self._contents = contents
        self._store_url = store_url
        self._roles = roles
        self._listeners = listeners
        self._ready = ready
        self._keeping: dict[Child, asyncio.Task[None]] = {}
        self._folder: Path | None = None
        self._stop = asyncio.Event()

    def warnings(self) -> tuple[str, ...]:
        return warnings_of(self._config)

    def stop(self) -> None:
        if self._stop.is_set():
            for child in self._keeping:
                child.kill()
        self._stop.set()

    async def reload(self, config: Config) -> bool:
        """All children, or those that could: a refusal stands in the child's own log line."""
        self._config = config
        reloads = [child.reload(config) for child in self._keeping]
        if self._keeping and self._has_feeders() and not self._of("feeders"):
            reloads.append(self._begin_feeders())
        return all(await asyncio.gather(*reloads))

    async def run(self) -> None:
        """Raises: ConfigError, KeyringError, StoreUnavailable, StartFailed."""
        await preflight(self._config, self._contents.keyring(), self._store_url)
        with tempfile.TemporaryDirectory(prefix="otpsvc-metrics-") as folder:
            self._folder = Path(folder)
            for name, role, admin in self._places():
                self._begin(name, role, admin=admin)
            try:
                await self._serve()
            finally:
                for child in self._keeping:
                    child.kill()
                await asyncio.gather(*self._keeping.values(), return_exceptions=True)

    def _begin(self, name: str, role: Role, *, admin: bool = False) -> Child:
        assert self._folder is not None
        child = Child(name, lambda: self._order(role, admin=admin), self._folder)
        self._keeping[child] = asyncio.create_task(child.keep())
        return child

    def _has_feeders(self) -> bool:
        return "feeders" in self._roles and bool(self._config.feeders)

    def _of(self, role: Role) -> list[Child]:
        return [child for child in self._keeping if child.name.startswith(role)]

    async def _begin_feeders(self) -> bool:
        """The first feeders of a new config: a process for them, beside those that serve already."""
        child = self._begin("feeders", "feeders")
        keeping, ready = self._keeping[child], asyncio.ensure_future(child.ready.wait())
        await asyncio.wait([keeping, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not keeping.done():
            return True
        del self._keeping[child]
        # Why it could not start stands in its own log line.
        if (error := keeping.exception()) is not None:
            _log.error("the feeders could not be started", reason=str(error))
        return False

    async def _serve(self) -> None:
        keeping = list(self._keeping.values())
        all_ready = asyncio.ensure_future(self._all_ready())
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await _until(all_ready, stopped, *keeping)
            if all_ready.done():
                self._ready()
            await _until(stopped, *keeping)
        finally:
            all_ready.cancel()
            stopped.cancel()
        self._listeners.close()
        for role, patience in ENDS:
            ending = self._of(role)
            for child in ending:
                child.stop()
            if ending:
                await asyncio.wait([self._keeping[child] for child in ending], timeout=patience)

    async def _all_ready(self) -> None:
        for child in list(self._keeping):
            await child.ready.wait()

    def _places(self) -> list[tuple[str, Role, bool]]:
        """Name and role of each child, and whether it has the operator's listener."""
        places: list[tuple[str, Role, bool]] = [
            (f"api {number + 1}", "api", "delivery" not in self._roles and number == 0)
            for number in range(self._config.app.workers)
        ]
        if "delivery" in self._roles:
            places.append(("delivery", "delivery", True))
        if self._has_feeders():
            places.append(("feeders", "feeders", False))
        return places

    def _order(self, role: Role, *, admin: bool) -> Order:
        return Order(
            config=self._config,
            contents=self._contents,
            store_url=self._store_url,
            role=role,
            public=_numbers(self._listeners.public) if role == "api" else (),
            admin=_numbers(self._listeners.admin) if admin else (),
        )


def _numbers(sockets: Sequence[socket.socket]) -> tuple[int, ...]:
    return tuple(one.fileno() for one in sockets)


async def _until(*futures: asyncio.Future[Any]) -> None:
    """The first that ends; its error, if it failed."""
    done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    for future in done:
        future.result()
