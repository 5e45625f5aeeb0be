"""A private RabbitMQ on free ports of loopback that can be killed, come back, and run out of disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Final, Self

from tests.far_ends.broker_process import BrokerProcess, listens
from tests.far_ends.rabbitmq_files import PASSWORD, definitions, settings, surroundings
from tests.far_ends.rabbitmq_wire import Wire
from tests.far_ends.valkey import free_port

__all__ = ["PASSWORD", "RabbitServer", "Wire"]

#: Debian's program in /usr/sbin changes the user; the one behind it runs as whoever started it.
_BEHIND: Final = Path("/usr/lib/rabbitmq/bin")


class RabbitServer(BrokerProcess):
    """Users: `otpsvc` may do everything, `mallory` nothing, `reader` may only read what is there.

    `tls_port` shows a certificate of `authority` for localhost, not for 127.0.0.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self._dist_port, self._epmd_port = free_port(), free_port()
        self._node = f"otpsvc{self.port}@localhost"
        self._epmd: subprocess.Popen[bytes] | None = None
        self._write_files()

    @property
    def url(self) -> str:
        return self.url_of("otpsvc")

    def url_of(self, user: str, *, password: str = PASSWORD, vhost: str = "", port: int = 0) -> str:
        return f"amqp://{user}:{password}@127.0.0.1:{port or self.port}/{vhost}"

    @property
    def tls_url(self) -> str:
        return f"amqps://otpsvc:{PASSWORD}@localhost:{self.tls_port}/"

    def __enter__(self) -> Self:
        epmd = shutil.which("epmd") or "epmd"
        self._epmd = self._spawn([epmd, "-address", "127.0.0.1", "-port", str(self._epmd_port)])
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
        super().__exit__()

    def _command(self) -> list[str]:
        return [_program("rabbitmq-server")]

    def _answers(self) -> bool:
        """It answers a wrong protocol header with its own (AMQP 0-9-1, 4.2.2), once it is up."""
        try:
            with closing(socket.create_connection(("127.0.0.1", self.port), 5)) as line:
                line.sendall(b"AMQP\0\0\0\0")
                return line.recv(4) == b"AMQP" and listens(self.tls_port)
        except OSError:
            return False

    # What is asked of it past everything that is tested

    def ctl(self, *command: str) -> str:
        """`rabbitmqctl`; takes a second or two."""
        line = [_program("rabbitmqctl"), "--quiet", *command]
        done = subprocess.run(
            line, env=self._environ(), capture_output=True, text=True, check=False, timeout=180
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def evaluate(self, expression: str) -> str:
        """An Erlang expression (no full stop) in the broker; its value as Erlang writes it."""
        caller = shutil.which("erl_call")
        if caller is None:
            return self.ctl("eval", expression + ".").strip()
        cookie = (self.folder / ".erlang.cookie").read_text()
        line = [caller, "-sname", self._node, "-c", cookie, "-e"]
        done = subprocess.run(
            line,
            input=f"{expression}.\n",
            env=self._environ(),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.stdout.startswith("{ok, "), done.stdout + done.stderr
        return done.stdout.strip()[len("{ok, ") : -1]

    def disk_alarm(self, on: bool) -> None:
        """From now on it reads nothing from connections that publish; their messages stay unconfirmed."""
        limit = 1 << 60 if on else 1 << 20
        self.evaluate(f"rabbit_disk_monitor:set_disk_free_limit({limit})")
        until = time.monotonic() + 60
        while (self.evaluate("rabbit_alarm:get_local_alarms()") != "[]") is not on:
            assert time.monotonic() < until
            time.sleep(0.05)

    def close_connections(self, named: str = "") -> int:
        """Close all whose name ends so, with a word to the client; how many."""
        count = self.evaluate(
            f"begin Named = fun (Pid) -> [{{client_properties, All}}] ="
            f" rabbit_networking:connection_info(Pid, [client_properties]),"
            f' case lists:keyfind(<<"connection_name">>, 1, All) of'
            f' {{_, _, Name}} -> lists:suffix("{named}", binary_to_list(Name)); _ -> "{named}" == "" end end,'
            f" Pids = lists:filter(Named, rabbit_networking:connections()),"
            f' [catch rabbit_networking:close_connection(Pid, "test") || Pid <- Pids], length(Pids) end'
        )
        return int(count)

    def connections(self) -> int:
        return int(self.evaluate("length(rabbit_networking:connections())"))

    def blocked(self) -> int:
        """Connections that wanted to publish in an alarm and are not read any more."""
        states = "[rabbit_networking:connection_info(P, [state]) || P <- rabbit_networking:connections()]"
        return int(self.evaluate(f"length([1 || [{{state, S}}] <- {states}, S == blocked])"))

    def queues(self) -> set[str]:
        names = self.evaluate("[binary_to_list(element(4, N)) || N <- rabbit_amqqueue:list_names()]")
        return set(re.findall(r'"([^"]*)"', names))

    def publish(self, queue: str, body: str, *, reply_to: str) -> None:
        """From within, past every alarm; none of them may hold a quote."""
        found = """rabbit_exchange:lookup({resource, <<"/">>, exchange, <<>>})"""
        message = f'<<"{queue}">>, [{{reply_to, <<"{reply_to}">>}}], <<"{body}">>'
        self.evaluate(f"begin {{ok, X}} = {found}, rabbit_basic:publish(X, {message}) end")

    def count(self, queue: str) -> tuple[int, int]:
        """Messages that are ready, and that were delivered and not acknowledged; late for quorum queues."""
        ready, unacknowledged = self._info(queue, "messages_ready", "messages_unacknowledged")
        return ready, unacknowledged

    def consumers(self, queue: str) -> int:
        return self._info(queue, "consumers")[0]

    def _info(self, queue: str, *names: str) -> list[int]:
        found = self.evaluate(
            f'begin {{ok, Q}} = rabbit_amqqueue:lookup({{resource, <<"/">>, queue, <<"{queue}">>}}),'
            # A list of small numbers would be written as a string.
            f" list_to_tuple([V || {{_, V}} <- rabbit_amqqueue:info(Q, [{', '.join(names)}])]) end"
        )
        return [int(one) for one in re.findall(r"\d+", found)]

    # Its files

    def _environ(self) -> dict[str, str]:
        return surroundings(
            self.folder, self._node, port=self.port, dist_port=self._dist_port, epmd_port=self._epmd_port
        )

    def _write_files(self) -> None:
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        shown = self.authority.issue_cert("localhost")
        shown.private_key_and_cert_chain_pem.write_to_path(str(self.folder / "server.pem"))
        (self.folder / ".erlang.cookie").write_text("otpsvctests")
        (self.folder / ".erlang.cookie").chmod(0o400)
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "env.conf").write_text("")
        (self.folder / "definitions.json").write_text(json.dumps(definitions()))
        text = settings(self.folder, port=self.port, tls_port=self.tls_port)
        (self.folder / "rabbitmq.conf").write_text(text)


def _program(name: str) -> str:
    behind = _BEHIND / name
    found = str(behind) if behind.exists() else shutil.which(name, path=os.defpath + ":/usr/sbin:/sbin")
    assert found, f"{name} is missing"
    return found
