"""Final states posted to the tenant: a receiver that is down, that fails, that answers too late."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from tests.drills.api import Api
from tests.drills.conftest import Enter, NewPlace, Store
from tests.drills.ends import SIGNING, Hook, verified
from tests.drills.place import Service, tenant, webhook
from tests.far_ends.http_server import Misdeed, Post
from tests.waiting import stays, until

CODE = "4815162342"
STATES = ("verified", "locked", "expired", "failed")


class Receiver(Hook):
    """The first post of every event does the misdeed; what comes again is taken."""

    def __init__(self, misdeed: Misdeed = "") -> None:
        super().__init__()
        self._known: set[str] = set()
        self._first = misdeed
        self.on_post = self._plan

    def _plan(self, post: Post) -> None:
        id = post.headers["webhook-id"]
        self.plan = [] if id in self._known else [self._first]
        self._known.add(id)

    def by_event(self) -> dict[str, list[Post]]:
        events: dict[str, list[Post]] = defaultdict(list)
        for post in self.posts:
            events[post.headers["webhook-id"]].append(post)
        return events


def told(name: str, receiver: Receiver) -> str:
    return tenant(name, callback_url=receiver.url, callback_secret=SIGNING)


async def _end_in(api: Api, name: str, *states: str) -> None:
    for state in states:
        fields = {"otp": CODE, "extra": '{"order":"planted-extra"}'}
        fields |= {"expired": {"ttl": "1"}, "locked": {"max_attempts": "1"}}.get(state, {})
        provider = "refuses" if state == "failed" else "mail"
        await api.put(f"{state}-{name}", tenant=name, provider=provider, **fields)
    if "verified" in states:
        await api.check(f"verified-{name}", CODE, tenant=name)
        # Nothing of this is another final state.
        await api.check(f"verified-{name}", CODE, tenant=name)
        await api.status(f"verified-{name}", tenant=name)
    if "locked" in states:
        await api.check(f"locked-{name}", "0000000000", tenant=name)
        await api.check(f"locked-{name}", CODE, tenant=name)
        await api.ask("DELETE", f"/api/otp/locked-{name}", tenant=name)


async def _end_while_it_is_down(service: Service, name: str, state: str, receiver: Receiver) -> None:
    """It is up again once the event was tried: the second try comes after 5 s, the third after minutes."""
    await receiver.__aexit__()
    await _end_in(service.api, name, state)
    tried = f'"tenant":"{name}","route":"callback"'
    await until(lambda: tried in service.log, lambda: service.log[-3000:])
    assert not receiver.posts
    await receiver.__aenter__()


def _check_events(receiver: Receiver, name: str, *states: str) -> None:
    events = receiver.by_event()
    seen = {}
    for id, posts in events.items():
        bodies = [verified(post) for post in posts]
        assert id.startswith("evt_")
        assert all(body == bodies[0] for body in bodies), "every try says the same"
        state = bodies[0]["data"]["state"]
        assert bodies[0]["type"] == f"otp.{state}"
        assert bodies[0]["data"]["id"] == f"{state}-{name}"
        assert bodies[0]["data"]["extra"] == {"order": "planted-extra"}
        assert state not in seen, "one event for each final state"
        seen[state] = id
        for post in posts:
            assert CODE.encode() not in post.body
            assert b"home.example" not in post.body
    assert set(seen) == set(states)


async def test_final_states_arrive_at_least_once_under_one_id(enter: Enter, new_place: NewPlace) -> None:
    store: Store = await enter(Store())
    hook: Hook = await enter(Hook())
    refusing: Hook = await enter(Hook(always="answers_404"))
    down = {f"down-{state}": (state, Receiver()) for state in STATES}
    failing = {"fails": Receiver("answers_500"), "late": Receiver("closes_after_body")}
    receivers = {name: receiver for name, (_, receiver) in down.items()} | failing
    for receiver in receivers.values():
        await enter(receiver)
    place = await new_place(
        *(told(name, receiver) for name, receiver in receivers.items()),
        webhook("mail", hook.url),
        webhook("refuses", refusing.url),
        store=store.url,
    )
    service = await place.serve()
    await asyncio.gather(
        *(_end_in(service.api, name, *STATES) for name in failing),
        *(_end_while_it_is_down(service, name, state, receiver) for name, (state, receiver) in down.items()),
    )

    def arrived() -> bool:
        again = (len(receiver.posts) == 2 * len(STATES) for receiver in failing.values())
        return all(again) and all(len(receiver.posts) == 1 for _, receiver in down.values())

    await until(arrived, lambda: {name: receiver.ids for name, receiver in receivers.items()})
    for name, receiver in failing.items():
        _check_events(receiver, name, *STATES)
    for name, (state, receiver) in down.items():
        _check_events(receiver, name, state)
    # Once taken, an event does not come again.
    await stays(arrived, seconds=1.2)
