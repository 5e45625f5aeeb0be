from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otpsvc.metrics import FOLDER_VARIABLE, REASONS, Metrics

CHILD = """
import os, sys
from pathlib import Path
from otpsvc.metrics import Metrics, folder_of, forget_process
metrics = Metrics(folder_of())
for _ in range(int(sys.argv[1])):
    metrics.request(method="PUT", route="/api/otp/{id}", status=200, seconds=0.002)
metrics.feeders.command("rabbit", "done")
metrics.feeders.connected("rabbit", up=True)
metrics.feeders.lag("rabbit", int(sys.argv[2]))
text = metrics.text(in_flight=int(sys.argv[2]))
if sys.argv[3] == "show":
    print(text.decode())
if sys.argv[3] == "removed":
    print(metrics.text(feeders=("other",)).decode())
if sys.argv[3] == "dies":
    forget_process(os.getpid(), folder_of())
"""


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()

    for status in (200, 200, 400):
        metrics.request(method="PUT", route="/api/otp/{id}", status=status, seconds=0.002)

    text = metrics.text().decode()
    assert 'otpsvc_requests_total{method="PUT",route="/api/otp/{id}",status="200"} 2.0' in text
    assert 'otpsvc_requests_total{method="PUT",route="/api/otp/{id}",status="400"} 1.0' in text
    assert 'otpsvc_request_seconds_bucket{le="0.0025",method="PUT",route="/api/otp/{id}"} 3.0' in text


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [(200, "", "verified"), (400, "wrong_code", "wrong_code"), (429, "check_limit", "check_limit")],
)
def test_checks_are_counted_by_outcome(status: int, code: str, outcome: str) -> None:
    metrics = Metrics()

    metrics.request(method="POST", route="/api/otp/{id}", status=status, seconds=0.001, code=code)

    assert f'otpsvc_checks_total{{outcome="{outcome}"}} 1.0' in metrics.text().decode()


def test_a_stranger_makes_no_check() -> None:
    metrics = Metrics()

    metrics.request(method="POST", route="/api/otp/{id}", status=401, seconds=0.001, code="unauthorized")

    assert "otpsvc_checks_total{" not in metrics.text().decode()


def test_messages_and_dead_letters() -> None:
    metrics = Metrics()

    metrics.attempt(channel="smtp", lane="otp", result="sent", final="sent", seconds=0.01)
    metrics.attempt(channel="smtp", lane="otp", result="refused", final="failed", seconds=0.01)
    metrics.ended(lane="otp", count=3)

    text = metrics.text(in_flight=7).decode()
    assert 'otpsvc_messages_total{channel="smtp",final="sent",lane="otp",result="sent"} 1.0' in text
    assert 'otpsvc_dead_letters_total{channel="smtp",final="failed",lane="otp"} 1.0' in text
    assert 'otpsvc_dead_letters_total{channel="",final="expired",lane="otp"} 3.0' in text
    assert "otpsvc_messages_in_flight 7.0" in text


def test_a_store_that_does_not_answer_is_counted() -> None:
    metrics = Metrics()

    for method in ("GET", "PUT"):
        metrics.request(
            method=method, route="/api/otp/{id}", status=503, seconds=0.9, code="store_unavailable"
        )

    assert "otpsvc_store_errors_total 2.0" in metrics.text().decode()


def test_what_feeders_do_is_counted() -> None:
    metrics = Metrics()

    metrics.feeders.command("rabbit", "done")
    metrics.feeders.dead_letter("rabbit", "broken_json")
    metrics.feeders.lost("rabbit", 3)
    metrics.feeders.session("rabbit", "gone")
    metrics.feeders.connected("rabbit", up=True)
    metrics.feeders.connected("mqtt", up=False)
    metrics.feeders.lag("rabbit", 12)

    text = metrics.text().decode()
    for line in (
        'otpsvc_feeder_commands_total{feeder="rabbit",outcome="done"} 1.0',
        'otpsvc_feeder_dead_letters_total{feeder="rabbit",reason="broken_json"} 1.0',
        'otpsvc_feeder_lost_total{feeder="rabbit"} 3.0',
        'otpsvc_feeder_sessions_total{end="gone",feeder="rabbit"} 1.0',
        'otpsvc_feeder_connected{feeder="rabbit"} 1.0',
        'otpsvc_feeder_connected{feeder="mqtt"} 0.0',
        'otpsvc_feeder_lag{feeder="rabbit"} 12.0',
    ):
        assert line in text


def test_a_word_of_nobody_s_is_no_label() -> None:
    metrics = Metrics()

    for at in range(50):
        metrics.feeders.dead_letter("rabbit", f"planted {at}")
        metrics.feeders.command("rabbit", f"planted {at}")

    text = metrics.text().decode()
    assert "planted" not in text
    assert 'otpsvc_feeder_dead_letters_total{feeder="rabbit",reason="other"} 50.0' in text
    assert 'otpsvc_feeder_commands_total{feeder="rabbit",outcome="other"} 50.0' in text


def test_every_word_of_a_refusal_can_be_a_reason() -> None:
    from tests.test_docs import Words

    assert {word.word for word in Words().found} <= REASONS


def test_two_services_in_one_process_do_not_mix() -> None:
    one, other = Metrics(), Metrics()

    one.request(method="GET", route="/", status=503, seconds=0.9, code="store_unavailable")

    assert "otpsvc_store_errors_total 0.0" in other.text().decode()


def child(folder: Path, requests: int, in_flight: int, does: str) -> str:
    """What another process says."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, str(requests), str(in_flight), does],
        env={**os.environ, FOLDER_VARIABLE: str(folder)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_feeders_of_the_past_are_left_out_of_what_all_processes_wrote(tmp_path: Path) -> None:
    child(tmp_path, 1, 1, "lives")
    said = child(tmp_path, 1, 1, "removed")

    assert "otpsvc_requests_total{" in said
    assert "rabbit" not in said


def test_processes_are_added_up(tmp_path: Path) -> None:
    said = ""
    for requests, in_flight, does in ((2, 1, "lives"), (3, 5, "dies"), (1, 2, "show")):
        said = child(tmp_path, requests, in_flight, does)

    assert 'otpsvc_requests_total{method="PUT",route="/api/otp/{id}",status="200"} 6.0' in said
    # What a dead process had on its way is no longer; what it counted stays.
    assert "otpsvc_messages_in_flight 3.0" in said
    assert 'otpsvc_feeder_commands_total{feeder="rabbit",outcome="done"} 3.0' in said
    assert 'otpsvc_feeder_connected{feeder="rabbit"} 1.0' in said
    # The dead one told of 5.
    assert 'otpsvc_feeder_lag{feeder="rabbit"} 2.0' in said
