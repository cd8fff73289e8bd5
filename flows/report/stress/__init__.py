"""The page of a stress run: cascades, who bears them, what was sold."""

from flows.report.stress.page import write_stress_report
from flows.report.stress.view import StressView

__all__ = ["StressView", "write_stress_report"]
