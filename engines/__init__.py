"""Brings up engines that Beam's pipelines can run on: Flink, Spark and Prism, on this machine."""
