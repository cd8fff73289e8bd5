"""What an account holds, and why it may be held back."""

from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from risk.collateral import NO_RULE, match_collateral
from risk.weights import weighted_requirement
from storage.book import Book
from storage.codes import CODES
from storage.quarantine import said
from storage.runs import Run
from workers.collateral import CountedAssets
from workers.explain.source import Source


def held_because(run: Run, book: Book, row: int, margined: NDArray[np.bool_]) -> list[str]:
    """Return each reason why an account is not margined, with what to do about it.

    ``margined`` ``(instrument,)`` is false where a price, or a rule for the instrument, is missing.
    """
    name = str(book.account_table(row, row + 1)["account"][0].as_py())
    found = [said(one) for one in book.findings_of(name)]
    reasons = book.held_reasons()
    codes = reasons.filter(pc.equal(reasons["account"], row))["code"].to_pylist()
    found += [
        f"{code}, a row of the account is in quarantine"
        + (f": {CODES[code].action}" if code in CODES else "")
        for code in sorted(set(codes))
        if not any(one.startswith(f"{code},") for one in found)
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


def collateral_of(source: Source, row: int, assets: CountedAssets) -> list[dict[str, Any]]:
    """Return the assets of an account's collateral, and what each counts for.

    Where the methodology has rules for collateral each has its ``rule``: the weights that hold at
    the amount held, what does not count, and the source; ``None`` where no rule names the asset.
    """
    rules, book = source.methodology.collateral, source.book
    table = book.assets()
    held = book.collateral_slice(row, row + 1)
    matched = match_collateral(rules, table["asset"].to_pylist(), table["chain"].to_pylist())
    rows = [
        {
            "asset": table["asset"][asset].as_py(),
            "chain": table["chain"][asset].as_py(),
            "protocol": table["protocol"][asset].as_py(),
            "quantity": quantity,
            "price": float(assets.price[asset]) if assets.priced[asset] else None,
            "haircut": float(assets.haircut[asset]),
            "value": quantity * float(assets.value[asset]),
        }
        for asset, quantity in zip(held.asset.tolist(), held.quantity.tolist(), strict=True)
    ]
    if assets.weights is None:
        return rows
    initial, maintenance = weighted_requirement(held.asset, held.quantity, assets.weights)
    for at, one in enumerate(rows):
        number = int(matched[held.asset[at]])
        value = one["value"]
        one["rule"] = None if number == NO_RULE else rules[number].source
        named = [rule for rule in rules if one["asset"] in rule.assets]
        one["named_on"] = [chain for rule in named for chain in rule.chains or ()]
        one["initial_haircut"] = float(initial[at])
        one["maintenance_haircut"] = float(maintenance[at])
        one["initial_weight"] = 1.0 - float(initial[at]) / value if value else 0.0
        one["maintenance_weight"] = 1.0 - float(maintenance[at]) / value if value else 0.0
    return rows


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
