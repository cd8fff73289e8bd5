"""Every array that a run stores, declared once: name, dims, dtype, unit, meaning.

Writers allocate from these declarations and readers label with them. An array whose first
dimension is ``instrument``, ``account`` or ``block`` is written by workers, one chunk a shard;
the rest are small and written by the coordinator.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Variable:
    """One stored array."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    unit: str
    meaning: str

    @property
    def fill(self) -> float | int:
        """What an element reads as before it is written: never a number that could be margin."""
        dtype = np.dtype(self.dtype)
        return float("nan") if dtype.kind == "f" else int(np.iinfo(dtype).min)


USD = "USD"
ONE = "1"

CUBE = (
    Variable("pnl", ("instrument", "scenario"), "float64", USD,
             "P&L of one contract under the scenario, gain positive"),
)  # fmt: skip

INSTRUMENTS = (
    Variable("forward", ("instrument",), "float64", USD, "forward, or index, or perpetual's mark"),
    Variable("volatility", ("instrument",), "float64", ONE,
             "annual implied volatility; zero unless an option"),
    Variable("value", ("instrument",), "float64", USD,
             "what one contract is worth; zero for what is settled to mark"),
    Variable("settlement", ("instrument",), "int32", ONE, "code of the settlement currency"),
    Variable("lot_size", ("instrument",), "float64", "contract", "contracts in one lot"),
    Variable("priced", ("instrument",), "bool", ONE, "whether every input was there"),
)  # fmt: skip

ACCOUNTS = (
    Variable("margin", ("account", "layer"), "float64", USD, "amount of one layer, non-negative"),
    Variable("risk_measure", ("account", "measure"), "float64", USD,
             "risk measure summed over the account's netting sets, loss positive"),
    Variable("collateral_value", ("account",), "float64", USD, "what collateral adds to equity"),
    Variable("position_value", ("account",), "float64", USD, "market value of options and spot"),
    Variable("equity", ("account",), "float64", USD, "collateral value plus position value"),
    Variable("requirement", ("account",), "float64", USD,
             "sum of the layers: what it takes to open positions"),
    Variable("maintenance", ("account",), "float64", USD,
             "what it takes to keep positions; liquidation begins below it"),
    Variable("excess", ("account",), "float64", USD, "equity less requirement"),
    Variable("binding_scenario", ("account",), "int32", ONE,
             "row of the scenario that binds the costliest netting set, -1 if none does"),
    Variable("netting_sets", ("account",), "int32", ONE, "number of netting sets"),
    Variable("positions", ("account",), "int32", ONE, "number of positions"),
    Variable("status", ("account",), "int8", ONE, "0 margined, 1 held back"),
)  # fmt: skip

BLOCKS = (
    Variable("contribution", ("block", "instrument"), "float64", USD,
             "share of the requirement's scenario layers that positions in the instrument cause, "
             "an exact sum of multiples of 2^-10"),
    Variable("system_loss", ("block", "scenario"), "float64", USD,
             "losses of the accounts that lose, after netting within each account, an exact sum of "
             "multiples of 2^-10"),
    Variable("uncovered_loss", ("block", "scenario"), "float64", USD,
             "losses beyond equity: what falls on the default waterfall, an exact sum of multiples "
             "of 2^-10"),
    Variable("accounts_under_water", ("block", "scenario"), "int64", ONE,
             "accounts whose loss exceeds their equity"),
)  # fmt: skip

GROUPS = ("underlying", "venue", "protocol", "chain")

FOLDS = (
    Variable("loss", ("scenario",), "float64", USD, "system loss: sum over blocks"),
    Variable("uncovered", ("scenario",), "float64", USD, "uncovered loss: sum over blocks"),
    Variable("under_water", ("scenario",), "int64", ONE, "accounts under water"),
    Variable("member_pnl", ("member", "scenario"), "float64", USD,
             "P&L of all positions of the member's accounts; sums to zero over members"),
    Variable("member_margin", ("member", "layer"), "float64", USD,
             "margin of the member's accounts"),
    Variable("member_maintenance", ("member",), "float64", USD,
             "what it takes to keep the positions of the member's accounts"),
    Variable("member_equity", ("member",), "float64", USD, "equity of the member's accounts"),
    Variable("member_shortfall", ("member",), "float64", USD,
             "requirement beyond equity, summed over the accounts that fall short"),
    Variable("member_accounts", ("member",), "int64", ONE, "accounts margined"),
    Variable("member_accounts_short", ("member",), "int64", ONE, "accounts that fall short"),
    Variable("member_accounts_below_maintenance", ("member",), "int64", ONE,
             "accounts whose equity is below what it takes to keep their positions"),
    *(
        variable
        for group in GROUPS
        for variable in (
            Variable(f"{group}_requirement", (group,), "float64", USD,
                     "share of the scenario layers that positions in the group cause"),
            Variable(f"{group}_transfer", (group, "scenario"), "float64", USD,
                     "what losing positions pay winning ones in the scenario"),
            Variable(f"{group}_open_interest", (group,), "float64", USD,
                     "one side of all open contracts at the index price"),
        )
    ),
    Variable("requirement_count", ("requirement_bucket",), "int64", ONE,
             "accounts whose requirement falls in the bucket"),
    Variable("utilisation_count", ("utilisation_bucket",), "int64", ONE,
             "accounts whose requirement over equity falls in the bucket"),
    Variable("top_requirement_account", ("top_requirement",), "int64", ONE, "account row"),
    Variable("top_requirement_name", ("top_requirement",), "object", ONE, "account"),
    Variable("top_requirement_member", ("top_requirement",), "object", ONE, "member"),
    Variable("top_requirement_amount", ("top_requirement",), "float64", USD, "requirement"),
    Variable("top_requirement_equity", ("top_requirement",), "float64", USD, "equity"),
    Variable("top_shortfall_account", ("top_shortfall",), "int64", ONE, "account row"),
    Variable("top_shortfall_name", ("top_shortfall",), "object", ONE, "account"),
    Variable("top_shortfall_member", ("top_shortfall",), "object", ONE, "member"),
    Variable("top_shortfall_amount", ("top_shortfall",), "float64", USD, "shortfall"),
    Variable("top_shortfall_requirement", ("top_shortfall",), "float64", USD, "requirement"),
    Variable("top_shortfall_equity", ("top_shortfall",), "float64", USD, "equity"),
    Variable("concentration", ("top_share",), "float64", ONE,
             "share of the requirement held by the largest accounts"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunKind:
    """What runs of one kind store, by group.

    ``name`` is kept with the store, which holds runs of one kind only. ``written`` by workers, in
    chunks; of these, ``markers`` names the array whose first element tells whether a chunk has been
    written. ``small`` groups are written at the end, as they are.
    """

    name: str
    written: Mapping[str, tuple[Variable, ...]]
    markers: Mapping[str, str]
    small: tuple[str, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Every group, those of workers first."""
        return (*self.written, *self.small)


MARGIN = RunKind(
    name="margin",
    written={"cube": CUBE, "accounts": ACCOUNTS, "blocks": BLOCKS},
    markers={"cube": "pnl", "accounts": "status"},
    small=("folds", "scenarios", "instruments", "market"),
)
"""A margin run."""

POOL_ACCOUNTS = (
    Variable("value", ("account",), "float64", USD,
             "what its claims would fetch, less what it owes"),
    Variable("credit", ("account",), "float64", USD, "what its claims count for now"),
    Variable("position_value", ("account",), "float64", USD, "market value of options and spot"),
    Variable("requirement", ("account",), "float64", USD,
             "worst weighted loss of positions and of credit together"),
    Variable("requirement_alone", ("account",), "float64", USD,
             "worst weighted loss of the positions under the same scenarios"),
    Variable("requirement_margined", ("account",), "float64", USD,
             "what the margin run requires, by its own netting, measures and layers"),
    Variable("collateral_in_book", ("account",), "float64", USD,
             "what the collateral of the book, which the claims stand for, adds to equity"),
    Variable("excess", ("account",), "float64", USD,
             "credit and position value less the larger of requirement and requirement_margined"),
    Variable("credit_then", ("account",), "float64", USD,
             "credit in the scenario that binds the requirement; now where none does"),
    Variable("binding_scenario", ("account",), "int32", ONE,
             "row of the scenario that binds the requirement, -1 if none does"),
    Variable("binding_alone", ("account",), "int32", ONE,
             "row of the scenario that binds the positions alone, -1 if none does"),
    Variable("health", ("account",), "float64", ONE,
             "lowest health factor of its positions in lending markets; infinite without debt"),
    Variable("claims", ("account",), "int32", ONE, "number of claims"),
    Variable("counted", ("account",), "int32", ONE, "number of claims that count"),
    Variable("status", ("account",), "int8", ONE, "0 pooled, 1 held back"),
)  # fmt: skip

POOL_BLOCKS = (
    Variable("quantity", ("block", "token"), "float64", "token", "units that count, or are owed"),
    Variable("credit_by_state", ("block", "state"), "float64", USD, "credit of the accounts"),
    Variable("credit_by_token", ("block", "token", "report"), "float64", USD,
             "credit of claims in the token, what lending markets leave of them included"),
    Variable("credit_by_use", ("block", "token", "use"), "float64", USD,
             "credit now by the venue whose positions need it, the last free"),
    Variable("credit_by_standing", ("block", "standing"), "float64", USD,
             "credit now by how claims are known"),
    Variable("accounts_below_alone", ("block", "report"), "int64", ONE,
             "accounts whose equity is below what their positions require"),
    Variable("called_alone", ("block", "report"), "float64", USD,
             "how far these are below, summed"),
    Variable("liquidatable", ("block", "report"), "int64", ONE,
             "positions in lending markets that may be liquidated"),
    Variable("claims_by_outcome", ("block", "outcome"), "int64", ONE, "claims"),
    Variable("value_by_outcome", ("block", "outcome"), "float64", USD,
             "what the claims would fetch if nothing were wrong with them"),
)  # fmt: skip

POOL = RunKind(
    name="collateral",
    written={"accounts": POOL_ACCOUNTS, "blocks": POOL_BLOCKS},
    markers={"accounts": "status"},
    small=("totals", "tokens", "scenarios", "findings"),
)
"""A collateral run."""

STRESS_SCENARIOS = (
    Variable("sold", ("scenario", "round"), "float64", USD,
             "notional at first prices of positions closed on the market; NaN after the end"),
    Variable("liquidated", ("scenario", "round"), "int64", ONE,
             "accounts closed in part or whole; -1 after the end"),
    Variable("price", ("scenario", "round", "coin"), "float64", ONE,
             "price over first price with which the round begins; the last one after the end"),
    Variable("rounds", ("scenario",), "int64", ONE, "rounds in which something was sold"),
    Variable("ended", ("scenario",), "int8", ONE, "1 where the cascade came to its end"),
    Variable("sold_by_instrument", ("scenario", "instrument"), "float64", USD,
             "notional closed on the market, long positive"),
    Variable("taken_by_instrument", ("scenario", "instrument"), "float64", USD,
             "notional that the vault took over, long positive"),
    Variable("vault_pnl", ("scenario",), "float64", USD,
             "what the vault gained by what it took, until the end, winners' part taken off"),
    Variable("closed_by_winners", ("scenario", "instrument"), "float64", USD,
             "notional at first prices that winners closed, longs and shorts added up"),
    Variable("given_up", ("scenario", "member"), "float64", USD,
             "what winners gave up by that, what they received taken off"),
    Variable("received_by_winners", ("scenario",), "float64", USD,
             "what those winners received whose bankruptcy price was better than that of the end"),
    Variable("winners", ("scenario",), "int64", ONE, "accounts that closed as winners"),
    Variable("winner_account", ("scenario", "place"), "int64", ONE,
             "account rows of those that gave up most; -1 after the last"),
    Variable("winner_amount", ("scenario", "place"), "float64", USD, "what each of them gave up"),
    Variable("lost_alone", ("scenario",), "float64", USD,
             "losses of the accounts that lose, were nobody liquidated"),
    Variable("lost", ("scenario",), "float64", USD,
             "losses of the accounts that lose, by the end of the cascade"),
    Variable("loss", ("scenario",), "float64", USD,
             "losses of accounts and vault by the end, and what winners gave up out of gains"),
    Variable("uncovered_alone", ("scenario", "member"), "float64", USD,
             "losses beyond equity, were nobody liquidated"),
    Variable("uncovered", ("scenario", "member"), "float64", USD,
             "losses beyond equity, by the end of the cascade"),
    Variable("defaulted", ("scenario", "member"), "int64", ONE,
             "accounts whose equity is gone, by the end"),
    Variable("touched", ("scenario",), "int64", ONE, "accounts closed in part or whole"),
    Variable("gained", ("scenario", "member"), "float64", USD,
             "gains of the accounts that gain, by the end of the cascade"),
    Variable("paid", ("scenario", "member", "issuer"), "float64", USD,
             "losses that accounts pay out of their equity, by where that lies"),
    Variable("held", ("scenario", "member", "issuer"), "float64", USD,
             "what accounts have with an issuer beside what they pay with"),
    Variable("resting", ("scenario", "issuer", "upon"), "float64", USD,
             "of what the second issued, what the first owes it"),
    Variable("issuer_lost", ("scenario", "issuer"), "float64", USD,
             "what the issuer cannot get back: bad debt, and failures of the plan"),
)  # fmt: skip

STRESS = RunKind(
    name="stress",
    written={"scenarios": STRESS_SCENARIOS},
    markers={"scenarios": "rounds"},
    small=("plan", "totals", "network"),
)
"""A stress run."""

REVERSE = RunKind(name="reverse", written={}, markers={}, small=("found", "history"))
"""A reverse stress of a margin run."""
