"""Stages that order documents, or rescale what orders them."""
