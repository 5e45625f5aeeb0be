"""Where `otpsvc serve` listens: ports, sockets, certificates."""

from __future__ import annotations

import signal
import socket
import ssl
import stat
import sys
from pathlib import Path

import aiohttp
import pytest
import trustme

from tests.far_ends.valkey import free_port
from tests.flows.serving_rig import Served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


async def test_a_taken_port_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        served = Served(tmp_path)
        served.port = taken.getsockname()[1]
        served.write()
        served.begin()

        assert await served.ended() == 1
    where = f"127.0.0.1:{served.port} (taken by another program)"
    assert served.log() == f"Error: config: app.listen: expected an address that is free, got {where}\n"
    assert not (tmp_path / "data").exists()


async def test_several_doors(tmp_path: Path) -> None:
    path = tmp_path / "otp.sock"
    port = free_port()
    served = Served(tmp_path, "--listen", f"unix:{path}", "--listen", f"[::1]:{port}")
    async with served:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        for url, connector in (
            ("http://otp", aiohttp.UnixConnector(str(path))),
            (f"http://[::1]:{port}", None),
        ):
            async with (
                aiohttp.ClientSession(connector=connector) as http,
                http.get(f"{url}/api/health") as answer,
            ):
                assert answer.status == 200
    assert not path.exists()


async def test_a_socket_that_a_dead_process_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "otp.sock"
    served = Served(tmp_path, "--listen", f"unix:{path}")
    async with served:
        served.signal(signal.SIGKILL)
        await served.ended()
    assert path.exists()

    async with served:
        other = Served(tmp_path / "other", "--listen", f"unix:{path}").begin()
        assert await other.ended() == 1
        assert "taken by another program" in other.log()


async def test_tls_and_a_new_certificate_without_a_restart(tmp_path: Path) -> None:
    def certify() -> ssl.SSLContext:
        authority = trustme.CA()
        own = authority.issue_cert("127.0.0.1")
        own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    def put() -> None:
        both = (tmp_path / "both.pem").read_bytes()
        (tmp_path / "cert.pem").write_bytes(both)
        (tmp_path / "key.pem").write_bytes(both)

    async def answers(tls: ssl.SSLContext) -> bool:
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"https://127.0.0.1:{served.port}/api/health", ssl=tls) as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientConnectorCertificateError:
            return False

    first = certify()
    put()
    served = Served(tmp_path, app='[app.tls]\ncert = "cert.pem"\nkey = "key.pem"')
    async with served:
        assert await answers(first)
        second = certify()
        # A certificate whose key is another's: the old pair stays.
        (tmp_path / "cert.pem").write_bytes((tmp_path / "both.pem").read_bytes())
        served.signal(signal.SIGHUP)
        await served.until_said("the config was not reloaded, the old one stays")
        assert await answers(first)

        put()
        served.signal(signal.SIGHUP)
        await served.until_said("reloaded")
        assert not await answers(first)
        assert await answers(second)
