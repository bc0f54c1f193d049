"""Scores any number of texts with a trained model."""
