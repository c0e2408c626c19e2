"""Rate limits: requests a minute, for a key and a category, in a moving window."""

import re
import time
from typing import Final

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from lamina.core.errors import TooManyRequestsError
from lamina.platform.access import Principal

_CATEGORIES: Final = (
    ("search", re.compile(r"/(execute|search)$")),
    ("upload", re.compile(r"/uploads|/objects")),
    ("compute", re.compile(r"/(submit|trigger|retry|inference)$")),
    ("data", re.compile(r"/documents")),
)

_WINDOW: Final = 60


def category(path: str) -> str:
    """One of the contract's five categories: search, upload, compute, data, metadata."""
    return next((name for name, pattern in _CATEGORIES if pattern.search(path)), "metadata")


class RateLimits:
    """Counts requests in memory; each API process counts its own."""

    def __init__(self, *, enabled: bool, per_minute: int) -> None:
        self.enabled = enabled
        self.per_minute = per_minute
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, principal: Principal, request: Request) -> None:
        """Count a request; `TooManyRequestsError` when the key has used up its minute.

        What is left stands in `request.state.rate_limit`, as the headers of the answer.
        """
        if not self.enabled and principal.rate_limit_override is None:
            return
        route: str = request.scope["route"].path  # what callers name their things changes no category
        kind = category(route)
        limit = principal.rate_limit_override or self.per_minute
        item = RateLimitItemPerMinute(limit)
        allowed = self._limiter.hit(item, principal.key_id, kind)
        window = self._limiter.get_window_stats(item, principal.key_id, kind)
        request.state.rate_limit = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(window.remaining),
            "X-RateLimit-Reset": str(int(window.reset_time)),
            "X-RateLimit-Window": f"{_WINDOW}s",
        }
        if not allowed:
            wait = max(1, int(window.reset_time - time.time()) + 1)
            raise TooManyRequestsError(
                f"This key may send {limit} {kind} requests a minute; try again in {wait} s.",
                limit=limit,
                window=f"{_WINDOW}s",
                retry_after=wait,
                retry_after_seconds=wait,
                api_name=f"{request.method} {route}",
            )
