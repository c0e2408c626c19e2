"""Pictures and pages by late interaction: several vectors each."""

from lamina.extractors.colqwen_extractor.extractor import ColqwenExtractor

EXTRACTOR = ColqwenExtractor
