from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otpsvc.gsm import framer as framer_module
from otpsvc.gsm.framer import LINE_MOST, Framer, Line, Prompt

COMMAND = b"AT+CMGS=23"
#: What modems send, and what breaks readers of it.
PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\r\n", b">", b"> ", b" ", b"\0", b"\xff\xfe", b"\x1a", b"\x1b", b'"',
    b"OK", b"ERROR", b"+CMS ERROR: 500", b"+CREG: 1", b"+CMT: ,24", b"07912618", COMMAND, b"a > b",
    b'+CUSD: 1,"1. one', b'+CUSD: 0,"x",15', b'",15', b"RING", b"x" * 100, b"y" * LINE_MOST,
]  # fmt: skip
octets = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))


def lines(data: bytes) -> list[bytes]:
    return [event.text for event in Framer().feed(data) if isinstance(event, Line)]


def awaiting(data: bytes, sizes: list[int] | None = None) -> list[Line | Prompt]:
    framer = Framer()
    framer.await_prompt(COMMAND)
    events: list[Line | Prompt] = []
    for size in sizes or []:
        events += framer.feed(data[:size])
        data = data[size:]
    return events + framer.feed(data)


def test_lines_end_in_many_ways() -> None:
    assert lines(b"\r\nA\r\n\r\nB\r\r\nC\nD\rE\r\n\n\r") == [b"A", b"B", b"C", b"D", b"E"]


def test_a_line_is_whole_when_it_has_ended() -> None:
    framer = Framer()

    assert framer.feed(b"\r\nO") == []
    assert framer.feed(b"K") == []
    assert framer.feed(b"\r") == [Line(b"OK")]
    assert framer.feed(b"\n") == []


def test_nul_is_dropped_and_high_octets_are_kept() -> None:
    assert lines(b"\0\0O\0K\r\n\xff\xfe\x80\r\n") == [b"OK", b"\xff\xfe\x80"]


@pytest.mark.parametrize(
    "data",
    [b"\r\n> ", b"\r\n>", b"> ", b">", b"\r\n> \r\n", b"> \r\n", b" > ", COMMAND + b"\r> ", COMMAND + b"> ",
     COMMAND + b"\r\r\n>", b"\r\nRING\r\n>", b"\0>"],
)  # fmt: skip
def test_every_prompt(data: bytes) -> None:
    events = awaiting(data)

    assert events.count(Prompt()) == 1
    assert events[-1] == Prompt()
    assert Framer().feed(data).count(Prompt()) == 0


def test_a_prompt_comes_once() -> None:
    assert awaiting(b"\r\n> > \r\n> ") == [Prompt()]


def test_a_prompt_is_no_longer_awaited() -> None:
    framer = Framer()
    framer.await_prompt(COMMAND)
    framer.forget_prompt()

    assert framer.feed(b"\r\n> \r\nOK\r\n") == [Line(b"OK")]


def test_no_prompt_inside_a_line() -> None:
    assert awaiting(b'\r\n+CUSD: 0,"a > b",15\r\n\r\n+X: > \r\n') == [
        Line(b'+CUSD: 0,"a > b",15'),
        Line(b"+X: >"),
    ]


def test_the_body_echo_behind_a_prompt_is_a_line() -> None:
    assert awaiting(b"\r\n> 0011\x1a\r\n+CMGS: 1\r\n") == [Prompt(), Line(b"0011"), Line(b"+CMGS: 1")]


def test_a_stray_prompt_spoils_no_line() -> None:
    assert lines(b"\r\n> \r\n> OK\r\n>+CSQ: 1,99\r\n") == [b"OK", b"+CSQ: 1,99"]


def test_a_ussd_text_goes_on_until_its_quote_ends() -> None:
    assert lines(b'+CUSD: 1,"a\r\n\r\nb "c"\n> d",15\r\nOK\r\n') == [
        b'+CUSD: 1,"a\nb "c"',
        b'> d",15'[2:],
        b"OK",
    ]
    assert lines(b'+CUSD: 1,"a\r\nb\rc"\r\nOK\r\n') == [b'+CUSD: 1,"a\nb\nc"', b"OK"]
    assert lines(b"+CUSD: 2\r\nx\r\n") == [b"+CUSD: 2", b"x"]


@pytest.mark.parametrize(
    "line", [b"OK", b"ERROR", b"+CMS ERROR: 1", b"+CME ERROR: 3", b"+CREG: 1", b"^BOOT:1"]
)
def test_an_open_quote_takes_no_other_line(line: bytes) -> None:
    assert lines(b'+CUSD: 1,"a\r\n' + line + b"\r\n") == [b'+CUSD: 1,"a', line]


def test_a_prompt_ends_an_open_quote() -> None:
    assert awaiting(b'+CUSD: 1,"a\r\n> ') == [Line(b'+CUSD: 1,"a'), Prompt()]


def test_an_open_quote_is_given_up() -> None:
    framer = Framer()
    framer.feed(b'+CUSD: 1,"a\r\nb\r\n')

    assert framer.give_up_quote() == [Line(b'+CUSD: 1,"a\nb')]
    assert framer.give_up_quote() == []


def test_a_line_that_is_too_long_is_dropped_and_the_next_is_not() -> None:
    assert lines(b"x" * (LINE_MOST + 1) + b"\r\nOK\r\n") == [b"OK"]
    assert lines(b"x" * LINE_MOST + b"\r\nOK\r\n") == [b"x" * LINE_MOST, b"OK"]


@pytest.mark.parametrize(
    "garbage", [b"\xa5" * 1024, b'+CUSD: 1,"a' + b"b" * 40 + b"\r\n" + b"c" * 900, b"> " * 512, b"\0" * 1024]
)
def test_a_megabyte_of_garbage_takes_no_memory(garbage: bytes) -> None:
    framer = Framer()
    framer.await_prompt(COMMAND)
    framer.feed(garbage)
    tracemalloc.start()
    for _ in range(1024):
        framer.feed(garbage)
    taken = tracemalloc.take_snapshot()
    tracemalloc.stop()
    # Threads of other tests may live on.
    own = taken.filter_traces([tracemalloc.Filter(True, framer_module.__file__)])

    assert sum(each.size for each in own.statistics("filename")) < 16 * LINE_MOST
    assert framer.feed(b"\r\nOK\r\n")[-1] == Line(b"OK")


@given(octets, st.lists(st.integers(0, 50), max_size=30))
@example(b"y" * (LINE_MOST + 1) + b"\r\nOK\r\n", [1, LINE_MOST])
@example(b"> \r\n+CMGS: 1\r\n", [1, 1])
def test_pieces_do_not_matter(data: bytes, sizes: list[int]) -> None:
    assert awaiting(data, sizes) == awaiting(data)


@given(octets)
def test_anything_may_come(data: bytes) -> None:
    for event in awaiting(data):
        assert event == Prompt() or (
            isinstance(event, Line)
            and event.text
            and len(event.text) <= LINE_MOST
            and b"\r" not in event.text
        )
