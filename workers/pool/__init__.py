"""A collateral run: a published margin run and the claims of its accounts, valued as one pool."""
