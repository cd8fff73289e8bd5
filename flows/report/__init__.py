"""The report of a run: one HTML page that needs nothing but a browser."""

from flows.report.page import write_report
from flows.report.view import RunView

__all__ = ["RunView", "write_report"]
