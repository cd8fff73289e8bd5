"""Scenarios: rows of named shocks over all risk factors."""
