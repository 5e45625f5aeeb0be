"""The manual is true: its links, examples, words, keys, defaults and commands are those of the code."""

from __future__ import annotations

import ast
import base64
import json
import re
import shlex
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import trustme
from msgspec import Struct, inspect, structs

from otpsvc import errors
from otpsvc.address import EMAIL, phone
from otpsvc.challenge import EventMeta, pack_raw
from otpsvc.channel import ChannelConfig
from otpsvc.channels import OWN, channel_type
from otpsvc.channels.poster import Signer
from otpsvc.cli import main
from otpsvc.config import ConfigTables
from otpsvc.config.environment import overlay
from otpsvc.config.pages import PageTable
from otpsvc.config.reading import Reader
from otpsvc.config.tenants import TenantTable, TextsTable
from otpsvc.config.types import fields_of, without_none, written
from otpsvc.errors import Refused, Unavailable
from otpsvc.feeder import FeederConfig
from otpsvc.feeders import OWN as FEEDERS
from otpsvc.feeders import feeder_type
from otpsvc.gsm.types import Quota
from otpsvc.http import envelope
from otpsvc.http.calls import CALLS
from otpsvc.keyring import Keyring
from otpsvc.letter import event_body
from otpsvc.lines import Answered, Line
from otpsvc.loading import Source
from otpsvc.message import Message, MessageState
from otpsvc.metrics import Metrics
from otpsvc.store import Posting
from otpsvc.stores.connection import Connector, check_durability
from otpsvc.stores.desk import Desk
from otpsvc.stores.errand import Errands
from otpsvc.stores.ledger import RedisLedger
from otpsvc.stores.redis import LUA, RedisStore
from otpsvc.stores.url import read_url
from otpsvc.tenant import Codes, Limits, Rate
from otpsvc.view import Personal, View
from tests.far_ends.valkey import ValkeyServer, free_port
from tests.flows.rig import Node, Outlet, new_key, tenant, wrong
from tests.test_sample_config import default_of
from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *([README] if README.exists() else [])])
NAMES = [page.name for page in PAGES]

BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")


class Page:
    """One page, in its parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text("utf-8")
        self.blocks = [(found[1], found[2]) for found in BLOCK.finditer(text)]
        self.prose = BLOCK.sub("", text)

    def of(self, language: str) -> list[str]:
        return [content for kind, content in self.blocks if kind == language]

    @property
    def anchors(self) -> set[str]:
        """As GitHub makes them."""
        plain = (re.sub(r"[^\w\- ]", "", found[2].lower()) for found in HEADING.finditer(self.prose))
        return {text.replace(" ", "-") for text in plain}

    def section(self, heading: str) -> str:
        """What stands between a heading and the next one of any level."""
        found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", self.prose, re.MULTILINE | re.DOTALL)
        assert found, f"{self.path.name}: no heading {heading!r}"
        return found[1]


@cache
def page(name: str) -> Page:
    return Page(next(path for path in PAGES if path.name == name))


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table, without heads."""
    lines = text.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("| ") and not below.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


# Links


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    here = page(name)
    for link in LINK.findall(here.prose):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (here.path.parent / file).resolve() if file else here.path
        assert target.exists(), link
        if anchor:
            assert anchor in Page(target).anchors, link


# Words that programs read


class Word(NamedTuple):
    word: str
    status: int


CLASSES: Mapping[str, type[errors.RequestError | errors.Busy]] = {
    name: found
    for name, found in [*vars(errors).items(), *vars(envelope).items()]
    if isinstance(found, type) and issubclass(found, errors.RequestError | errors.Busy)
}


def status_of(kind: type[errors.RequestError | errors.Busy]) -> int:
    if issubclass(kind, errors.Busy):
        return 503
    return next((envelope._STATUSES[one] for one in kind.__mro__ if one in envelope._STATUSES), 400)


class Words:
    """All pairs of word and status that the code can answer, found in its source."""

    def __init__(self) -> None:
        folders = [path for path in (ROOT / "otpsvc").rglob("*.py") if "demo" not in path.parts]
        self._trees = [ast.parse(path.read_text("utf-8")) for path in folders]
        self.found: set[Word] = {Word(kind.code, status_of(kind)) for kind in CLASSES.values()}
        for tree in self._trees:
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    self._look(function, tree)
        self.found |= {Word(word, status) for status, word in envelope._CODES.items()}
        # Check and status answer 400 where others answer 404.
        if any(call.missing == 400 for call in CALLS):
            self.found.add(Word("not_found", 400))

    def _look(self, function: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module) -> None:
        for call in ast.walk(function):
            if not isinstance(call, ast.Call):
                continue
            name = _name(call.func)
            given = next((one.value for one in call.keywords if one.arg == "code"), None)
            if given is not None and name in CLASSES:
                words = self._values(given, function, tree)
                assert words, f"{function.name}: code={ast.unparse(given)}"
                self.found |= {Word(word, status_of(CLASSES[name])) for word in words}
            elif name == "_Refusal" and isinstance(call.args[2], ast.Constant):
                self.found.add(Word(call.args[2].value, 500))  # type: ignore[arg-type]

    def _values(
        self, given: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module
    ) -> set[str]:
        """What an expression can be: a word, a name that was given words, a word with a parameter in it."""
        match given:
            case ast.Constant(value=str(word)):
                return {word}
            case ast.Name(id=name):
                return set(_assigned(name, function, tree))
            case ast.JoinedStr(
                values=[ast.Constant(value=str(head)), ast.FormattedValue(value=ast.Name(id=name))]
            ):
                place = [one.arg for one in function.args.args].index(name)
                return {head + value for value in _passed(function.name, place, tree)}
        return set()


def _passed(function: str, place: int, tree: ast.Module) -> Iterator[str]:
    """The constants that a module passes to a function of its own."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == function:
            argument = call.args[place]
            assert isinstance(argument, ast.Constant), ast.unparse(call)
            yield str(argument.value)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _assigned(name: str, function: ast.AST, tree: ast.Module) -> Iterator[str]:
    """The words of `a, name = "…", "word"`, and of `name, a = TABLE[…]`."""
    for one in ast.walk(function):
        if not (isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Tuple)):
            continue
        names = [_name(target) for target in one.targets[0].elts]
        if name not in names:
            continue
        tuples = [one.value]
        if isinstance(one.value, ast.Subscript):
            tuples = _table(_name(one.value.value), tree)
        for values in tuples:
            assert isinstance(values, ast.Tuple)
            word = values.elts[names.index(name)]
            assert isinstance(word, ast.Constant)
            yield str(word.value)


def _table(name: str, tree: ast.Module) -> list[ast.expr]:
    for one in tree.body:
        if isinstance(one, ast.Assign) and _name(one.targets[0]) == name and isinstance(one.value, ast.Dict):
            return one.value.values
    return []


def documented_words() -> list[Word]:
    table = rows(page("api.md").section("Code words"))
    return [
        Word(cells[0].strip("`"), int(status))
        for cells in table
        if cells[0].startswith("`")
        for status in cells[1].split(", ")
    ]


def test_the_api_page_lists_every_code_word_with_its_status() -> None:
    documented = documented_words()

    assert set(documented) == Words().found
    assert len(documented) == len(set(documented))


def test_the_words_that_a_parameter_may_cause_are_code_words() -> None:
    known = {word for word, _ in documented_words()}
    for heading in ("Create", "Check", "Status", "Resend", "Reset a budget", "Guards"):
        for cells in rows(page("api.md").section(heading)):
            words = set(SPAN.findall(cells[-1]))
            assert words <= known, cells


def test_every_call_stands_on_the_api_page() -> None:
    text = page("api.md").prose
    for call in CALLS:
        assert f"`{call.method} {call.route}" in text, call


# Configuration


def channel_types(name: str) -> type[ChannelConfig]:
    return channel_type(name).Config


def known_channel(name: str) -> type[ChannelConfig] | None:
    return channel_types(name) if name in OWN else None


def known_feeder(name: str) -> type[FeederConfig] | None:
    return feeder_type(name).Config if name in FEEDERS else None


def feeder_fields(type_name: str) -> dict[str, inspect.Field]:
    common = fields_of(FeederConfig)
    fields = fields_of(feeder_type(type_name).Config)
    return {name: field for name, field in fields.items() if name not in common}


def own_fields(type_name: str) -> dict[str, inspect.Field]:
    common = fields_of(ChannelConfig)
    return {name: field for name, field in fields_of(channel_types(type_name)).items() if name not in common}


def plain_fields(cls: type[Struct]) -> dict[str, inspect.Field]:
    """Without the tables below."""
    return {
        name: field
        for name, field in fields_of(cls).items()
        if not isinstance(without_none(field.type), inspect.StructType) or written(without_none(field.type))
    }


def part(section: str) -> type[Struct]:
    kind = without_none(fields_of(ConfigTables)[section].type)
    assert isinstance(kind, inspect.StructType)
    return kind.cls


def tls() -> type[Struct]:
    kind = without_none(fields_of(part("app"))["tls"].type)
    assert isinstance(kind, inspect.StructType)
    return kind.cls


TABLES: list[tuple[str, str, dict[str, inspect.Field]]] = [
    ("configuration.md", "app", plain_fields(part("app"))),
    ("configuration.md", "app.tls", plain_fields(tls())),
    ("configuration.md", "redis", plain_fields(part("redis"))),
    ("configuration.md", "codes", plain_fields(Codes)),
    ("configuration.md", "limits", plain_fields(Limits)),
    ("configuration.md", "tenants", plain_fields(TenantTable)),
    ("configuration.md", "tenants.templates", plain_fields(TextsTable)),
    ("configuration.md", "tenants.page", plain_fields(PageTable)),
    ("channels.md", "What every channel has", plain_fields(ChannelConfig)),
    ("channels.md", "smtp", own_fields("smtp")),
    ("channels.md", "webhook", own_fields("webhook")),
    ("channels.md", "rabbitmq", own_fields("rabbitmq")),
    ("channels.md", "mqtt", own_fields("mqtt")),
    ("channels.md", "file", own_fields("file")),
    ("feeders.md", "What every feeder has", plain_fields(FeederConfig)),
    ("rabbitmq.md", "Keys", feeder_fields("rabbitmq")),
    ("wsbroker.md", "Three generations", feeder_fields("wsbroker")),
    ("mqtt.md", "Keys", feeder_fields("mqtt")),
]


@pytest.mark.parametrize(("name", "heading", "fields"), TABLES, ids=[f"{one[0]}-{one[1]}" for one in TABLES])
def test_a_table_has_every_key_with_its_default(
    name: str, heading: str, fields: dict[str, inspect.Field]
) -> None:
    table = {cells[0].strip("`"): cells[1] for cells in rows(page(name).section(heading)) if len(cells) == 3}
    shown = {key: default for key, default in table.items() if key in fields}

    assert list(shown) == [key for key in table if re.fullmatch(r"[a-z_]+", key)]
    assert shown.keys() == fields.keys()
    for key, default in shown.items():
        if fields[key].required:
            assert default == "required", key
        else:
            assert_default(fields[key], key, default)


def assert_default(field: inspect.Field, key: str, shown: str) -> None:
    reader = Reader("manual", ROOT, {})
    value = tomllib.loads(f"value = {shown.strip('`')}")["value"]
    read, default = reader.value(field.type, value, (key,)), default_of(field)
    assert reader.problems == []
    assert read == default or (value == "" and not default) or default == Path(), key


def is_key(dotted: str) -> bool:
    """True when this is a key or a table; NAME stands for a name."""
    section, *rest = dotted.split(".")
    if section == "channels":
        known = set().union(*(fields_of(channel_types(name)) for name in OWN))
        return len(rest) == 1 or (len(rest) == 2 and rest[1] in known)
    if section == "feeders":
        known = set().union(*(fields_of(feeder_type(name).Config) for name in FEEDERS))
        return len(rest) == 1 or (len(rest) == 2 and rest[1] in known)
    if section == "routes":
        return len(rest) == 1
    cls: type[Struct] = TenantTable if section == "tenants" else part(section)
    for name in rest[1:] if section == "tenants" else rest:
        field = fields_of(cls).get(name)
        if field is None:
            return False
        kind = without_none(field.type)
        if isinstance(kind, inspect.StructType):
            cls = kind.cls
    return True


@pytest.mark.parametrize("name", NAMES)
def test_every_key_that_is_named_exists(name: str) -> None:
    sections = "|".join(fields_of(ConfigTables))
    text = page(name).prose
    if name == "migrate-otpgateway.md":
        # The first column has the other one's keys.
        text = re.sub(r"(?m)^\| [^|]*\|", "|", text)
    named = [
        found[1]
        for span in SPAN.findall(text)
        if (found := re.fullmatch(rf"((?:{sections})(?:\.[\w-]+)+)(?: = .*)?", span))
    ]
    assert [key for key in named if not is_key(key)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_that_is_named_is_read(name: str) -> None:
    text = page(name).path.read_text("utf-8")
    named = {one for one in re.findall(r"\bOTPSVC_[A-Z_]*__[A-Z_]+", text) if one != "OTPSVC_SECTION__KEY"}
    tables = tomllib.loads((ROOT / "config.sample.toml").read_text("utf-8"))

    plugins = {"channels": known_channel, "feeders": known_feeder}
    done = overlay(tables, dict.fromkeys(named, ""), root=ConfigTables, plugins=plugins)

    assert done.problems == []


WHSEC = "whsec_" + base64.b64encode(bytes(32)).decode()
EXAMPLES = [
    pytest.param(block, id=f"{name}-{at}") for name in NAMES for at, block in enumerate(page(name).of("toml"))
]


@pytest.fixture(scope="session")
def pem() -> Mapping[str, bytes]:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    return {
        "ca": authority.cert_pem.bytes(),
        "cert": b"".join(one.bytes() for one in issued.cert_chain_pems),
        "key": issued.private_key_pem.bytes(),
    }


def bring_files(tables: Mapping[str, Any], pem: Mapping[str, bytes], path: tuple[str, ...] = ()) -> None:
    """Write every file that a config names, with what belongs into it."""
    for name, value in tables.items():
        if isinstance(value, dict):
            bring_files(value, pem, (*path, name))
            continue
        content = _content(name, path, pem)
        for file in (value if isinstance(value, list) else [value]) if content else ():
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_bytes(content)
            Path(file).chmod(0o600)


def _content(name: str, path: tuple[str, ...], pem: Mapping[str, bytes]) -> bytes:
    if path == ("app", "tls"):
        return pem[name]
    if not name.endswith("_file"):
        return b""
    if path[-1] == "templates":
        return b"{{ code }}"
    if name == "secret_file" and path[0] == "tenants":
        return b"otpsvc1$x"
    return {"ca_file": pem["ca"], "password_file": b"secret"}.get(name, WHSEC.encode())


@pytest.mark.parametrize("block", EXAMPLES)
def test_every_config_example_loads(
    block: str, pem: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = block.replace("/etc/otpsvc", str(tmp_path))
    (tmp_path / "redis-ca.pem").write_bytes(pem["ca"])
    (tmp_path / "config.toml").write_text(text)
    bring_files(tomllib.loads(text), pem)
    source = Source(path=tmp_path / "config.toml")

    assert source.problems({}) == []
    if url := source.config({}).redis.url:
        read_url(url)


# Examples


@pytest.mark.parametrize("name", [name for name in NAMES if name != "wire.md"])
def test_json_examples_have_the_shape_of_real_answers(name: str) -> None:
    known = {word for word, _ in documented_words()}
    for block in page(name).of("json"):
        example = json.loads(block)
        data = example.get("data")
        if isinstance(data, dict) and "max_generate" in data:
            # Other pages than this one may show a part. Answers to commands tell their status, too.
            own = {"status"} if "command" in example else set()
            assert data.keys() - own <= set(View.__struct_fields__)
            assert name != "api.md" or list(data) == list(View.__struct_fields__)
        if "code" in example and "message" in example:
            assert example["code"] in known


def event_and_signature() -> tuple[bytes, dict[str, str]]:
    meta = EventMeta(
        kind="v",
        purpose="address_confirmation",
        attempts=2,
        message_state=MessageState.SENT,
        uncertain=0,
        sends=1,
        gen=bytes(16),
        at=1_795_421_118_389,
        challenge="n",
        route="smtp",
        reason="",
    )
    body = event_body("shop", meta, Personal("user-123", "anna@home.example", 60, "smtp")).encode()
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(WHSEC).sign("evt_1", body, now),
    }
    return body, headers


def executed(block: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, "example", "exec"), space)
    return space


def test_the_example_that_reads_events_takes_ours_and_no_others() -> None:
    (block,) = page("api.md").of("python")
    example = executed(block)
    body, headers = event_and_signature()

    event = example["read_event"](body, headers)

    assert event["data"]["id"] == "user-123"
    assert example["read_event"](body.replace(b"user-123", b"user-124"), headers) is None


def test_the_event_on_the_page_has_the_shape_of_ours() -> None:
    (shown,) = [block for block in page("api.md").of("json") if '"type":"otp.' in block]
    example, ours = json.loads(shown), json.loads(event_and_signature()[0])

    assert list(example) == list(ours)
    assert list(example["data"]) == list(ours["data"])


async def test_the_example_of_a_channel_sends() -> None:
    (block,) = page("channels.md").of("python")
    example = executed(block)
    pager = example["Pager"](example["PagerConfig"](type="pager", station="B"), lambda _: None)
    message = Message(id="1", to="+6281234567890", text="x", expires=0.0)

    assert (await pager.send(message)).id == "B-1"
    with pytest.raises(Refused):
        await pager.send(Message(id="2", to="+6281234567890", text="x" * 481, expires=0.0))
    with pytest.raises(Unavailable):
        await example["Pager"](example["PagerConfig"](type="pager", station=""), print).send(message)


def commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program.rpartition("/")[2] == "otpsvc":
            yield arguments


@pytest.mark.parametrize("name", NAMES)
def test_every_command_can_be_copied(name: str) -> None:
    for block in page(name).of("sh"):
        for arguments in commands(block):
            command: click.Command = main
            while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
                assert arguments[0] in command.commands, arguments
                command = command.commands[arguments.pop(0)]
            if not isinstance(command, click.Group):
                command.make_context("otpsvc", arguments)


def test_every_command_that_is_named_exists() -> None:
    for name in NAMES:
        for span in SPAN.findall(page(name).prose):
            for word in re.findall(r"^otpsvc ([a-z-]+)", span):
                assert word in main.commands, span


# Operations


def test_every_metric_that_is_named_is_kept() -> None:
    metrics = Metrics()
    metrics.request(method="GET", route="/", status=200, seconds=0.1)
    metrics.delivery(ok=True)
    metrics.incoming(complete=True)
    metrics.attempt(channel="smtp", lane="otp", result="sent", final="failed", seconds=0.1)
    kept = set(re.findall(r"^# TYPE (\w+)", metrics.text().decode(), re.MULTILINE))
    text = page("operations.md").path.read_text("utf-8")
    named = set(re.findall(r"\b(otpsvc_[a-z_]+?)(?:_bucket)?\b", text)) - {"otpsvc_pager"}

    assert named <= kept
    assert {name for name in kept if not name.endswith("_created")} <= named


def test_every_setting_of_the_unit_that_is_named_is_there() -> None:
    unit = (ROOT / "deploy" / "otpsvc.service").read_text("utf-8")
    for cells in rows(page("operations.md").section("The systemd unit")):
        for span in SPAN.findall(cells[0]):
            if span[0].isupper():
                assert re.search(rf"(?m)^#?{re.escape(span)}", unit), span


def acl_user() -> str:
    return next(line for line in page("operations.md").of("acl")[0].splitlines() if "otpsvc" in line)


#: What Python sends beside the scripts; logging in needs no right.
FROM_PYTHON = {
    *("client|setname", "config|get", "info", "script|load", "evalsha", "ping", "subscribe"),
    *("get", "set", "del", "mget", "hdel", "hget", "hgetall", "hmget", "hsetnx"),
    *("lindex", "lrem", "rpush", "pexpire", "publish", "zadd", "zrangebyscore", "zrem", "zremrangebyscore"),
}


def test_the_store_user_has_exactly_the_commands_that_are_used() -> None:
    scripts = "".join(path.read_text("utf-8") for path in LUA.glob("*.lua"))
    called = {name.lower() for name in re.findall(r"redis\.call\('([A-Z]+)'", scripts)}

    assert set(re.findall(r"\+(\S+)", acl_user())) == called | FROM_PYTHON


@pytest.fixture
def own_redis(need: Callable[[str], str], pem: Mapping[str, bytes], tmp_path: Path) -> Iterator[str]:
    """The URL of a server as the manual sets it up; only addresses and folders are changed."""
    program, port = need("redis-server"), free_port()
    for name, content in {"server.pem": "cert", "server.key": "key", "ca.pem": "ca"}.items():
        (tmp_path / name).write_bytes(pem[content])
    (tmp_path / "users.acl").write_text(page("operations.md").of("acl")[0])
    conf = page("operations.md").of("conf")[0]
    for old, new in {
        "10.0.0.5": "127.0.0.1",
        "6379": str(port),
        "/etc/valkey/tls": str(tmp_path),
        "/etc/valkey": str(tmp_path),
        "/var/lib/valkey": str(tmp_path),
    }.items():
        conf = conf.replace(old, new)
    password = acl_user().partition(" >")[2].split()[0]
    with ValkeyServer(*conf.splitlines(), program=Path(program)):
        yield f"rediss://otpsvc:{password}@localhost:{port}?ssl_ca_certs={tmp_path}/ca.pem"


async def test_a_store_as_the_manual_sets_it_up_does_all(own_redis: str) -> None:
    store = RedisStore(own_redis, fenced=False, timeout=PATIENCE)
    assert await check_durability(store._batcher.call, "always", fails_over=Connector(own_redis).fails_over)
    assert await store.check_values([("index", b"x")]) == []
    outlets = {"mail": Outlet(EMAIL), "callback": Outlet(EMAIL)}
    owner = tenant(limits=Limits(waits=(0,)), callback_url="https://shop.example")
    node = Node(store, Keyring(bytes(32), [new_key()]), outlets, {}, {"shop": owner})
    store.listen(node.courier.wake)
    node.courier.start()
    try:
        await walk(node, outlets["mail"])
        await walk_of_modems(store, node.verifier.keyring)
        assert store._listener is not None
        await store._listener.subscribed.wait()
    finally:
        await node.courier.stop(1)
        await store.close()


async def walk_of_modems(store: RedisStore, keyring: Keyring) -> None:
    """What modems and raw messages need of a store."""
    ledger = RedisLedger(store, keyring.name, nothing)
    assert (await ledger.take("89", 1, [Quota(9, "day")], "UTC")).wait == 0
    await ledger.give_back("89", 1, "UTC")
    await ledger.used("89", (), "UTC")
    assert await ledger.may_try_pin("x")
    await ledger.pin_accepted("x")
    await ledger.expect("89", [7], "+49", "job", 60)
    assert await ledger.match("89", 7, "+49", final=True)
    await store.block("shop", bytes(16), b"x")
    assert await store.blocked("shop", bytes(16))
    assert await store.blocks("shop")
    assert await store.barred([bytes(16)]) == [False]
    await store.unblock("shop", bytes(16))
    await store.keep_text("shop", "t", b"x", life=60_000, most=1)
    assert await store.texts("shop")
    meta = pack_raw(bytes(16), bytes(16))
    posting = Posting(
        tenant="shop", n="raw", route="r", ttl=90_000, dest=bytes(16), meta=meta, body=b"", sends=Rate(9, 60)
    )
    assert (await store.enqueue(structs.replace(posting, once="k", once_life=90_000))).outcome == "queued"
    [claimed] = (await store.claim("shop", "r", "message", limit=1, lease=60_000)).taken
    await store.finish(claimed, state=MessageState.SENT, way=0, reason="", uncertain=False, parts=2)
    assert await store.report("shop", "mraw", gen=b"", sends=0, ok=True) == "ok"
    async with Desk(store, keyring, lambda: {"sms": OneLine()}, node="here") as desk:
        await desk.tell()
        assert await Errands(store, keyring).send("sms", "m1", "+4930123456", "x") == "sent"


async def nothing(_: object) -> None:
    pass


class OneLine:
    """A channel with one modem."""

    address = phone()

    async def lines(self) -> list[Line]:
        return [Line(name="m1", channel="", state="ready")]

    async def ussd(self, name: str, code: str, *, reply: bool, operator: bool) -> Answered:
        raise NotImplementedError

    async def send_by(self, name: str, to: str, text: str) -> str:
        return "sent"

    async def trace(self, name: str, seconds: float) -> AsyncIterator[str]:
        yield ""


async def walk(node: Node, outlet: Outlet) -> None:
    """Every step that a store knows, a failed and a lost send among them."""
    outlet.is_unavailable(times=1)
    await node.create(key="k1", client_ip="192.0.2.1")
    await node.create(key="k1", client_ip="192.0.2.1")
    await node.settled()
    await node.verifier.resend(node.tenants["shop"], "user-123")
    await node.settled()
    with pytest.raises(errors.CheckRefused):
        await node.check(wrong(outlet.taken[-1].code))
    assert (await node.check(outlet.taken[-1].code)).state == "verified"
    await node.status(consume=True)
    await node.create(id="other-1")
    await node.verifier.cancel(node.tenants["shop"], "other-1")
    await node.verifier.reset_budget(node.tenants["shop"], "mail", "anna@home.example")
    await node.store.ping()
