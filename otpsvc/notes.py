"""What is logged and counted of requests and messages: no address, no text, no id."""

from __future__ import annotations

import structlog

from otpsvc.deliver import Ended, News
from otpsvc.http.parts import RequestLine
from otpsvc.metrics import Metrics

_log = structlog.get_logger("otpsvc")


class Notes:
    """Writes one line for each, and counts it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def request(self, line: RequestLine) -> None:
        """An answered request."""
        self._metrics.request(
            method=line.method, route=line.route, status=line.status, seconds=line.seconds, code=line.code
        )
        say = _log.error if line.failure else _log.info
        say(
            "request",
            request_id=line.request_id,
            method=line.method,
            route=line.route,
            status=line.status,
            ms=round(line.seconds * 1000, 2),
            tenant=line.tenant,
            client=line.client,
            refusal=line.code,
            **({"exception": line.failure} if line.failure else {}),
        )

    def news(self, news: News | Ended) -> None:
        """An attempt to hand a message over, or messages that came to their deadline."""
        if isinstance(news, Ended):
            self._metrics.ended(lane=news.lane, count=news.count)
            _log.warning(
                "messages expired", tenant=news.tenant, route=news.route, lane=news.lane, count=news.count
            )
            return
        self._metrics.attempt(
            channel=news.channel, lane=news.lane, result=news.result, final=news.final, seconds=news.seconds
        )
        if news.bug is not None:
            _log.error("a channel broke", channel=news.channel, exc_info=news.bug)
        say = _log.info if news.result == "sent" else _log.warning
        say(
            "message",
            tenant=news.tenant,
            route=news.route,
            channel=news.channel,
            lane=news.lane,
            message=news.message[:8],
            result=news.result,
            reason=news.reason,
            final=news.final,
            ms=round(news.seconds * 1000, 2),
        )
