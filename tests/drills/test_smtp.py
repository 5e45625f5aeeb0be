"""A mail server that misbehaves, and what the tenant's server sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.drills.ends import Hook, code_of
from tests.drills.place import Place, Service, smtp, table, tenant, webhook
from tests.far_ends.smtp_server import Misdeed, SmtpServer
from tests.waiting import until

_TEMPLATE = table("tenants.shop.templates", text="CODE {{ code }} .")


@pytest.fixture(scope="module")
async def mailer() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as far:
        yield far


@pytest.fixture(scope="module")
async def bank_mailer() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as far:
        yield far


@pytest.fixture(scope="module")
async def hook() -> AsyncIterator[Hook]:
    async with Hook() as far:
        yield far


@pytest.fixture(scope="module")
async def running(mailer: SmtpServer, bank_mailer: SmtpServer, hook: Hook) -> AsyncIterator[Service]:
    config = (
        tenant("shop") + _TEMPLATE + tenant("bank", guards=True),
        smtp("mail", mailer.port, timeout=60.0),
        # For what is about its time limit: long enough for a mail that nothing holds up.
        smtp("hasty", mailer.port, timeout=3.0),
        smtp("patient", mailer.port, timeout=120.0, concurrency=4),
        smtp("bankmail", bank_mailer.port),
        webhook("hook", hook.url),
    )
    async with Place(*config) as place:
        yield await place.serve()


@pytest.fixture
def service(running: Service, mailer: SmtpServer) -> Service:
    mailer.misdeed = ""
    mailer.once = False
    mailer.mails.clear()
    mailer.arrived.clear()
    mailer.release.clear()
    return running


@pytest.mark.parametrize("misdeed", ["answers_451", "answers_451_after_data", "drops_at_rcpt"])
async def test_not_now_and_then_taken(service: Service, mailer: SmtpServer, misdeed: Misdeed) -> None:
    api, id = service.api, f"later-{misdeed}"
    mailer.misdeed = misdeed
    assert (await api.put(id)).record["message"]["state"] in ("queued", "sending")
    waiting = await api.found(id, lambda record: record["message"]["reason"])
    assert waiting["message"]["state"] in ("queued", "sending")
    assert "@" not in waiting["message"]["reason"]

    mailer.misdeed = ""
    message = (await api.settled(id))["message"]
    assert message["state"] == "sent"
    assert message["uncertain"] == 0
    assert message["tries"] >= 2
    [mail] = mailer.mails
    assert mail.to == [f"{id}@home.example"]
    assert (await api.check(id, code_of(mail))).status == 200


@pytest.mark.parametrize("misdeed", ["answers_550", "answers_550_after_data"])
async def test_never_fails_at_once_and_starts_no_wait(
    service: Service, mailer: SmtpServer, misdeed: Misdeed
) -> None:
    api, id = service.api, f"never-{misdeed}"
    mailer.misdeed = misdeed
    await api.put(id, tenant="bank", provider="mail")
    record = await api.settled(id, tenant="bank", but=("queued", "sending"))
    assert record["state"] == "failed"
    assert record["message"]["state"] == "failed"
    assert record["message"]["tries"] == 1
    assert "550" in record["message"]["reason"]
    assert "@" not in record["message"]["reason"]

    mailer.misdeed = ""
    again = await api.put(id, tenant="bank", provider="mail")
    assert again.status == 200, "a failed send starts no wait"
    assert (await api.settled(id, tenant="bank"))["message"]["state"] == "sent"
    assert len(mailer.mails) == 1


@pytest.mark.parametrize("misdeed", ["drops_after_data", "hangs_after_data", "gibberish_after_data"])
async def test_a_doubt_is_sent_once_more_under_its_id_and_flagged(
    service: Service, mailer: SmtpServer, misdeed: Misdeed
) -> None:
    api, id = service.api, f"doubt-{misdeed}"
    mailer.misdeed, mailer.once = misdeed, True
    await api.put(id, provider="hasty" if misdeed == "hangs_after_data" else "mail")
    message = (await api.settled(id))["message"]

    assert message["state"] == "sent"
    assert message["uncertain"] == 1
    first, second = mailer.mails
    assert first.parsed["Message-ID"] == second.parsed["Message-ID"]
    assert code_of(first) == code_of(second)
    assert (await api.check(id, code_of(second))).status == 200


async def test_doubt_after_doubt_ends_as_sent_with_both_counted(service: Service, mailer: SmtpServer) -> None:
    api = service.api
    mailer.misdeed = "drops_after_data"
    await api.put("doubtful")
    message = (await api.settled("doubtful"))["message"]

    assert message["state"] == "sent"
    assert message["uncertain"] == 2
    assert len({mail.parsed["Message-ID"] for mail in mailer.mails}) == 1
    assert len(mailer.mails) == 2


@pytest.mark.parametrize("misdeed", ["slow", "hangs_at_connect"])
async def test_a_time_limit_before_the_mail_was_written_is_no_doubt(
    service: Service, mailer: SmtpServer, misdeed: Misdeed
) -> None:
    api, id = service.api, f"limit-{misdeed}"
    mailer.misdeed = misdeed
    # A kept line would pass the greeting.
    mailer.drop_lines()
    await api.put(id, provider="hasty")
    await until(mailer.arrived.is_set)
    waiting = await api.found(id, lambda record: record["message"]["reason"])
    assert waiting["message"]["state"] in ("queued", "sending")
    assert waiting["message"]["uncertain"] == 0

    mailer.misdeed = ""
    assert (await api.settled(id))["message"]["state"] == "sent"
    assert len(mailer.mails) == 1


async def test_a_mail_server_that_hangs_delays_nobody_else(
    service: Service, mailer: SmtpServer, bank_mailer: SmtpServer, hook: Hook
) -> None:
    api = service.api
    mailer.misdeed = "hangs_at_connect"
    mailer.drop_lines()
    await asyncio.gather(*(api.put(f"stuck-{n}", provider="patient") for n in range(40)))
    states = [(await api.read(f"stuck-{n}")).record["message"]["state"] for n in range(40)]
    assert sorted(set(states)) == ["queued", "sending"], "more than fit on their way"

    for n in range(5):
        await asyncio.gather(
            api.put(f"quick-{n}", provider="hook"),
            api.put(f"quick-{n}", provider="hook", tenant="bank", to=f"b{n}@home.example"),
            api.put(f"mail-{n}", provider="bankmail", tenant="bank", to=f"c{n}@home.example"),
        )
        wanted = (f"quick-{n}@home.example", f"b{n}@home.example")
        await until(lambda: all(map(hook.of, wanted)) and len(bank_mailer.mails) > n)  # noqa: B023
    still = {(await api.read(f"stuck-{n}")).record["message"]["state"] for n in range(40)}
    assert still == {"queued", "sending"}, "they still hang, and longer than anything here waits"
    for n in range(40):
        await api.ask("DELETE", f"/api/otp/stuck-{n}")
