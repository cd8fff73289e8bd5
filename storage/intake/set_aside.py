"""Collateral of rows that are set aside: how much of which asset, so that its money is counted."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.intake.checks import REASONS, Rows


@dataclass
class SetAside:
    """Collateral of an import that is not in the book, whose asset and quantity are known."""

    tables: list[pa.Table] = field(default_factory=list)

    def take(self, rows: Rows, asset: NDArray[np.int32], quantity: NDArray[np.float64]) -> None:
        """Keep what the rows of a batch that are set aside hold; ``asset`` is -1 if not known."""
        known = (asset >= 0) & np.isfinite(quantity) & (quantity >= 0.0)
        chosen = np.flatnonzero(rows.bad & known)
        if len(chosen):
            columns = [rows.reason[chosen], asset[chosen], quantity[chosen]]
            names = ["reason", "asset", "quantity"]
            self.tables.append(pa.table([pa.array(column) for column in columns], names=names))

    def sums(self) -> list[dict[str, Any]]:
        """Return, for each code and row of the book's assets, rows and units that are set aside."""
        if not self.tables:
            return []
        # One thread, or the last digit of a sum would depend on how many there are.
        grouped = pa.concat_tables(self.tables).group_by(["reason", "asset"], use_threads=False)
        sums = grouped.aggregate([("quantity", "count"), ("quantity", "sum")]).to_pylist()
        found = [
            {
                "code": REASONS[one["reason"]],
                "asset": one["asset"],
                "rows": one["quantity_count"],
                "quantity": one["quantity_sum"],
            }
            for one in sums
        ]
        return sorted(found, key=lambda one: (one["code"], one["asset"]))
