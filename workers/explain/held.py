"""What an account holds, and why it may be held back."""

from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.book import Book
from storage.codes import CODES
from storage.runs import Run
from workers.terms import CASH


def held_because(run: Run, book: Book, row: int, margined: NDArray[np.bool_]) -> list[str]:
    """Return each reason why an account is not margined, with what to do about it.

    ``margined`` ``(instrument,)`` is false where a price, or a rule for the instrument, is missing.
    """
    reasons = book.held_reasons()
    codes = reasons.filter(pc.equal(reasons["account"], row))["code"].to_pylist()
    found = [
        f"{code}, a row of the account is in quarantine"
        + (f": {CODES[code].action}" if code in CODES else "")
        for code in sorted(set(codes))
    ]
    priced = run.instruments["priced"].values.astype(np.bool_)
    held = book.position_slice(row, row + 1).instrument
    names = book.instruments()["instrument"]
    found += [
        f"PRICE_MISSING, {names[int(at)].as_py()} has no price in the market of the run, so its "
        "value is not known: give the market a quote or a surface for it, or take the position out"
        for at in held[~priced[held]]
    ]
    found += [
        f"RULE_MISSING, {names[int(at)].as_py()} is under no rule of the methodology: give it a "
        "rule for such instruments, or take the position out"
        for at in held[priced[held] & ~margined[held]]
    ]
    return found or ["PRICE_MISSING, an asset of its collateral has no price in the market"]


def collateral_of(
    run: Run, book: Book, row: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[dict[str, Any]]]:
    """Return the value of a unit of each asset, whether it has one, and what the account holds."""
    assets = book.assets()
    price = {CASH: 1.0} | run.manifest["index"]
    underlying = assets["underlying"].to_pylist()
    haircut = assets["haircut"].to_numpy()
    priced = np.array([name in price for name in underlying])
    value = np.array([price.get(name, 0.0) for name in underlying]) * (1.0 - haircut)
    held = book.collateral_slice(row, row + 1)
    rows = [
        {
            "asset": assets["asset"][asset].as_py(),
            "chain": assets["chain"][asset].as_py(),
            "protocol": assets["protocol"][asset].as_py(),
            "quantity": quantity,
            "price": price.get(underlying[asset]),
            "haircut": float(haircut[asset]),
            "value": quantity * float(value[asset]),
        }
        for asset, quantity in zip(held.asset.tolist(), held.quantity.tolist(), strict=True)
    ]
    return value, priced, rows


def positions_of(
    run: Run, book: Book, instrument: NDArray[np.int32], quantity: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return terms, prices and value of each position."""
    table = book.instruments()
    names = ("forward", "volatility", "priced", "value")
    stored = {name: run.instruments[name].values for name in names}
    return [
        {
            "instrument": table["instrument"][row].as_py(),
            "kind": table["kind"][row].as_py(),
            "settlement": table["settlement"][row].as_py(),
            "quantity": contracts,
            "multiplier": table["multiplier"][row].as_py(),
            "forward": float(stored["forward"][row]),
            "volatility": float(stored["volatility"][row]),
            "priced": bool(stored["priced"][row]),
            "value_of_one": float(stored["value"][row]),
            "value": contracts * float(stored["value"][row]) + 0.0,
        }
        for row, contracts in zip(instrument.tolist(), quantity.tolist(), strict=True)
    ]
