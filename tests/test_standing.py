from __future__ import annotations

from typing import Any

from otpsvc.standing import FeederState, overall, summed


def state(node: str, state: Any, **more: Any) -> FeederState:
    return FeederState(
        **{"name": "one", "type": "rabbitmq", "tenant": "shop", "node": node, "state": state, **more}
    )


def test_one_node_that_is_connected_is_enough() -> None:
    found = summed(
        "one",
        [
            state("b", "standby", reason="another node holds the line"),
            state("c", "refused", reason="no such login"),
            state("a", "connected"),
            state("a", "connecting", name="two"),
        ],
    )

    assert (found.ok, found.detail) == (True, "connected")
    assert found.nodes == {"a": "connected", "b": "standby", "c": "refused"}


def test_what_is_nearest_to_connected_says_why_it_is_not() -> None:
    found = summed("one", [state("b", "standby"), state("a", "connecting", reason="cannot connect")])

    assert (found.ok, found.detail) == (False, "connecting: cannot connect")


def test_counts_are_added_up_and_of_lags_the_longest_is_told() -> None:
    found = summed(
        "one",
        [
            state("a", "connected", consumed=1, refused=2, dead_lettered=3, lost=4, waiting=5, lag=6),
            state("b", "connected", consumed=10, refused=20, dead_lettered=30, lost=40, waiting=50, lag=2),
            state("c", "connected"),
        ],
    )

    assert (found.consumed, found.refused, found.dead_lettered) == (11, 22, 33)
    assert (found.lost, found.waiting, found.lag) == (44, 55, 6)


def test_every_feeder_of_the_config_is_there_and_those_of_others() -> None:
    found = overall(["two", "one"], [state("a", "connected"), state("b", "connected", name="far")])

    assert {name: one.ok for name, one in found.items()} == {"far": True, "one": True, "two": False}
    assert found["two"].detail == "no process tells of it"
    assert found["two"].lag is None
