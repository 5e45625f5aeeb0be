"""Webhooks: the two bodies, the signature, which answer ends how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

from otpsvc import __version__
from otpsvc.channels.poster import ANSWER_CAP, Poster, Signer
from otpsvc.channels.webhook import WebhookChannel, WebhookConfig
from otpsvc.errors import BadAddress, ConfigError, Refused, Unavailable, Uncertain
from tests.channels import ADDRESS, CODE, SECRET, TEXT, Authority, ignore, message
from tests.channels.cases import kept_open
from tests.far_ends.http_server import HttpServer, Misdeed
from tests.waiting import PATIENCE, until


@pytest.fixture
async def far() -> AsyncIterator[HttpServer]:
    async with HttpServer() as server:
        yield server


def config(far: HttpServer | None = None, **table: Any) -> WebhookConfig:
    url = far.url if far else "https://hook.example/otp"
    return msgspec.convert({"type": "webhook", "url": url} | table, WebhookConfig)


def channel(far: HttpServer, **table: Any) -> WebhookChannel:
    return WebhookChannel(config(far, **table), ignore)


async def test_a_message_arrives(far: HttpServer) -> None:
    async with WebhookChannel(config(far), ignore, now=lambda: 1_800_000_000.25) as hook:
        receipt = await hook.send(
            message(record={"id": "challenge-1", "purpose": "authentication", "extra": [1]})
        )

    post = far.posts[0]
    assert receipt.id == "far-1"
    assert post.json == {
        "type": "otp.send",
        "timestamp": "2027-01-15T08:00:00.250000Z",
        "data": {
            "id": message().id,
            "to": ADDRESS,
            "text": TEXT,
            "expires": 4_000_000_000,
            "namespace": "shop",
            "subject": "Your code",
            "html": f"<p>{TEXT}</p>",
            "code": CODE,
            "challenge": "challenge-1",
            "purpose": "authentication",
            "locale": "en",
            "extra": [1],
        },
    }
    assert post.headers["User-Agent"] == f"otpsvc/{__version__}"
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["webhook-id"] == message().id
    assert post.headers["webhook-timestamp"] == "1800000000"
    assert "webhook-signature" not in post.headers
    assert "Authorization" not in post.headers


async def test_a_raw_message_says_so(far: HttpServer) -> None:
    async with channel(far) as hook:
        await hook.send(message(record={}, code="", html="", subject=""))

    assert far.posts[0].json["type"] == "message.send"
    assert set(far.posts[0].json["data"]) == {"id", "to", "text", "expires", "namespace", "locale"}


@pytest.mark.parametrize("in_file", [False, True])
async def test_the_signature_verifies(far: HttpServer, in_file: bool, tmp_path: Path) -> None:
    """With the package that the far end would use; the text is not ASCII."""
    table = {"secret": SECRET}
    if in_file:
        (tmp_path / "secret").write_text(SECRET + "\n")
        table = {"secret_file": str(tmp_path / "secret")}
    async with channel(far, **table) as hook:
        await hook.send(message(text="验证码 739164"))

    post = far.posts[0]
    assert Webhook(SECRET).verify(post.body, dict(post.headers))["data"]["text"] == "验证码 739164"


async def test_text_that_is_not_unicode_is_refused(far: HttpServer) -> None:
    async with channel(far) as hook:
        with pytest.raises(Refused, match="not Unicode"):
            await hook.send(message(text="\ud800"))

    assert far.posts == []


async def test_a_retry_has_the_same_id(far: HttpServer) -> None:
    async with channel(far) as hook:
        for _ in range(2):
            await hook.send(message())

    assert [post.headers["webhook-id"] for post in far.posts] == [message().id] * 2


async def test_otpgateways_body_is_kept(far: HttpServer) -> None:
    """Fields and their order as its webhook provider posts them, the code in `otp`."""
    record = {
        "namespace": "shop",
        "id": "challenge-1",
        "to": ADDRESS,
        "channel_description": "",
        "address_description": "",
        "extra": {"a": 1},
        "provider": "hook",
        "otp": "",
        "max_attempts": 5,
        "attempts": 0,
        "closed": False,
        "ttl": 300,
    }
    async with channel(far, payload="otpgateway", username="u", password="p") as hook:
        await hook.send(message(record=record))

    post = far.posts[0]
    assert post.json == {"otp": {**record, "otp": CODE}, "subject": "Your code", "body": TEXT}
    assert list(post.json["otp"]) == list(record)
    assert post.headers["Authorization"] == "Basic dTpw"


async def test_otpgateways_body_of_a_raw_message(far: HttpServer) -> None:
    async with channel(far, payload="otpgateway") as hook:
        await hook.send(message(record={}, code=""))

    assert far.posts[0].json["otp"]["to"] == ADDRESS
    assert far.posts[0].json["otp"]["otp"] == ""


@pytest.mark.parametrize(
    ("misdeed", "outcome", "reason"),
    [
        ("answers_400", Refused, "HTTP 400"),
        ("answers_404", Refused, "HTTP 404"),
        ("answers_410", Refused, "HTTP 410"),
        ("answers_408", Unavailable, "HTTP 408"),
        ("answers_500", Unavailable, "HTTP 500"),
        ("redirects", Refused, "redirect refused"),
        ("closes_after_body", Uncertain, "no readable answer (ServerDisconnectedError)"),
        ("gibberish", Uncertain, "no readable answer (ClientResponseError)"),
    ],
)
async def test_each_answer_has_its_outcome(
    far: HttpServer, misdeed: Misdeed, outcome: type[Exception], reason: str
) -> None:
    far.misdeed = misdeed
    async with channel(far) as hook:
        with pytest.raises(outcome) as ended:
            await hook.send(message())

    assert type(ended.value) is outcome
    assert str(ended.value) == reason
    assert len(far.posts) == 1


@pytest.mark.parametrize(
    ("misdeed", "seconds"),
    [("answers_429", 7.0), ("answers_429_date", 60.0), ("answers_503_nonsense", None), ("answers_500", None)],
)
async def test_retry_after_is_passed_on(far: HttpServer, misdeed: Misdeed, seconds: float | None) -> None:
    far.misdeed = misdeed
    async with channel(far) as hook:
        with pytest.raises(Unavailable) as ended:
            await hook.send(message())

    assert ended.value.retry_after == seconds


@pytest.mark.parametrize(
    ("answer", "receipt"),
    [
        (b"", ""),
        (b"OK", ""),
        (b'{"id":"abc","more":[1]}', "abc"),
        (b'{"id":7}', ""),
        (b'{"id":"' + b"x" * 200 + b'"}', ""),
        (b'{"id":"a\\u001bb"}', ""),
        (b'{"id":"\xff"}', ""),
        (b'{"more":' + b"[" * 30_000, ""),
    ],
)
async def test_any_body_of_a_2xx_is_a_receipt(far: HttpServer, answer: bytes, receipt: str) -> None:
    far.misdeed, far.answer = "odd_answer", answer
    async with channel(far) as hook:
        assert (await hook.send(message())).id == receipt


async def test_a_big_answer_is_read_in_part(far: HttpServer) -> None:
    far.misdeed = "big_answer"
    async with Poster() as poster:
        answer = await poster.post(far.url, b"{}", message_id="a")

    assert len(answer) == ANSWER_CAP


async def test_a_trickling_answer_is_taken_all_the_same(far: HttpServer) -> None:
    """The status said yes: waiting for the rest until the time limit would be a false doubt."""
    far.misdeed = "trickles_answer"
    async with Poster(answer_wait=0.5) as poster, asyncio.timeout(PATIENCE):
        assert await poster.post(far.url, b"{}", message_id="a") == b'{"id": '


async def test_one_connection_carries_post_after_post(far: HttpServer) -> None:
    async with channel(far) as hook:
        for _ in range(5):
            await hook.send(message())

    assert far.connects == 1


async def test_a_kept_connection_that_was_closed_is_replaced(far: HttpServer) -> None:
    async with channel(far) as hook:
        await hook.send(message())
        far.drop_lines()
        await until(lambda: not kept_open(hook))
        await hook.send(message())

    assert (len(far.posts), far.connects) == (2, 2)


async def test_no_more_connections_than_allowed(far: HttpServer) -> None:
    async with channel(far, connections=3) as hook:
        await asyncio.gather(*(hook.send(message(id=f"id{number}")) for number in range(30)))

    assert (len(far.posts), far.connects) == (30, 3)


async def test_proxies_of_the_environment_are_not_used(
    far: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with channel(far) as hook:
        await hook.send(message())

    assert len(far.posts) == 1


async def test_cancelled_while_waiting_for_a_connection_leaves_no_doubt(far: HttpServer) -> None:
    far.misdeed = "hangs"
    async with channel(far, connections=1) as hook:
        first = asyncio.ensure_future(hook.send(message()))
        await far.arrived.wait()
        with pytest.raises(TimeoutError) as late:
            async with asyncio.timeout(0.05):
                await hook.send(message())
        far.release.set()
        await first

    assert late.value.__cause__ is not None
    assert isinstance(late.value.__cause__.__cause__, Unavailable)
    assert len(far.posts) == 1


async def test_ping_makes_no_request(far: HttpServer) -> None:
    async with channel(far) as hook:
        assert await hook.ping() == "ok"

    assert far.posts == []
    assert far.connects == 1


async def test_a_name_that_does_not_resolve_is_unavailable() -> None:
    async with WebhookChannel(config(url="https://nowhere.invalid/"), ignore) as hook:
        with pytest.raises(Unavailable, match="cannot connect"):
            await hook.send(message())


async def test_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    async with HttpServer(tls=Authority(tmp_path).server) as far, channel(far, insecure=True) as hook:
        with pytest.raises(Unavailable, match="ClientConnectorCertificateError"):
            await hook.send(message())
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            await hook.ping()

    assert far.posts == []


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"url": "http://hook.example/"}, "url: expected https://, or insecure"),
        ({"url": "ftp://hook.example/"}, "url: expected https://HOST"),
        ({"url": "hook.example"}, "url: expected https://HOST"),
        ({"url": "https://"}, "url: expected https://HOST"),
        ({"url": "https://hook.example:99999/"}, "url: expected https://HOST:PORT"),
        ({"url": "https://u:sesame@hook.example/"}, "url: expected no password"),
        ({"secret": "sesame"}, "secret: expected whsec_"),
        ({"secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ({"secret": SECRET, "secret_file": "f"}, "got both"),
        ({"username": "u"}, "username together with password"),
        ({"country": "ID"}, 'only with address = "phone"'),
        (
            {"address": "phone", "country": "id"},
            "country: expected two upper-case letters",
        ),
        ({"payload": "xml"}, r"`\$.payload`"),
        ({"connections": 0}, r"`\$.connections`"),
    ],
)
def test_a_config_that_cannot_work_is_refused(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=sentence) as refused:
        config(**table)

    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    "table",
    [
        {"url": "http://127.0.0.1:1/"},
        {"url": "http://[::1]/"},
        {"url": "http://hook.example/", "insecure": True},
    ],
)
def test_http_is_for_this_machine_or_by_hand(table: dict[str, Any]) -> None:
    assert config(**table).url == table["url"]


def test_the_kind_of_address_is_configured() -> None:
    assert WebhookChannel(config(), ignore).address.parse("anyone") == "anyone"
    phone = WebhookChannel(config(address="phone", country="ID"), ignore).address
    assert phone.parse("0812 3456 7890") == "+6281234567890"
    with pytest.raises(BadAddress):
        WebhookChannel(config(address="email"), ignore).address.parse("anyone")


@pytest.mark.parametrize("content", [None, "", "sesame"])
def test_a_secret_file_without_a_secret_is_a_config_error(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigError, match="secret_file") as refused:
        WebhookChannel(config(secret_file=str(path)), ignore)
    assert "sesame" not in str(refused.value)


def test_secrets_are_in_no_repr() -> None:
    url = "https://hook.example/planted?token=planted"
    settings = config(url=url, secret=SECRET, username="u", password="sesame")
    shown = f"{settings!r}{settings}{list(settings.__rich_repr__())}{Signer(SECRET)!r}"

    assert not [secret for secret in (SECRET, "sesame", "planted") if secret in shown]
