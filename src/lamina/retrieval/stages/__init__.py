"""The stages of retriever pipelines: one folder each, by category. A folder is a plug-in."""
