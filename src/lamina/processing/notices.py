"""② What a URL is told when a batch ends, by whichever process gets to it."""

from typing import Final

import orjson
import structlog

from lamina.core.errors import UnavailableError, ValidationError
from lamina.core.types import Json, JsonObject
from lamina.ingest.fetch import Fetcher
from lamina.processing.batches import Batch
from lamina.processing.durable import Durable, StepFailedError

log = structlog.get_logger()

NOTICE: Final = "notice"


class Notices:
    """Posts in workflows of their own: a receiver that is slow or away holds no batch up."""

    def __init__(self, durable: Durable, fetcher: Fetcher) -> None:
        self._durable = durable
        self._fetcher = fetcher
        durable.register(NOTICE, self._deliver)

    def _deliver(self, url: str, notice: JsonObject) -> None:
        try:
            self._durable.step("post", lambda: self._post(url, notice))
        except StepFailedError as failure:
            log.warning("notice_not_delivered", batch_id=notice["batch_id"], error=failure.reason)

    async def _post(self, url: str, notice: JsonObject) -> None:
        """Raise `UnavailableError` when it may go better at the next attempt, else `ValidationError`."""
        headers = {"Content-Type": "application/json"}
        try:
            status = await self._fetcher.post(url, orjson.dumps(notice), headers=headers, field="webhook_url")
        except ValidationError as error:
            if error.code == "url_unreachable":
                raise UnavailableError(error.message) from error
            raise
        if status >= 500 or status in _COME_AGAIN:
            raise UnavailableError(f"The URL answered with status {status}.")
        if status >= 300:
            raise ValidationError(f"The URL answered with status {status}.", field="webhook_url")


_COME_AGAIN: Final = frozenset({408, 425, 429})


def notice_of(batch: Batch, reason: str | None) -> list[Json] | None:
    """Where a batch that has ended is to be told of, and what; None if nowhere."""
    if batch.webhook_url is None or batch.progress is None:
        return None
    shown = {"batch_id", "bucket_id", "task_id", "status", "failed_object_count", "progress"}
    notice: JsonObject = {
        **batch.model_dump(mode="json", include=shown),
        "failure_reason": reason,
        "documents_written": batch.progress.documents_written,
        "completed_at": batch.updated_at.isoformat(),
    }
    return [batch.webhook_url, notice]
