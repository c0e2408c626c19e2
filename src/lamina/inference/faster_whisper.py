"""Larger Whispers from a hub, run by faster-whisper (MIT) on CTranslate2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from lamina.core.errors import MissingExtraError, UnavailableError
from lamina.inference.base import ModelCard, Samples, Transcript, Utterance, Word
from lamina.inference.packages import PackageFile

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

    from lamina.inference.registry import Models


@dataclass(frozen=True, slots=True)
class FasterWhisperModel:
    """A model that faster-whisper downloads by its name there, or finds in `<models_dir>/<card.name>/`."""

    card: ModelCard
    repository: str
    files: Sequence[PackageFile] = ()

    def check(self, models: Models) -> str:
        """Where it is or will come from; `MissingExtraError` without the extra."""
        if find_spec("faster_whisper") is None:
            raise MissingExtraError(f"The model '{self.card.name}'", "hub")
        folder = models.settings.models_dir / self.card.name
        return f"in {folder}" if folder.is_dir() else f"downloaded from {self.repository} when it is needed"

    def load(self, models: Models) -> FasterWhisper:
        """The model, on the GPU where there is one."""
        try:
            from faster_whisper import WhisperModel
        except ImportError:
            raise MissingExtraError(f"The model '{self.card.name}'", "hub") from None
        folder = models.settings.models_dir / self.card.name
        try:
            model = WhisperModel(
                str(folder) if folder.is_dir() else self.repository,
                compute_type="default" if self.card.needs_gpu else "auto",
                cpu_threads=models.settings.threads,
                download_root=str(models.settings.models_dir / "hub"),
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise UnavailableError(
                f"Model '{self.card.name}' could not be loaded from {self.repository}: {error}. "
                f"Its files can also be put into {folder}."
            ) from error
        return FasterWhisper(self.card, model)


class FasterWhisper:
    """Transcribes sounds of any length, 16 kHz."""

    def __init__(self, card: ModelCard, model: WhisperModel) -> None:
        self.card = card
        self._model = model

    def transcribe(self, sound: Samples, *, language: str | None = None) -> Transcript:
        """What is said; empty where nobody speaks."""
        segments, about = self._model.transcribe(
            sound,
            language=language,
            word_timestamps=True,
            vad_filter=True,
            condition_on_previous_text=False,
        )
        utterances = [
            Utterance(
                one.text.strip(),
                one.start,
                one.end,
                tuple(Word(word.word.strip(), word.start, word.end) for word in one.words or ()),
            )
            for one in segments
        ]
        return Transcript(utterances, about.language if utterances else None)


def _card(size: str, origin: str, size_bytes: int, description: str) -> ModelCard:
    return ModelCard(
        name=f"faster_whisper_{size}_v1",
        capability="transcribe",
        dimension=0,
        source="hub",
        licence="MIT",
        origin=origin,
        description=description,
        size_bytes=size_bytes,
        modality="audio",
    )


FASTER_WHISPER_MODELS: Final = (
    FasterWhisperModel(
        _card("small", "Systran/faster-whisper-small", 486_000_000, "Whisper small, in full precision."),
        "Systran/faster-whisper-small",
    ),
    FasterWhisperModel(
        _card(
            "large_v3_turbo",
            "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
            1_620_000_000,
            "The large Whisper with a small decoder: the best that a machine without a GPU can be asked for.",
        ),
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    ),
    FasterWhisperModel(
        _card(
            "large_v3",
            "Systran/faster-whisper-large-v3",
            3_090_000_000,
            "The large Whisper; wants a GPU.",
        ),
        "Systran/faster-whisper-large-v3",
    ),
)
