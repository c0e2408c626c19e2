"""The contract, held against a running server by the official SDK and by hand."""
