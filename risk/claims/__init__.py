"""Collateral as it is really held: claims on tokens over chains, protocols and bridges."""
