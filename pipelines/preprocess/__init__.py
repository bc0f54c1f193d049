"""Turns text files or tables into a dataset."""
