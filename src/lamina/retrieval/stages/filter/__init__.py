"""Stages that find documents, or keep some of them."""
