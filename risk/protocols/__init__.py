"""Health of accounts under the rules of on-chain lending and perpetual protocols."""
