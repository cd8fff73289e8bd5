"""Reverse stress of a margin run: the most plausible shock that exhausts a resource."""
