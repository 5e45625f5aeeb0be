"""Final states posted to the tenant: a receiver that is down, that fails, that answers too late."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from tests.drills.api import Api
from tests.drills.conftest import Enter, NewPlace, Store
from tests.drills.ends import SIGNING, Hook, eventually, verified
from tests.drills.place import tenant, webhook
from tests.far_ends.http_server import Post

CODE = "4815162342"
STATES = ("verified", "locked", "expired", "failed")
#: Events are tried again after 5 s and a bit, at the next look.
AGAIN = 9.0


class Receiver(Hook):
    """The first post of every event does a misdeed; what comes again is taken."""

    def by_event(self) -> dict[str, list[Post]]:
        events: dict[str, list[Post]] = defaultdict(list)
        for post in self.posts:
            events[post.headers["webhook-id"]].append(post)
        return events


def told(name: str, receiver: Receiver) -> str:
    return tenant(name, callback_url=receiver.url, callback_secret=SIGNING)


async def _end_in_every_state(api: Api, name: str) -> None:
    for state in STATES:
        fields = {"otp": CODE, "extra": '{"order":"planted-extra"}'}
        fields |= {"expired": {"ttl": "1"}, "locked": {"max_attempts": "1"}}.get(state, {})
        provider = "refuses" if state == "failed" else "mail"
        await api.put(f"{state}-{name}", tenant=name, provider=provider, **fields)
    await api.check(f"verified-{name}", CODE, tenant=name)
    await api.check(f"locked-{name}", "0000000000", tenant=name)
    # Nothing of this is another final state.
    await api.check(f"verified-{name}", CODE, tenant=name)
    await api.check(f"locked-{name}", CODE, tenant=name)
    await api.status(f"verified-{name}", tenant=name)
    await api.ask("DELETE", f"/api/otp/locked-{name}", tenant=name)


def _check_events(receiver: Receiver, name: str) -> None:
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
    assert set(seen) == set(STATES)


async def test_final_states_arrive_at_least_once_under_one_id(enter: Enter, new_place: NewPlace) -> None:
    store: Store = await enter(Store())
    hook: Hook = await enter(Hook())
    refusing: Hook = await enter(Hook(always="answers_404"))
    receivers = {name: Receiver() for name in ("down", "fails", "late")}
    for receiver in receivers.values():
        await enter(receiver)
    receivers["fails"].plan = ["answers_500"] * 4
    receivers["late"].plan = ["closes_after_body"] * 4
    place = await new_place(
        *(told(name, receiver) for name, receiver in receivers.items()),
        webhook("mail", hook.url),
        webhook("refuses", refusing.url),
        store=store.url,
    )
    api = (await place.serve()).api
    await receivers["down"].__aexit__()
    await asyncio.gather(*(_end_in_every_state(api, name) for name in receivers))
    # `expired` is written a second after its create; until then the receiver stays down.
    await eventually(lambda: len(receivers["fails"].posts) == len(STATES) == len(receivers["late"].posts))
    assert not receivers["down"].posts
    await receivers["down"].__aenter__()

    def arrived() -> bool:
        again = (len(receivers[name].posts) == 2 * len(STATES) for name in ("fails", "late"))
        return all(again) and len(receivers["down"].posts) == len(STATES)

    await eventually(arrived, AGAIN)
    for name, receiver in receivers.items():
        _check_events(receiver, name)
    # Once taken, an event does not come again.
    await asyncio.sleep(1.2)
    assert arrived()
