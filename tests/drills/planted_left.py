"""All that two services left behind: in the store, on the way to it, in logs and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otpsvc.challenge import unpack
from tests.drills.api import Answer
from tests.drills.conftest import Store
from tests.drills.ends import AimedProxy
from tests.drills.place import Place
from tests.drills.planted_flows import Flows


class Left:
    """What all of it left behind."""

    def __init__(self, place: Place, store: Store, proxy: AimedProxy, flows: Flows) -> None:
        self.planted = flows.planted
        self.flows = flows
        self.place = place
        self.store = store
        self.proxy = proxy
        self.answers: list[Answer] = []
        self.operator: list[bytes] = []
        self.commands: list[bytes] = []
        self.kept: list[bytes] = []

    async def collect(self) -> None:
        for service in self.place.services:
            for path in ("/metrics", "/api/health"):
                self.operator.append((await service.admin.ask("GET", path, tenant="")).raw)
            self.answers += service.api.answers + service.admin.answers
            self.commands += service.command_lines()
        self.store.ask("SAVE")
        self.keep()

    def keep(self) -> None:
        """All that is in the store now, name and value."""
        self.kept += self.store.kept()

    def told(self) -> Iterator[Any]:
        """Every record that an answer held."""
        for answer in self.answers:
            data = answer.body.get("data") if answer.raw.startswith(b"{") else None
            if isinstance(data, dict) and "gen" in data:
                yield data

    def records(self) -> Iterator[Any]:
        for key in self.store.ask("KEYS", "otp:*"):
            raw = self.store.ask("GET", key) or b""
            if raw[:1] == b"\x01":
                try:
                    yield unpack(raw)
                except Exception:
                    continue
