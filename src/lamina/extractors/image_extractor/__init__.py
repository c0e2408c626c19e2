"""Pictures and pages of PDFs as documents."""

from lamina.extractors.image_extractor.extractor import ImageExtractor

EXTRACTOR = ImageExtractor
