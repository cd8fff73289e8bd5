"""The volatility surface: one arbitrage-checked curve per expiry, and what lies between."""
