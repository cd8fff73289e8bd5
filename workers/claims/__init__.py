"""Claims of a book's accounts: made up, and valued as one pool."""
