"""A stress run: scenarios in which accounts fail, are sold, and move prices by that."""
