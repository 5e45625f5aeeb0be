"""Two nodes at one store, and a key that only one of them has."""

from __future__ import annotations

import shutil
from pathlib import Path

from otpsvc import keyring_file
from tests.drills.conftest import Enter, NewPlace, Store
from tests.drills.ends import Hook
from tests.drills.place import tenant, webhook
from tests.waiting import until


async def test_a_key_rotated_on_one_node_only(enter: Enter, new_place: NewPlace) -> None:
    store: Store = await enter(Store())
    hook: Hook = await enter(Hook())
    place = await new_place(tenant("shop"), webhook("mail", hook.url), store=store.url)
    old_ring = _copy(place.keyring_path, "old.toml")
    keyring_file.activate(place.keyring_path, keyring_file.add(place.keyring_path).id)
    new = (await place.serve()).api
    # Without delivery, so that it never gets a message that it cannot read.
    old = (await place.serve(only="api", keyring=str(old_ring))).api

    made_old = (await old.put("by-the-old", otp="135790")).record
    made_new = (await new.put("by-the-new", otp="135790")).record
    await until(lambda: len(hook.posts) == 2)

    for _ in range(6):
        answer = await old.check("by-the-new", "135790")
        assert (answer.status, answer.code) == (503, "key_not_offered")
        assert answer.headers["Retry-After"] == "1"
    assert (await old.read("by-the-new")).code == "key_not_offered"
    assert (await old.resend("by-the-new")).code == "key_not_offered"
    record = (await new.read("by-the-new")).record
    assert (record["attempts"], record["generate"], record["gen"]) == (0, 1, made_new["gen"])

    assert (await new.check("by-the-new", "246801")).record["attempts"] == 1
    assert (await new.check("by-the-new", "135790")).record["attempts"] == 2
    assert (await new.check("by-the-old", "135790")).record["gen"] == made_old["gen"]


async def test_a_node_that_has_the_new_key_and_uses_the_old_one_takes_both(
    enter: Enter, new_place: NewPlace
) -> None:
    store: Store = await enter(Store())
    hook: Hook = await enter(Hook())
    place = await new_place(tenant("shop"), webhook("mail", hook.url), store=store.url)
    added = keyring_file.add(place.keyring_path)
    accepts = _copy(place.keyring_path, "accepts.toml")
    keyring_file.activate(place.keyring_path, added.id)
    active = (await place.serve()).api
    accepting = (await place.serve(keyring=str(accepts))).api

    await active.put("by-the-new")
    await accepting.put("by-the-old")
    await until(lambda: len(hook.posts) == 2)
    codes = {post.json["data"]["to"]: post.json["data"]["code"] for post in hook.posts}
    assert (await accepting.check("by-the-new", codes["by-the-new@home.example"])).status == 200
    assert (await active.check("by-the-old", codes["by-the-old@home.example"])).status == 200


def _copy(path: Path, name: str) -> Path:
    copy = path.with_name(name)
    shutil.copy2(path, copy)
    return copy
