"""Passthrough: objects become documents as they are, or row by row with vectors they bring."""

from lamina.extractors.passthrough_extractor.extractor import PassthroughExtractor

EXTRACTOR = PassthroughExtractor
