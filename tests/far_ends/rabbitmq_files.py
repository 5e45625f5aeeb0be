"""What a private RabbitMQ reads at its start: settings, users, surroundings."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Any, Final

PASSWORD: Final = "hare-5e8f"


def surroundings(folder: Path, node: str, *, port: int, dist_port: int, epmd_port: int) -> dict[str, str]:
    """Its environment: nothing of the machine's own broker."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # With it the script becomes the broker instead of staying in front of it.
        "NOTIFY_SOCKET": str(folder / "nobody"),
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        # One scheduler that sleeps when there is nothing to do: the machine is shared.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "+S 1:1 +SDio 2 +sbwt none +sbwtdcpu none +sbwtdio none"
            " -kernel inet_dist_use_interface {127,0,0,1}"
        ),
    }


def settings(folder: Path, *, port: int, tls_port: int) -> str:
    """rabbitmq.conf"""
    return f"""\
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.pem
ssl_options.verify = verify_none
loopback_users = none
load_definitions = {folder}/definitions.json
disk_free_limit.absolute = 1MB
vm_memory_high_watermark.absolute = 2GB
total_memory_available_override_value = 4GB
num_acceptors.tcp = 2
num_acceptors.ssl = 2
log.file.level = warning
"""


def definitions() -> dict[str, Any]:
    may = {"otpsvc": (".*",) * 3, "reader": ("^$", "^$", ".*")}
    return {
        "vhosts": [{"name": "/"}, {"name": "shop"}],
        "users": [
            {
                "name": name,
                "password_hash": _hash(PASSWORD),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for name in ("otpsvc", "reader", "mallory")
        ],
        "permissions": [
            {"user": user, "vhost": "/", "configure": one, "write": two, "read": three}
            for user, (one, two, three) in may.items()
        ],
    }


def _hash(password: str) -> str:
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
