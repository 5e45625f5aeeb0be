"""A private Mosquitto on loopback that can be killed and paused, and comes back with what it kept."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from typing import Final

from tests.far_ends.broker_process import BrokerProcess, listens

PASSWORD: Final = "owl-91c2"
#: Who may do what: `otpsvc` all, `reader` reads all and publishes nothing but presence.
_ACL: Final = """
user otpsvc
topic readwrite #
user reader
topic read #
topic write smsgwpresence/#
"""


class MosquittoServer(BrokerProcess):
    """`settings`: further lines of its config file. What it took is kept over `stop`, not over `kill`."""

    def __init__(
        self, *settings: str, login: bool = True, names: tuple[str, ...] = ("localhost", "127.0.0.1")
    ) -> None:
        """`login`: users have the password `PASSWORD`; else a plugin of `settings` says who may what.

        `names`: of the certificate.
        """
        super().__init__()
        self._write_files(settings, login=login, names=names)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"mqtts://localhost:{self.tls_port}"

    def _write_files(self, settings: tuple[str, ...], *, login: bool, names: tuple[str, ...]) -> None:
        self.authority.cert_pem.write_to_path(self.ca_file)
        certificate = self.authority.issue_cert(*names)
        certificate.private_key_and_cert_chain_pem.write_to_path(self.folder / "server.pem")
        (self.folder / "users").write_text("".join(f"{user}:{hashed()}\n" for user in ("otpsvc", "reader")))
        (self.folder / "acl").write_text(_ACL)
        lines = [
            "user root",
            "persistence true",
            f"persistence_location {self.folder}/",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "max_queued_messages 0",
            *(_LOGIN if login else ()),
            *settings,
            f"listener {self.port} 127.0.0.1",
            f"listener {self.tls_port} 127.0.0.1",
            "certfile server.pem",
            "keyfile server.pem",
        ]
        (self.folder / "config").write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str]:
        program = shutil.which("mosquitto", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
        return [program or "mosquitto", "-c", str(self.folder / "config")]

    def _answers(self) -> bool:
        return listens(self.port) and listens(self.tls_port)


_LOGIN: Final = ("allow_anonymous false", "password_file users", "acl_file acl")


def hashed(password: str = PASSWORD) -> str:
    """As `mosquitto_passwd` writes it: PBKDF2 with SHA-512."""
    salt, rounds = os.urandom(12), 101
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
