"""Tables as inputs: CSV, TSV, JSON lines and Parquet, read by Arrow."""
