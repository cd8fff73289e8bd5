"""Stress of the whole system: many accounts failing at once, and what their failing does."""
