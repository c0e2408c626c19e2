"""Documents of pages: takes them apart into blocks with their places."""

from lamina.extractors.document_graph_extractor.extractor import DocumentGraphExtractor

EXTRACTOR = DocumentGraphExtractor
