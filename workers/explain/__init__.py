"""Explain one account of a run: every number that its requirement is made of.

The account is computed again from the stored cube and the book, and must agree with what the run
stored, so an explanation is also a check. Under another methodology there is nothing to agree
with: the same book and prices are margined by its rules.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from risk.health import account_health
from risk.margin import HELD, AccountMargin, margin_accounts, measures_of
from risk.nesting import nest
from risk.netting import NETTING_KEYS
from storage.runs import Run
from storage.tables import MARGIN_MODES
from workers.call_rows import HEALTH_NAMES
from workers.collateral import counted_assets
from workers.explain.by_leg import rules_of_legs, sensitivities_of
from workers.explain.health import health_of
from workers.explain.held import collateral_of, held_because, positions_of
from workers.explain.model_risk import model_risk_of
from workers.explain.risk import charges_of, legs_of, netting_sets_of, scan_of, units_of
from workers.explain.source import source_of, source_under
from workers.explain.wrong_way import wrong_way_of
from workers.rule_books import mode_of, rule_book_of
from workers.shards import Shard
from workers.tasks import read_holdings

CHECKED = ("status", "margin", "risk_measure", "equity", "requirement", "maintenance", "excess")


class CannotExplain(ValueError):
    """A number is not the one that was stored."""


def explain_account(run: Run, account: str, methodology: str | None = None) -> dict[str, Any]:
    """Return positions, collateral, scenarios, legs and layers of one account.

    ``methodology`` names other rules than those of the run.

    Raises:
        BookChanged: the book is not the one that the run used.
        CannotExplain: a number is not the one that was stored.
        AccountUnknown: the book has no account of that name.
        UnknownMethodology: neither a shipped name nor a file.
    """
    source = source_of(run) if methodology is None else source_under(run, methodology)
    book, rules = source.book, source.methodology
    row = book.account_row(account)
    table = book.account_table(row, row + 1)
    mode = int(table["margin_mode"][0].as_py())
    assets = counted_assets(book.assets(), run.manifest["index"], rules.collateral)
    lot_size = run.instruments["lot_size"].values
    holdings = read_holdings(book, Shard(0, row, row + 1), lot_size, assets.value, assets.priced)
    measures = measures_of(rules, source.scenarios["origin"].values.tolist())
    margin = margin_accounts(holdings, source.revaluation, rules, measures)
    if source.stored:
        _require_stored(run, account, row, margin)
    held = int(margin.status[0]) == HELD
    explained: dict[str, Any] = {
        "run_id": run.run_id,
        "account": account,
        "member": book.members()["member"][table["member"][0].as_py()].as_py(),
        "margin_mode": mode_of(rules, MARGIN_MODES[mode]),
        "methodology": methodology or run.manifest["settings"]["methodology"],
        "rule_book": rule_book_of(rules),
        "status": "held back" if held else "margined",
        "held_because": held_because(run, book, row, source.revaluation.priced) if held else [],
        "collateral": collateral_of(source, row, assets),
        "positions": positions_of(run, book, holdings.instrument, holdings.quantity),
    }
    if held:
        return explained
    key = getattr(rules.netting, MARGIN_MODES[mode])
    nested = nest(
        holdings.offsets,
        holdings.instrument,
        np.array([NETTING_KEYS.index(key)], dtype=np.int8),
        source.revaluation.order,
        rules.scan,
    )
    if rules.scan is None:
        explained["netting_sets"] = netting_sets_of(
            source, key, measures, holdings.instrument, holdings.quantity
        )
        explained["sensitivities"] = sensitivities_of(source, key, holdings)
    else:
        explained["units"] = units_of(source, key, holdings, nested)
        explained["scan"] = scan_of(source, key, holdings, nested, explained["units"])
    return explained | {
        "model_risk": model_risk_of(rules, margin),
        "wrong_way": wrong_way_of(source, holdings, measures),
        "charges": charges_of(source, holdings, nested),
        "buffers": [buffer.model_dump() for buffer in rules.buffers],
        "legs": _ruled(legs_of(source, holdings, measures), rules_of_legs(source, holdings)),
        "layers": [
            {"layer": layer, "amount": float(amount)}
            for layer, amount in zip(rules.layers, margin.margin[0], strict=True)
        ],
        "collateral_value": float(margin.collateral_value[0]),
        "position_value": float(margin.position_value[0]),
        "equity": float(margin.equity[0]),
        "requirement": float(margin.requirement[0]),
        "asked_of_collateral": float(
            margin.requirement[0]
            - margin_accounts(
                replace(holdings, assets=None), source.revaluation, rules, measures
            ).requirement[0]
        ),
        "maintenance": float(margin.maintenance[0]),
        "health": HEALTH_NAMES[
            account_health(margin.equity, margin.requirement, margin.maintenance, rules.health)[0]
        ],
        "protocol_health": health_of(source, holdings, assets),
        "excess": float(margin.excess[0]),
        "shortfall": max(0.0, -float(margin.excess[0])),
    }


def _ruled(legs: list[dict[str, Any]], rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return legs with their rules, where the methodology has rules by leg."""
    return [leg | {"rule": rule} for leg, rule in zip(legs, rules, strict=True)] if rules else legs


def _require_stored(run: Run, account: str, row: int, margin: AccountMargin) -> None:
    stored = run.accounts.isel(account=row).load()
    for name in CHECKED:
        if not np.array_equal(getattr(margin, name)[0], stored[name].values, equal_nan=True):
            raise CannotExplain(
                f"account {account}: {name} is {getattr(margin, name)[0]} when computed again and "
                f"{stored[name].values} as stored in {run.run_id}; verify the run's inputs"
            )
