"""Scenario scans: the worst of weighted scenarios, unit of risk by unit of risk."""
