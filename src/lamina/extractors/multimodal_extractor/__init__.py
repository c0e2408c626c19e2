"""Video, sound, pictures and text: one document for each segment."""

from lamina.extractors.multimodal_extractor.extractor import MultimodalExtractor

EXTRACTOR = MultimodalExtractor
