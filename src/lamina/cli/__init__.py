"""The commands: `serve` starts a server, the others are thin clients of its HTTP API."""
