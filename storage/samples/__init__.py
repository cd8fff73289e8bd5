"""Real market and protocol data that ships with the package; NOTICE names its sources."""
