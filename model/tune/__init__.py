"""Searches for the best settings."""
