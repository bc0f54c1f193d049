"""Turns a folder of text files into a dataset."""
