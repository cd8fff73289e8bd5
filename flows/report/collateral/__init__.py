"""The report of a collateral run: one HTML page that needs nothing but a browser."""

from flows.report.collateral.page import write_collateral_report
from flows.report.collateral.view import PoolView

__all__ = ["PoolView", "write_collateral_report"]
