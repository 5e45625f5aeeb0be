"""Parts of texts become texts: in any order, bounded, and their slots stay until somebody has them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.gsm.inbox import GAP, PATIENCE, UNFINISHED, WAITING, Assembly, Slot, Whole
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Deliver, encode_deliver, read
from otpsvc.gsm.types import Text

SIM = "8962"
LONG = "".join(chr(ord("a") + n % 26) for n in range(500))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def parts(
    text: str, *, reference: int = 7, wide: bool = False, sender: str = "+62811", at: float = 1_790_000_000.0
) -> list[Deliver]:
    made = [
        read(encode_deliver(sender, part, at=at)[0]) for part in split(text, reference=reference, wide=wide)
    ]
    return [part for part in made if isinstance(part, Deliver)]


def put(inbox: Assembly, came: Sequence[Deliver], first: int = 1) -> None:
    for index, part in enumerate(came, first):
        inbox.add(part, sim=SIM, slot=Slot("SM", index))


def text_of(whole: Whole) -> Text:
    return whole.text("north")


def test_a_text_of_one_part_is_whole() -> None:
    inbox = Assembly()
    put(inbox, parts("Hello"))
    (whole,) = inbox.ready()

    assert text_of(whole).text == "Hello"
    assert whole.slots == (Slot("SM", 1),)
    inbox.done(whole)
    assert inbox.ready() == []


@given(st.permutations(range(4)), st.sampled_from([0, 1, 255]), st.booleans())
def test_parts_in_any_order(order: list[int], reference: int, wide: bool) -> None:
    inbox = Assembly()
    came = parts(LONG, reference=reference, wide=wide)
    for number in order[:-1]:
        inbox.add(came[number], sim=SIM)
        assert inbox.ready() == []
    inbox.add(came[order[-1]], sim=SIM)
    (whole,) = inbox.ready()

    assert text_of(whole).text == LONG
    assert text_of(whole).complete


def test_a_surrogate_pair_that_another_phone_cut_is_joined() -> None:
    inbox = Assembly()
    put(inbox, parts("\N{GRINNING FACE}" * 60))

    assert text_of(inbox.ready()[0]).text == "\N{GRINNING FACE}" * 60


def test_the_same_reference_of_others_is_another_text() -> None:
    inbox = Assembly()
    one, two, wide = parts(LONG), parts(LONG.upper(), sender="+62812"), parts(LONG[::-1], wide=True)
    for three in zip(one, two, wide, strict=False):
        for part in three:
            inbox.add(part, sim=SIM)

    texts = sorted(text_of(whole).text for whole in inbox.ready() if whole.complete)
    assert LONG in texts
    assert LONG.upper() in texts


def test_a_part_that_comes_twice_counts_once_and_both_slots_go() -> None:
    inbox = Assembly()
    one, two, *rest = parts(LONG)
    put(inbox, [one, two, one, two, *rest])
    (whole,) = inbox.ready()

    assert text_of(whole).text == LONG
    assert len(whole.slots) == 2 + len(parts(LONG))


def test_a_slot_that_is_read_again_changes_nothing() -> None:
    inbox = Assembly()
    for _ in range(3):
        put(inbox, parts(LONG)[:2])
        put(inbox, parts("Hello"), first=9)

    assert len(inbox.ready()) == 1


def test_it_is_offered_until_it_is_done_and_then_known() -> None:
    inbox = Assembly()
    came = parts("Hello")
    put(inbox, came)
    assert inbox.ready() == inbox.ready() != []
    inbox.done(inbox.ready()[0])

    # Its slot could not be deleted, or the network sent it again.
    assert inbox.add(came[0], sim=SIM, slot=Slot("SM", 1)) is False
    assert inbox.add(came[0], sim=SIM, slot=Slot("SM", 2)) is False
    assert inbox.ready() == []


def test_another_text_under_a_reference_ends_the_unfinished_one() -> None:
    inbox = Assembly()
    put(inbox, parts(LONG)[:2])
    put(inbox, parts(LONG.upper(), at=1_790_003_600.0), first=5)
    first, second = inbox.ready()

    assert not first.complete
    assert text_of(first).text == LONG[:306] + GAP
    assert text_of(second).text == LONG.upper()
    # What is still on the SIM is read again each minute.
    put(inbox, parts(LONG)[:2])
    assert len(inbox.ready()) == 2


@pytest.mark.parametrize(
    ("there", "text"),
    [
        ([1, 2, 3], LONG[:459] + GAP),
        ([2, 3, 4], GAP + LONG[153:]),
        ([1, 4], LONG[:153] + GAP + LONG[459:]),
        ([2], GAP + LONG[153:306] + GAP),
    ],
)
def test_a_text_goes_on_without_the_parts_that_never_came(there: list[int], text: str) -> None:
    clock = Clock()
    inbox = Assembly(clock)
    put(inbox, [parts(LONG)[number - 1] for number in there])
    clock.now += PATIENCE - 1
    assert inbox.ready() == []
    clock.now += 1
    (whole,) = inbox.ready()

    assert text_of(whole).text == text
    assert not text_of(whole).complete


def test_unfinished_texts_are_bounded() -> None:
    inbox = Assembly()
    for number in range(UNFINISHED + 5):
        inbox.add(parts(LONG, sender=f"+62{number:06}")[0], sim=SIM)

    assert len(inbox.ready()) == 5
    assert text_of(inbox.ready()[0]).sender == "+62000000"


def test_texts_that_wait_are_bounded() -> None:
    inbox = Assembly()
    for number in range(WAITING + 5):
        inbox.add(parts("Hello", sender=f"+62{number:06}")[0], sim=SIM)

    assert len(inbox.ready()) == WAITING
    assert text_of(inbox.ready()[0]).sender == "+62000005"


def test_a_text_that_had_to_go_is_read_again_from_the_sim() -> None:
    inbox = Assembly()
    put(inbox, parts("Hello"))
    for number in range(WAITING):
        inbox.add(parts("Hello", sender=f"+62{number:06}")[0], sim=SIM)
    assert "+62811" not in {text_of(whole).sender for whole in inbox.ready()}
    put(inbox, parts("Hello"))

    assert "+62811" in {text_of(whole).sender for whole in inbox.ready()}


def test_the_oldest_that_takes_room_on_the_sim_is_given_up() -> None:
    clock = Clock()
    inbox = Assembly(clock)
    inbox.add(parts(LONG, sender="+62800")[0], sim=SIM)
    for sender in ("+62801", "+62802"):
        clock.now += 1
        inbox.add(parts(LONG, sender=sender)[0], sim=SIM, slot=Slot("SM", int(sender[-1])))
    inbox.give_up_oldest()

    assert [text_of(whole).sender for whole in inbox.ready()] == ["+62801"]


def test_a_slot_that_somebody_else_filled_anew_belongs_to_the_new_text() -> None:
    inbox = Assembly()
    put(inbox, parts("first"))
    put(inbox, parts("second"))
    slots = {text_of(whole).text: whole.slots for whole in inbox.ready()}

    assert slots == {"first": (), "second": (Slot("SM", 1),)}


def test_no_slot_of_another_sim_is_deleted() -> None:
    inbox = Assembly()
    put(inbox, parts("Hello"))
    inbox.forget_slots()

    assert inbox.ready()[0].slots == ()


def test_the_id_is_of_the_text_and_not_of_its_place() -> None:
    first, second = Assembly(), Assembly()
    put(first, parts(LONG))
    put(second, list(reversed(parts(LONG))), first=20)
    others = Assembly()
    put(others, parts("Hello"))
    put(others, parts("Hello", sender="+62812"), first=2)
    put(others, parts("Hello", at=1_790_000_001.0), first=3)
    put(others, parts("Hallo"), first=4)

    assert text_of(first.ready()[0]).id == text_of(second.ready()[0]).id
    assert len({text_of(whole).id for whole in others.ready()}) == 4
    assert others.ready()[0].text("north", b"1").id != others.ready()[0].text("north", b"2").id


def test_nothing_of_it_is_shown() -> None:
    inbox = Assembly()
    put(inbox, parts("secret 123456"))
    (whole,) = inbox.ready()

    assert "secret" not in repr(whole) + repr(text_of(whole)) + str(text_of(whole))
