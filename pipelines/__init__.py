"""Turns texts into TFRecords, a vocabulary and a transform graph, and scores and verifies them."""
