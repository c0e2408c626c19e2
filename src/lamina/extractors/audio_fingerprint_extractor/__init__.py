"""Sound: what it sounds like, who speaks, and which recording it is."""

from lamina.extractors.audio_fingerprint_extractor.extractor import AudioFingerprintExtractor

EXTRACTOR = AudioFingerprintExtractor
