"""Text by late interaction: a vector for each token."""

from lamina.extractors.colbert_extractor.extractor import ColbertExtractor

EXTRACTOR = ColbertExtractor
