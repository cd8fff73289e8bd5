"""Verify a published run: read again, summed again, and a sample of it computed again."""

from workers.verify.checks import Check, differences
from workers.verify.collateral import verify_collateral
from workers.verify.margin import ACCOUNTS, verify_margin
from workers.verify.reverse import verify_reverse
from workers.verify.stress import SCENARIOS, verify_stress

__all__ = [
    "ACCOUNTS",
    "SCENARIOS",
    "Check",
    "differences",
    "verify_collateral",
    "verify_margin",
    "verify_reverse",
    "verify_stress",
]
