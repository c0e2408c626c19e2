"""What sites ask of robots: `robots.txt` (RFC 9309), read once for each origin of a crawl."""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from protego import Protego

from lamina.core.errors import ValidationError
from lamina.ingest.fetch import Answer

MAX_BYTES: Final = 1 << 20
"""RFC 9309 wants at least 500 KiB to be read."""


class Robots:
    """Answers what `agent` may fetch. `ask` fetches a URL, redirects followed."""

    def __init__(self, ask: Callable[[str], Awaitable[Answer]], agent: str) -> None:
        self._ask = ask
        self._agent = agent
        self._known: dict[str, Protego | ValidationError] = {}

    async def allows(self, url: str) -> bool:
        """Whether the URL may be fetched: everything where there is no robots.txt (4xx).

        Raises `ValidationError` where the file cannot be read (5xx, no answer): nothing may be fetched then.
        """
        return bool((await self._rules(url)).can_fetch(url, self._agent))

    async def delay(self, url: str) -> float:
        """Seconds that its `Crawl-delay` wants between two requests."""
        return float((await self._rules(url)).crawl_delay(self._agent) or 0.0)

    async def _rules(self, url: str) -> Protego:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._known:
            try:
                self._known[origin] = await self._read(origin)
            except ValidationError as error:
                self._known[origin] = error
        found = self._known[origin]
        if isinstance(found, ValidationError):
            raise found
        return found

    async def _read(self, origin: str) -> Protego:
        answer = await self._ask(f"{origin}/robots.txt")
        if answer.status == 200:
            return Protego.parse(answer.content.decode("utf-8", "replace"))
        if answer.status == 429 or answer.status >= 500:
            raise ValidationError(
                f"The robots.txt of {origin} could not be read: the server answered with status "
                f"{answer.status}.",
                code="url_unreachable",
            )
        return Protego.parse("")
