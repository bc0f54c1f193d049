"""Trains an LSTM classifier on TFRecords and exports it as a SavedModel that takes raw text."""
