"""Tables as inputs: CSV, TSV, JSON lines and Parquet, mostly read by Arrow."""
