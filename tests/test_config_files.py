"""The files that a config names: secrets, templates, certificates; read when it is loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from otpsvc.channel import ChannelConfig
from otpsvc.config import problems
from otpsvc.errors import ConfigError
from tests.config_place import MAIL, PLANTED, SHOP, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# Files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a file with the secret on its first line, got an empty line"),
        ("\nsecret-in-line-2", "expected a file with the secret on its first line, got an empty line"),
        ("short", "expected a secret of at least 8 characters, got a string of 5 characters"),
        (b"\xff" * 20, "expected a file of UTF-8 text, got a string of 6 characters"),
        ("x" * 70_000, "expected a file of at most 65536 bytes, got a string of 6 characters"),
    ],
)
def test_secret_files_that_are_refused(place: Place, content: str | bytes, message: str) -> None:
    place.file("secret", content)

    assert place.wrong('[tenants.shop]\nsecret_file = "secret"') == [
        f"FILE: tenants.shop.secret_file: {message}"
    ]


def test_a_pipe_or_folder_is_no_file(place: Place) -> None:
    """Opening a pipe would hold the start up for ever."""
    os.mkfifo(place.folder / "pipe")

    for path in ("pipe", ".", "/dev/null", "a\\u0000b"):
        found = place.wrong(f'[tenants.shop]\nsecret_file = "{path}"')
        assert len(found) == 1
        assert found[0].startswith("FILE: tenants.shop.secret_file: expected a")


def test_a_secret_file_that_others_can_read_is_warned_of(place: Place) -> None:
    text = SHOP + 'secret_file = "secret"\n' + MAIL + 'password_file = "secret"\n'
    for mode, count in ((0o600, 0), (0o640, 2), (0o604, 2)):
        place.file("secret", PLANTED, mode)
        warnings = place.load(text).warnings
        assert len(warnings) == count, oct(mode)
        assert all("others than its owner" in warning for warning in warnings)

    # A hash is of no use to who reads it.
    place.file("secret", "otpsvc1$x", 0o644)
    assert place.load(SHOP + 'secret_file = "secret"\n' + MAIL).warnings == ()


def write_certificate(place: Place, name: str, *, password: bytes = b"") -> None:
    certificate = trustme.CA().issue_cert("localhost")
    place.file(f"{name}.pem", b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key = certificate.private_key_pem.bytes()
    if password:
        key = serialization.load_pem_private_key(key, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
    place.file(f"{name}.key", key)


def test_a_certificate_and_its_key(place: Place) -> None:
    write_certificate(place, "own")

    tls = place.load(SHOP + '[app.tls]\ncert = "own.pem"\nkey = "own.key"').app.tls

    assert tls
    assert (tls.cert, tls.key) == (place.folder / "own.pem", place.folder / "own.key")


@pytest.mark.parametrize(
    ("cert", "key"), [("own.pem", "other.key"), ("own.key", "own.pem"), ("locked.pem", "locked.key")]
)
def test_a_key_of_another_certificate_is_seen_at_load(place: Place, cert: str, key: str) -> None:
    write_certificate(place, "own")
    write_certificate(place, "other")
    write_certificate(place, "locked", password=b"x")

    assert place.wrong(f'[app.tls]\ncert = "{cert}"\nkey = "{key}"') == [
        "FILE: app.tls: expected a certificate chain and its key, in PEM and without passphrase, got others"
    ]


def test_templates_are_checked_where_they_stand(place: Place) -> None:
    def check(text: str) -> None:
        if "{%" in text:
            raise ValueError("loops are not allowed in line 1")

    place.file("mail.html", "{% for")
    text = SHOP + '[tenants.shop.templates]\ntext = "{%"\nsms = "fine"\nhtml_file = "mail.html"\n'
    text += MAIL + 'subject = "{%"\n'

    assert place.wrong(text, check_template=check) == [
        "FILE: channels.mail.subject: expected a template (loops are not allowed in line 1)",
        "FILE: tenants.shop.templates.text: expected a template (loops are not allowed in line 1)",
        "FILE: tenants.shop.templates.html_file: expected a template (loops are not allowed in line 1)",
    ]


def test_a_subject_is_one_line(place: Place) -> None:
    place.file("subject.txt", "Your code\r\n")
    file = SHOP + '[tenants.shop.templates]\nsubject_file = "subject.txt"\n'
    two = MAIL + 'subject = "a\\nBcc: mallory@example.com"\n'

    assert place.load(file).tenants["shop"].templates.subject == "Your code"
    assert place.wrong(two) == ["FILE: channels.mail.subject: expected a template of one line"]


def test_what_a_channel_itself_refuses_is_named_by_its_key(place: Place) -> None:
    def check(config: ChannelConfig) -> None:
        key = {"mx.example": "host", "b": "password", "c": "the line"}[getattr(config, "host", "")]
        raise ConfigError("", key, "another one", PLANTED)

    two = MAIL.replace("mx.example", "b").replace("mail]", "b]")
    three = MAIL.replace("mx.example", "c").replace("mail]", "c]")

    assert place.wrong(MAIL + two + three, check_channel=check) == [
        f"FILE: channels.mail.host: expected another one, got {PLANTED}",
        "FILE: channels.b.password: expected another one",
        f"FILE: channels.c: expected another one, got {PLANTED}",
    ]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConfigError("", "type", "one of mail", "'fax'"), "expected one of mail, got 'fax'"),
        (ImportError("No module named 'serial'"),
         "expected a type whose packages are installed, got fax (No module named 'serial')"),
    ],
)  # fmt: skip
def test_a_channel_type_that_cannot_be_had(place: Place, error: Exception, message: str) -> None:
    def types(name: str) -> type[ChannelConfig]:
        raise error

    place.file("otpsvc.toml", '[channels.out]\ntype = "fax"\nanything = 1\n')

    (found,) = problems(place.path, channel_types=types, environ={})
    assert str(found) == f"{place.path}: channels.out.type: {message}"
