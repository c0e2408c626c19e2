"""② Work that a process does again and again while it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from lamina.core.errors import UnavailableError

log = structlog.get_logger()


async def again_and_again(look: Callable[[], Awaitable[None]], seconds: float) -> NoReturn:
    """Do something, with so many seconds between two times; a failure is told, and ends nothing."""
    while True:
        try:
            await look()
        except UnavailableError:
            pass  # it is said wherever it matters
        except Exception:
            log.exception("not_looked_after", work=getattr(look, "__qualname__", repr(look)))
        await asyncio.sleep(seconds)
