"""Implements `python -m model.report`, which writes a page about a model."""
