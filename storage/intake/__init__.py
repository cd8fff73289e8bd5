"""Books and markets from outside: every row is checked, and bad ones are set aside by name."""
