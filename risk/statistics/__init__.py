"""Margin from distributions in closed form: lognormal returns, quadratic portfolios."""
