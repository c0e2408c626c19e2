"""Stages that add to documents from elsewhere. None is built yet."""
