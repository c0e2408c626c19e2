"""Whatever a file is, taken apart into documents of one space."""

from lamina.extractors.universal_extractor.extractor import UniversalExtractor

EXTRACTOR = UniversalExtractor
