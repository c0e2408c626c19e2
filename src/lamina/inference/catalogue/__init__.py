"""The models there are, one file for each family of capabilities.

A file names its entries `MODELS`, and in `DEFAULTS` which of them serves a capability where nothing
else is chosen. It holds facts only: what a model needs to run is imported when it is loaded.
"""
