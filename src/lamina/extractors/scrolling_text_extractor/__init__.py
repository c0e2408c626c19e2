"""Text on screen: text that moves through a video, and text that stands."""

from lamina.extractors.scrolling_text_extractor.extractor import ScrollingTextExtractor

EXTRACTOR = ScrollingTextExtractor
