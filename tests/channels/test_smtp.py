"""Mail over SMTP: what goes out, which answer ends how, and the lines that are kept."""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otpsvc.channels.smtp import SmtpChannel, SmtpConfig, read_sender
from otpsvc.channels.smtp_pool import _on_the_wire
from otpsvc.errors import ConfigError, Refused, Unavailable, Uncertain
from tests.channels import ADDRESS, TEXT, Authority, ignore, message
from tests.far_ends.smtp_server import Misdeed, SmtpServer
from tests.waiting import until


@pytest.fixture
async def far() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


def config(far: SmtpServer | None = None, **table: Any) -> SmtpConfig:
    base: dict[str, Any] = {"type": "smtp", "host": "127.0.0.1", "sender": "Shop <otp@shop.example>"}
    if far is not None:
        base |= {"port": far.port, "tls": "none"}
    return msgspec.convert(base | table, SmtpConfig)


def channel(far: SmtpServer, **table: Any) -> SmtpChannel:
    return SmtpChannel(config(far, **table), ignore, now=lambda: 1_800_000_000.0)


async def test_a_mail_arrives_with_text_and_html(far: SmtpServer) -> None:
    async with channel(far) as smtp:
        receipt = await smtp.send(message())

    mail = far.mails[0]
    assert receipt.id == "4XyZ12abc"
    assert (mail.sender, mail.to) == ("otp@shop.example", [ADDRESS])
    assert mail.parsed["From"] == "Shop <otp@shop.example>"
    assert mail.parsed["To"] == ADDRESS
    assert mail.parsed["Subject"] == "Your code"
    assert mail.parsed["Date"] == "Fri, 15 Jan 2027 08:00:00 -0000"
    assert mail.parsed["Message-ID"] == f"<{message().id}@shop.example>"
    assert mail.parsed["Auto-Submitted"] == "auto-generated"
    assert mail.parsed["Content-Language"] == "en"
    parts = [part.get_content() for part in mail.parsed.iter_parts()]
    assert [part.strip() for part in parts] == [TEXT, f"<p>{TEXT}</p>"]


async def test_without_html_the_mail_is_plain_text(far: SmtpServer) -> None:
    async with channel(far) as smtp:
        await smtp.send(message(html="", locale=""))

    assert far.mails[0].parsed.get_content_type() == "text/plain"
    assert "Content-Language" not in far.mails[0].parsed


async def test_other_scripts_arrive_whole_in_seven_bits(far: SmtpServer) -> None:
    text = "Ihr Code: 739164 für „Café“ 验证码 🔑\n"
    async with channel(far, sender='"Café, Köln" <otp@shop.example>') as smtp:
        await smtp.send(message(text=text, html="", subject="验证码 739164"))

    mail = far.mails[0]
    assert mail.raw.isascii()
    assert mail.parsed.get_content().splitlines() == text.splitlines()
    assert mail.parsed["Subject"] == "验证码 739164"
    assert mail.parsed["From"].addresses[0].display_name == "Café, Köln"


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
async def test_text_cannot_end_the_mail_early(far: SmtpServer, end: str) -> None:
    """A lone dot, with any line end, stays text; nothing after it is a command."""
    text = end.join(["first", ".", "MAIL FROM:<mallory@evil.example>", "..", "last"])
    async with channel(far) as smtp:
        await smtp.send(message(text=text, html=""))

    assert len(far.mails) == 1
    assert far.mails[0].parsed.get_content().split() == text.split()


@pytest.mark.parametrize("subject", ["a\r\nBcc: mallory@evil.example", "a\nb", "a\rb"])
async def test_a_line_break_in_the_subject_is_refused(far: SmtpServer, subject: str) -> None:
    async with channel(far) as smtp:
        with pytest.raises(Refused, match="line break in the subject"):
            await smtp.send(message(subject=subject))

    assert far.connects == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"to": "alice@example.com>\r\nRCPT TO:<mallory@evil.example"},
        {"to": "alice@example.com> SIZE=1"},
        {"to": "älice@example.com"},
        {"to": "nobody"},
        {"text": "\ud800"},
        {"id": "a\r\nBcc: mallory@evil.example"},
    ],
)
async def test_what_cannot_be_written_as_mail_is_refused(far: SmtpServer, broken: dict[str, str]) -> None:
    async with channel(far) as smtp:
        with pytest.raises(Refused, match="cannot be written"):
            await smtp.send(message(**broken))

    assert far.mails == []


@pytest.mark.parametrize(
    ("misdeed", "outcome", "reason"),
    [
        ("answers_550", Refused, "550 5.1.1 at RCPT"),
        ("answers_451", Unavailable, "451 4.7.1 at RCPT"),
        ("answers_503", Unavailable, "503 5.5.1 at RCPT"),
        ("answers_550_after_data", Refused, "550 5.7.1 at DATA"),
        ("answers_451_after_data", Unavailable, "451 4.3.0 at DATA"),
        ("drops_at_connect", Unavailable, "cannot connect"),
        ("gibberish", Unavailable, "unreadable answer at connect"),
        ("drops_at_rcpt", Unavailable, "connection lost"),
        ("drops_after_data", Uncertain, "no readable answer to DATA"),
        ("gibberish_after_data", Uncertain, "no readable answer to DATA"),
    ],
)
async def test_each_answer_has_its_outcome(
    far: SmtpServer, misdeed: Misdeed, outcome: type[Exception], reason: str
) -> None:
    """The reason holds codes and steps alone: the server's text repeats the address."""
    far.misdeed = misdeed
    async with channel(far) as smtp:
        with pytest.raises(outcome) as ended:
            await smtp.send(message())

    assert type(ended.value) is outcome
    assert str(ended.value) == reason


async def test_one_line_carries_mail_after_mail(far: SmtpServer) -> None:
    async with channel(far) as smtp:
        for number in range(5):
            await smtp.send(message(id=f"id{number}"))

    assert len(far.mails) == 5
    assert (far.connects, far.quits) == (1, 1)


async def test_a_refused_mail_keeps_the_line(far: SmtpServer) -> None:
    async with channel(far) as smtp:
        for misdeed in ("answers_550", "answers_451", "answers_550_after_data"):
            far.misdeed = misdeed
            with pytest.raises((Refused, Unavailable)):
                await smtp.send(message())
        far.misdeed = ""
        await smtp.send(message())

    assert far.connects == 1
    assert far.mails[-1].to == [ADDRESS]


async def test_no_more_lines_than_allowed(far: SmtpServer) -> None:
    async with channel(far, connections=3) as smtp:
        await asyncio.gather(*(smtp.send(message(id=f"id{number}")) for number in range(20)))

    assert len(far.mails) == 20
    assert far.connects == 3


@pytest.mark.parametrize("misdeed", ["says_421_when_kept", "drops_when_kept"])
async def test_a_kept_line_that_died_is_replaced_silently(far: SmtpServer, misdeed: Misdeed) -> None:
    async with channel(far) as smtp:
        await smtp.send(message())
        far.misdeed = misdeed
        await smtp.send(message())

    assert len(far.mails) == 2
    assert far.connects == 2


async def test_lines_that_the_server_cut_while_idle_are_replaced(far: SmtpServer) -> None:
    async with channel(far) as smtp:
        await asyncio.gather(*(smtp.send(message()) for _ in range(4)))
        far.drop_lines()
        await smtp.send(message())
        assert await smtp.ping() == "ok"

    assert len(far.mails) == 5


async def test_a_line_that_cannot_be_reset_is_replaced(far: SmtpServer) -> None:
    async with channel(far) as smtp:
        far.misdeed = "answers_550"
        with pytest.raises(Refused):
            await smtp.send(message())
        far.misdeed = "refuses_rset"
        await smtp.send(message())

    assert far.connects == 2


async def test_an_idle_line_is_closed_politely(far: SmtpServer) -> None:
    async with channel(far, idle=0.02) as smtp:
        await smtp.send(message())
        await far.empty.wait()
        await smtp.send(message())

    assert far.quits == 2
    assert far.connects == 2


async def test_a_mail_under_way_while_closing_still_passes(far: SmtpServer) -> None:
    far.misdeed = "slow"
    async with channel(far) as smtp:
        sending = asyncio.ensure_future(smtp.send(message()))
        await far.arrived.wait()
    far.release.set()

    assert (await sending).id
    await far.empty.wait()


async def test_a_late_answer_never_meets_the_next_mail(far: SmtpServer) -> None:
    """The trap that was measured: a cancelled send left the line out of step, and the next was refused."""
    async with channel(far, connections=1) as smtp:
        far.misdeed = "slow"
        sending = asyncio.ensure_future(smtp.send(message()))
        await far.arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        far.misdeed = ""
        far.release.set()
        for number in range(3):
            await smtp.send(message(id=f"next{number}"))

    ids = [mail.parsed["Message-ID"] for mail in far.mails]
    assert ids == [f"<next{number}@shop.example>" for number in range(3)]


async def test_a_line_lost_before_the_mail_leaves_no_doubt_after_others(far: SmtpServer) -> None:
    """What an earlier mail of the line went through says nothing about this one."""
    async with channel(far) as smtp:
        await smtp.send(message())
        far.misdeed = "drops_at_rcpt"
        with pytest.raises(Unavailable, match="connection lost"):
            await smtp.send(message())


async def test_what_was_not_written_when_it_was_cancelled_never_goes_out(far: SmtpServer) -> None:
    """The deadline has passed: a transport that flushes before it closes would send it late."""
    far.misdeed = "stops_reading"
    async with channel(far) as smtp:
        sending = asyncio.ensure_future(smtp.send(message(text="long line\n" * 1_000_000, html="")))
        await far.arrived.wait()
        # Until the 354 is read and the mail fills the buffers.
        await until(lambda: unread(far))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await sending
        assert isinstance(cancelled.value.__cause__, Uncertain)
        far.release.set()
        await far.empty.wait()

    assert far.rest
    assert not far.rest.endswith(b"\r\n.\r\n")


def unread(far: SmtpServer) -> int:
    """Octets that the system holds for the server on its only line."""
    [line] = far._lines
    count = array.array("i", [0])
    fcntl.ioctl(line.get_extra_info("socket").fileno(), termios.FIONREAD, count)
    return count[0]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_line_ends_are_made_crlf_and_dots_are_stuffed(end: bytes) -> None:
    """Servers differ on what a bare LF ends; the smuggling of mail lives on that."""
    assert _on_the_wire(end.join([b"a", b".", b".b", b""])) == b"a\r\n..\r\n..b\r\n.\r\n"


async def test_cancelled_while_connecting_leaves_no_line(far: SmtpServer) -> None:
    far.misdeed = "hangs_at_connect"
    async with channel(far) as smtp:
        sending = asyncio.ensure_future(smtp.send(message()))
        await far.arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await sending
        assert isinstance(cancelled.value.__cause__, Unavailable)
        await far.empty.wait()


async def test_starttls_is_never_left_out(far: SmtpServer) -> None:
    """A server (or a man in between) that offers none gets neither mail nor password."""
    settings = config(far, tls="starttls", username="otp", password="sesame")
    async with SmtpChannel(settings, ignore) as smtp:
        with pytest.raises(Unavailable, match="no STARTTLS"):
            await smtp.send(message())

    assert far.mails == []


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_an_unknown_authority_is_not_trusted(tls: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    far = SmtpServer(starttls=authority.server) if tls == "starttls" else SmtpServer(tls=authority.server)
    async with far, SmtpChannel(config(port=far.port, tls=tls), ignore) as smtp:
        with pytest.raises(Unavailable, match="TLS failed"):
            await smtp.send(message())

    assert far.mails == []


async def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with SmtpServer(tls=authority.server) as far:
        far_too = await asyncio.get_running_loop().create_server(
            far._protocol, "127.0.0.2", 0, ssl=authority.server
        )
        port = far_too.sockets[0].getsockname()[1]
        settings = config(host="127.0.0.2", port=port, tls="tls", ca_file=authority.ca_file)
        async with far_too, SmtpChannel(settings, ignore) as smtp:
            with pytest.raises(Unavailable, match="TLS failed"):
                await smtp.send(message())


async def test_a_login_is_made_once_a_line(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "password").write_text("sesame\n")
    async with SmtpServer(starttls=authority.server, login=("otp", "sesame")) as far:
        settings = config(
            port=far.port,
            ca_file=authority.ca_file,
            username="otp",
            password_file=str(tmp_path / "password"),
        )
        async with SmtpChannel(settings, ignore) as smtp:
            for _ in range(3):
                await smtp.send(message())

    assert (far.logins, len(far.mails)) == (1, 3)


async def test_a_password_stays_on_this_machine_without_tls() -> None:
    far = SmtpServer(login=("otp", "sesame"))
    login = {"username": "otp", "password": "sesame"}
    async with far, SmtpChannel(config(far, **login, port=far.port), ignore) as smtp:
        await smtp.send(message())

    assert (far.logins, len(far.mails)) == (1, 1)


async def test_a_rejected_login_is_unavailable(tmp_path: Path) -> None:
    """It is the operator's fault, not the message's."""
    authority = Authority(tmp_path)
    async with SmtpServer(starttls=authority.server, login=("otp", "sesame")) as far:
        far.misdeed = "rejects_auth"
        settings = config(port=far.port, ca_file=authority.ca_file, username="otp", password="sesame")
        async with SmtpChannel(settings, ignore) as smtp:
            with pytest.raises(Unavailable, match=r"^authentication failed$"):
                await smtp.send(message())


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"tls": "none", "host": "mail.example", "username": "u", "password": "p"}, "tls: expected"),
        ({"username": "u"}, "username together with"),
        ({"password": "p"}, "username together with"),
        ({"username": "u", "password": "p", "password_file": "f"}, "got both"),
        ({"sender": "Shop"}, "sender: expected"),
        ({"sender": "Shop <otp@shop.example>\r\nBcc: x@y.example"}, "sender: expected"),
        ({"sender": "Shop\n <otp@shop.example>"}, "sender: expected"),
        ({"host": ""}, "host: expected"),
        ({"host": "a b"}, "host: expected"),
        ({"hello": "a\r\nMAIL"}, "hello: expected"),
        ({"tls": "maybe"}, r"Invalid enum value 'maybe' - at `\$.tls`"),
        ({"port": 0}, r"`\$.port`"),
        ({"connections": 0}, r"`\$.connections`"),
        ({"idle": 0}, r"`\$.idle`"),
    ],
)
def test_a_config_that_cannot_work_is_refused(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=sentence):
        config(**table)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_a_password_may_stay_on_this_machine_without_tls(host: str) -> None:
    assert config(host=host, tls="none", username="u", password="p").host == host


@pytest.mark.parametrize(
    ("sender", "read"),
    [
        ("otp@shop.example", ("", "otp@shop.example")),
        ("Shop <otp@Shop.Example>", ("Shop", "otp@shop.example")),
        ("<otp@shop.example>", ("", "otp@shop.example")),
        ('"A, B" <otp@shop.example>', ("A, B", "otp@shop.example")),
    ],
)
def test_senders_are_read(sender: str, read: tuple[str, str]) -> None:
    assert read_sender(sender) == read


@pytest.mark.parametrize("key", ["password_file", "ca_file"])
def test_a_missing_file_is_a_config_error(key: str, tmp_path: Path) -> None:
    table: dict[str, Any] = {"username": "u", key: str(tmp_path / "none")}
    if key == "ca_file":
        table["password"] = "p"

    with pytest.raises(ConfigError, match=f"{key}: expected a readable"):
        SmtpChannel(config(**table), ignore)


def test_the_password_is_in_no_repr() -> None:
    settings = config(username="u", password="sesame")

    assert "sesame" not in f"{settings!r}{settings}{list(settings.__rich_repr__())}"
