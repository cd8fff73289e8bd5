"""The mathematics of margin: arrays in, arrays out; no files, no clock, no engine."""
