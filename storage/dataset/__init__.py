"""A dataset as a folder of Parquet files: what books and claims have in common."""
