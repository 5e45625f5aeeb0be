"""What the tests of several channels share."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import trustme
from msgspec import structs

from otpsvc.message import Delivery, Message

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # a public example
ADDRESS = "planted.alice@example.com"
CODE = "739164"
TEXT = f"{CODE} is your code of the planted shop"

_MESSAGE = Message(
    id="0123456789abcdef0123456789abcdef",
    to=ADDRESS,
    text=TEXT,
    expires=4_000_000_000.75,
    subject="Your code",
    html=f"<p>{TEXT}</p>",
    code=CODE,
    tenant="shop",
    locale="en",
    record={"namespace": "shop", "id": "challenge-1", "to": ADDRESS, "otp": "", "ttl": 300},
)


def message(**other: Any) -> Message:
    """One message of tenant `shop`; arguments take the place of its fields."""
    return structs.replace(_MESSAGE, **other)


def ignore(news: Delivery) -> None:
    """A report that nobody reads."""


class Authority:
    """Certificates for 127.0.0.1, and the file to trust them by."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        ca.cert_pem.write_to_path(self.ca_file)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("127.0.0.1", "localhost").configure_cert(self.server)
