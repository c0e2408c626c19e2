"""Lamina's tests: real engines, real files, real HTTP."""
