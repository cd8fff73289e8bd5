"""Option values and the volatilities that they imply."""
