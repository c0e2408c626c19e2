"""What a process needs to know to fetch URLs: small enough to send to every worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # workers read no settings, so they need not import them
    from lamina.core.settings import Settings


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """The part of the settings that fetching depends on.

    `private_addresses` lets URLs lead to private, loopback and link-local addresses; `timeout` is for one
    URL, `call_timeout` for whatever an extractor does in one call, both in seconds; `max_bytes` is the
    largest blob.
    """

    private_addresses: bool = False
    timeout: float = 30.0
    max_redirects: int = 5
    max_bytes: int = 5 << 30
    call_timeout: float = 600.0

    @classmethod
    def of(cls, settings: Settings) -> FetchSettings:
        """The fetcher's part of an installation's settings."""
        return cls(
            private_addresses=settings.fetch_private_addresses,
            timeout=settings.fetch_timeout,
            max_redirects=settings.fetch_max_redirects,
            max_bytes=settings.max_blob_bytes,
            call_timeout=settings.extraction_timeout,
        )
