"""The arrays and datasets that a stress run publishes."""

from dataclasses import fields
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.claims.issuers import TokenIssuers
from risk.summation import BLOCK_ACCOUNTS
from risk.systemic.bearing import BorneLosses, bear_losses
from risk.systemic.cover import cover, group_losses
from storage.book import Book
from workers.stress.cascade import Cascade
from workers.stress.network import issued_arrays
from workers.stress.work import StressWork

Floats = NDArray[np.float64]


def stored_arrays(
    cascade: Cascade, rounds: int, issued: TokenIssuers | None = None
) -> dict[str, NDArray[np.generic]]:
    """Return a batch as it is stored: rounds padded to as many as there may be."""
    price = np.moveaxis(cascade.price, 0, -1)
    missing = rounds - price.shape[1]
    later = np.repeat(price[:, -1:], missing, axis=1)
    return {
        "sold": _padded(cascade.sold, rounds, np.nan),
        "liquidated": _padded(cascade.liquidated, rounds, -1),
        "price": np.concatenate([price, later], axis=1),
        "rounds": cascade.rounds,
        "ended": cascade.ended.astype(np.int8),
        "sold_by_instrument": cascade.sold_by_instrument.T,
        "taken_by_instrument": cascade.taken_by_instrument.T,
        "vault_pnl": cascade.vault_pnl,
        "closed_by_winners": cascade.winners.closed.T,
        "given_up": cascade.winners.given_up.T,
        "received_by_winners": cascade.winners.received,
        "winners": cascade.winners.accounts,
        "winner_account": cascade.winners.account,
        "winner_amount": cascade.winners.amount,
        "lost_alone": cascade.first.lost,
        "lost": cascade.last.lost,
        "loss": cascade.loss,
        "uncovered_alone": cascade.first.uncovered.T,
        "uncovered": cascade.last.uncovered.T,
        "defaulted": cascade.last.defaulted.T,
        "touched": cascade.last.touched,
        "gained": cascade.last.gained_by_group.T,
        **issued_arrays(cascade, issued),
    }


def _padded(values: NDArray[Any], rounds: int, filler: float) -> NDArray[Any]:
    missing = rounds - values.shape[1]
    return np.pad(values, ((0, 0), (0, missing)), constant_values=filler)


def plan_dataset(work: StressWork) -> xr.Dataset:
    """Return the scenarios that were gone through, and what the instruments are."""
    scenarios = work.scenarios
    shocks = {
        field.name: (("scenario", "coin"), getattr(scenarios.shocks, field.name))
        for field in fields(scenarios.shocks)
    }
    texts = {
        name: (("scenario",), np.array(list(getattr(scenarios, name)), dtype=object))
        for name in ("title", "origin")
    }
    kinds = {
        name: (("instrument",), np.array(work.table[name].to_pylist(), dtype=object))
        for name in ("underlying", "kind")
    }
    return xr.Dataset(
        {
            **shocks,
            **texts,
            **kinds,
            "depth": (("scenario",), scenarios.depth),
            "notional": (("instrument",), work.notional),
            "delta": (("instrument",), work.ground.delta),
        },
        coords={
            "scenario": np.array(list(scenarios.name), dtype=object),
            "coin": np.array(list(scenarios.underlyings), dtype=object),
        },
    )


def borne_losses(
    work: StressWork, uncovered: Floats, vault_pnl: Floats, given_up: Floats
) -> BorneLosses:
    """Return who bears what a cascade comes to: of members, the vault, and those who gained.

    ``uncovered`` and ``given_up`` ``(member, scenario)``, ``vault_pnl`` ``(scenario,)``, all USD.
    """
    return bear_losses(
        work.identity.named.plan,
        uncovered,
        np.maximum(-vault_pnl, 0.0),
        work.identity.book.members()["default_fund"].to_numpy(),
        np.maximum(given_up.sum(axis=0), 0.0),
    )


def totals_dataset(work: StressWork, stored: xr.Dataset) -> xr.Dataset:
    """Return what each scenario comes to for the system, and who bears it."""
    members = work.identity.book.members()
    borne = borne_losses(
        work,
        stored["uncovered"].values.T,
        stored["vault_pnl"].values,
        stored["given_up"].values.T,
    )
    one, two = (cover(borne.beyond.T, number).by_scenario for number in (1, 2))
    by_owner = group_losses(borne.beyond.T, work.owner, int(work.owner.max()) + 1)
    owner_one, owner_two = (cover(by_owner, number).by_scenario for number in (1, 2))
    return xr.Dataset(
        {
            "shortfall": ("scenario", borne.loss),
            "shortfall_alone": ("scenario", stored["uncovered_alone"].values.sum(axis=1)),
            "defaulted_members": ("scenario", borne.defaulted.sum(axis=0)),
            "sold": ("scenario", np.nansum(stored["sold"].values, axis=1)),
            "borne": (("scenario", "layer"), borne.layers.T),
            "unborne": ("scenario", borne.unborne),
            "borne_by_member": (
                ("scenario", "layer", "member"),
                borne.by_member.T.swapaxes(1, 2),
            ),
            "beyond_contribution": (("scenario", "member"), borne.beyond.T),
            "cover_1": ("scenario", one),
            "cover_2": ("scenario", two),
            "cover_1_by_owner": ("scenario", owner_one),
            "cover_2_by_owner": ("scenario", owner_two),
            "default_fund": ("member", members["default_fund"].to_numpy()),
            "winner_name": (
                ("scenario", "place"),
                account_names(work.identity.book, stored["winner_account"].values),
            ),
        },
        coords={"layer": np.array(borne.names, dtype=object)},
    )


def account_names(book: Book, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return names of accounts by their rows, of any shape; an empty one where a row is -1."""
    names: dict[int, str] = {-1: ""}
    known = np.unique(rows[rows >= 0])
    for block in np.unique(known // BLOCK_ACCOUNTS).tolist():
        start = block * BLOCK_ACCOUNTS
        stop = min(start + BLOCK_ACCOUNTS, book.accounts)
        table = book.account_table(start, stop, ["account"])["account"]
        own = known[known // BLOCK_ACCOUNTS == block].tolist()
        names |= {row: table[row - start].as_py() for row in own}
    found = np.array([names[row] for row in rows.ravel().tolist()], dtype=object)
    return found.reshape(rows.shape)
