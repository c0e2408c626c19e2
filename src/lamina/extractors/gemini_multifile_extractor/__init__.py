"""All files of an object as one document with one vector."""

from lamina.extractors.gemini_multifile_extractor.extractor import GeminiMultifileExtractor

EXTRACTOR = GeminiMultifileExtractor
