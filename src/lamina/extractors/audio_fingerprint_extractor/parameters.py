"""The parameters of `audio_fingerprint_extractor`, as the contract has them."""

from typing import Literal

from pydantic import Field

from lamina.extractors.base import ExtractorParameters


class AudioFingerprintExtractorParameters(ExtractorParameters):
    """How a sound is cut into segments."""

    extractor_type: Literal["audio_fingerprint_extractor"] = Field(
        default="audio_fingerprint_extractor",
        description="Names the extractor that these parameters are for.",
    )
    segment_duration_sec: float = Field(
        default=5.0,
        ge=1.0,
        le=30.0,
        description="Length of a segment in seconds. A clip is found by what it shares with one segment, so "
        "segments should be about as long as the clips that are looked for.",
    )
    segment_hop_sec: float = Field(
        default=2.5,
        ge=0.5,
        le=15.0,
        description="Seconds from the beginning of one segment to that of the next. Half of the length makes "
        "segments overlap, so that any clip lies mostly in one; a hop above the length leaves gaps.",
    )
    sample_rate: int = Field(
        default=48_000,
        description="Accepted, and of no effect: each model hears the sound at the rate it was made for.",
    )
    normalize_embeddings: bool = Field(
        default=True,
        description="Accepted, and of no effect: vectors are compared by cosine and have length one.",
    )
    max_audio_length_sec: float = Field(
        default=120.0,
        ge=1.0,
        le=600.0,
        description="Seconds from the beginning that are taken apart; what follows is left out.",
    )
