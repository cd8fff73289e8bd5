"""Proofs of holdings: what a chain's state, an owner's key or an attestor's key shows."""
