"""Stress of a whole system: clearing, contagion, fire sales, waterfalls, deleveraging."""
