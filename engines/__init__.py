"""Starts engines for Beam pipelines on this machine: Flink, Spark and Prism."""
