"""Many commands, each with a text of its own, and what became of them at the far end."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Final

from tests.drills.conftest import Store
from tests.drills.ends import Hook
from tests.drills.place import Place
from tests.drills.planted import Planted
from tests.waiting import PATIENCE, until

#: What all texts, numbers and ids begin with.
TEXT, NUMBER, ID = "ocelot-marker", "+628127770", "order-ocelot"


class Stream:
    """`hook` is the far end. Every command of a stream is to be sent once, whatever happens."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.asked: dict[str, str] = {}
        self.planted = Planted()
        for value in (TEXT, NUMBER[1:], ID):
            self.planted.plant(value)
        self._random = random.Random(11)

    def make(self, count: int, *, word: str = "send-sms", **more: Any) -> list[str]:
        """New commands."""
        made = []
        for _ in range(count):
            at = len(self.asked)
            to, text = f"{NUMBER}{at:05}", f"{TEXT} {at} {self._random.randrange(10**9):09}"
            self.asked[text] = to
            data = {"id": f"{ID}-{at}", "msisdn": to, "message": text, **more}
            made.append(json.dumps({"command": word, "data": data}))
        return made

    def sent(self) -> dict[str, list[str]]:
        """The ids of the posts of each text."""
        found = defaultdict(list)
        for post in self.hook.posts:
            found[post.json["data"]["text"]].append(post.headers["webhook-id"])
        return found

    def missing(self, texts: Iterable[str] = ()) -> set[str]:
        """Of these or all, those that did not arrive."""
        return set(texts or self.asked) - {post.json["data"]["text"] for post in self.hook.posts}

    async def arrived(self, told: Any = str) -> None:
        """Once all have arrived."""
        count = len(self.asked)
        await until(lambda: len(self.hook.posts) >= count and not self.missing(), told, patience=4 * PATIENCE)

    def doubled(self) -> dict[str, int]:
        """Texts that arrived as two messages, with how many."""
        return {text: len(set(ids)) for text, ids in self.sent().items() if len(set(ids)) > 1}

    def repeated(self) -> list[str]:
        """Texts that were handed over twice as one message: whoever reads sees that by its id."""
        count = Counter(post.headers["webhook-id"] for post in self.hook.posts)
        return [id for id, times in count.items() if times > 1]

    def strangers(self) -> set[str]:
        """Texts that nobody asked for."""
        return set(self.sent()) - set(self.asked)


async def left_behind(place: Place, store: Store | None = None) -> list[bytes]:
    """Logs, metrics and health of all services that run, and what the store wrote to its disk."""
    left = [service.log.encode() for service in place.services]
    for service in place.services:
        # Not all of them run any more.
        if await service.admin.is_well("/metrics"):
            pages = [await service.admin.ask("GET", path, tenant="") for path in ("/metrics", "/api/health")]
            left += [page.raw for page in pages]
    assert any(b"otpsvc_feeder_commands_total" in one for one in left)
    if store is not None:
        store.ask("SAVE")
        files = [path.read_bytes() for path in store.folder.rglob("*") if path.is_file()]
        assert any(b"due:{shop}" in one for one in files)
        left += files
    return left


KEPT: Final = ("rdbcompression no",)
