"""Scores any number of text files with a trained model."""
