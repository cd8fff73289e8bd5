"""Claims written down by hand for the tests."""

from typing import Any

import numpy as np

from risk.claims.tokens import Claims, TokenNames

USUAL: dict[str, Any] = {
    "account": 0,
    "encumbered": 0.0,
    "market": -1,
    "root": None,
    "proof": None,
    "height": 80,
    "standing": 0,
    "backing": -1,
}


def claims_of(names: TokenNames, *rows: dict[str, Any], accounts: int | None = None) -> Claims:
    """Claims in the order given, each on a root and shown by a proof of its own unless said."""
    full = [USUAL | row for row in rows]
    owner = [row["account"] for row in full]
    size = max(owner, default=-1) + 1 if accounts is None else accounts
    own = [[1, number] for number in range(1, len(full) + 1)]

    def column(name: str, dtype: type) -> Any:
        return np.array([row[name] for row in full], dtype=dtype)

    def words(name: str) -> Any:
        given = [row[name] or mine for row, mine in zip(full, own, strict=True)]
        return np.array(given, np.uint64).reshape(-1, 2)

    return Claims(
        offsets=np.searchsorted(owner, np.arange(size + 1)).astype(np.int64),
        token=np.array([names.token.index(row["token"]) for row in full], np.int32),
        quantity=column("quantity", np.float64),
        encumbered=column("encumbered", np.float64),
        market=column("market", np.int32),
        root=words("root"),
        proof=words("proof"),
        height=column("height", np.int64),
        standing=column("standing", np.int8),
        backing=column("backing", np.int64),
    )
