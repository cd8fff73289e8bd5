"""Collateral as it is really held: claims on chains, in protocols and over bridges, as one pool."""
