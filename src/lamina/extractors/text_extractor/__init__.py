"""Text: splits it and embeds every piece."""

from lamina.extractors.text_extractor.extractor import TextExtractor

EXTRACTOR = TextExtractor
