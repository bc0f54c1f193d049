"""Benchmarks of this project, side by side with the usual alternatives."""
