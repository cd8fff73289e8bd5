"""Bytes in, bytes out: books, markets and runs, with names, dtypes and units; no risk."""
