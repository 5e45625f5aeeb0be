"""kill -9 of the process that delivers, before, during and after a send."""

from __future__ import annotations

from typing import Any

from tests.drills.api import Api
from tests.drills.conftest import Enter, NewPlace, Store
from tests.drills.ends import Hook, code_of
from tests.drills.place import Service, smtp, table, tenant, webhook
from tests.far_ends.http_server import Misdeed
from tests.far_ends.smtp_server import SmtpServer
from tests.waiting import until

LATE: tuple[Misdeed, ...] = ("answers_200_late",)
TEXT = table("tenants.shop.templates", text="CODE {{ code }} .")


async def test_a_dead_workers_messages_are_taken_over(enter: Enter, new_place: NewPlace) -> None:
    store: Store = await enter(Store())
    mailer: SmtpServer = await enter(SmtpServer())
    during, short, after = [await enter(Hook(*LATE)) for _ in range(3)]
    hooks = {"during": during, "short": short, "after": after}
    place = await new_place(
        tenant("shop") + TEXT,
        smtp("before", mailer.port, timeout=60.0),
        *(webhook(name, far.url, timeout=60.0) for name, far in hooks.items()),
        store=store.url,
    )
    api = (await place.serve(only="api")).api
    worker, another = await place.serve(only="delivery"), await place.serve(only="delivery")
    another.pause()
    mailer.misdeed = "hangs_at_connect"
    await api.put("before-the-send", provider="before")
    await api.put("during-the-send", provider="during")
    await api.put("after-the-send", provider="after")
    await until(lambda: mailer.arrived.is_set() and during.arrived.is_set() and after.arrived.is_set())
    # Its deadline comes before the lease of a dead worker ends.
    await _stopped_at_once(worker, api, short, "short-of-time", ttl="4")
    # The far end took this one and says so now; nobody will read it.
    after.release.set()

    mailer.misdeed = ""
    another.resume()
    worker.kill()
    await api.put("after-the-death", provider="during", to="next@home.example")
    await until(lambda: during.of("next@home.example"))
    short_of_time = await api.settled("short-of-time", but=("sending",))
    await until(lambda: mailer.mails and len(during.posts) >= 3 and len(after.posts) >= 2)

    await _sent_twice_at_most(api, "before-the-send", "during-the-send", "after-the-send")
    assert (await api.check("before-the-send", code_of(mailer.mails[0]))).status == 200
    assert len({post.headers["webhook-id"] for post in during.of("during-the-send@home.example")}) == 1
    assert len(set(after.ids)) == 1
    assert short_of_time["message"]["state"] == "expired", "nothing is handed over after its deadline"
    assert short_of_time["message"]["uncertain"] == 1, "the far end may have it"
    assert len(short.posts) == 1


async def _sent_twice_at_most(api: Api, *ids: str) -> None:
    for id in ids:
        message = (await api.settled(id))["message"]
        assert (message["state"], message["uncertain"], message["tries"]) == ("sent", 1, 2), id


async def _stopped_at_once(worker: Service, api: Api, hook: Hook, id: str, *, ttl: str) -> None:
    """The worker is stopped as soon as the far end has this message, and will not wake again."""

    def stop(_post: Any) -> None:
        worker.pause()

    hook.on_post = stop
    await api.put(id, provider="short", ttl=ttl)
    await until(hook.arrived.is_set)
    hook.on_post = lambda _post: None


async def test_a_whole_service_killed_while_it_sends(enter: Enter, new_place: NewPlace) -> None:
    hook: Hook = await enter(Hook("answers_200_late"))
    place = await new_place(tenant("shop"), webhook("mail", hook.url, timeout=60.0))
    first = await place.serve()
    await first.api.put("in-one-process")
    await until(hook.arrived.is_set)
    first.kill()

    second = await place.serve()
    message = (await second.api.settled("in-one-process"))["message"]
    assert (message["state"], message["uncertain"]) == ("sent", 1)
    assert len(hook.posts) == 2
    assert len(set(hook.ids)) == 1
    code = hook.posts[1].json["data"]["code"]
    assert (await second.api.check("in-one-process", code)).status == 200
