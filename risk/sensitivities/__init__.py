"""Margin from sensitivities: delta, vega and curvature by bucket."""
