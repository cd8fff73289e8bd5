"""Positions and collateral from outside: read in batches, resolved to rows of the book, exact."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.intake import checks
from storage.intake.cells import Exact, Status
from storage.intake.checks import REASONS, Check, Rows
from storage.intake.instruments import InstrumentIntake
from storage.intake.lots import LOT_LIMIT, NOT_WHOLE, TOO_LARGE, to_lots
from storage.intake.references import Intake, asset_keys, find, index_of
from storage.intake.set_aside import SetAside
from storage.intake.totals import Reconciliation, decimal_text
from storage.quarantine import Finding, Findings, Severity

Amounts: TypeAlias = NDArray[Any]  # int64 lots, or float64 units of an asset


@dataclass
class Holds:
    """Accounts that must not be margined, because a row of theirs is in quarantine."""

    reason: NDArray[np.int16]  # by account, -1 where it is not held
    line: NDArray[np.int64]  # by account, the data row of the reason

    @classmethod
    def none(cls, accounts: int) -> "Holds":
        """Return holds on no account."""
        return cls(np.full(accounts, -1, np.int16), np.zeros(accounts, np.int64))

    def add(self, account: NDArray[np.int32], rows: Rows) -> None:
        """Hold the accounts of the rows that are set aside; the first reason stands."""
        chosen = np.flatnonzero(rows.bad & (account >= 0))[::-1]
        chosen = chosen[self.reason[account[chosen]] < 0]
        self.put(account[chosen], rows.reason[chosen], rows.lines[chosen])

    def put(
        self, account: NDArray[np.int32], reason: NDArray[np.int16] | int, line: NDArray[np.int64]
    ) -> None:
        """Hold accounts for reasons; of several of an account the last one stands."""
        self.reason[account] = reason
        self.line[account] = line

    def table(self) -> pa.Table:
        """Return the held accounts and why, one row each."""
        held = np.flatnonzero(self.reason >= 0)
        codes = pa.array(REASONS).take(pa.array(self.reason[held]))
        account = pa.array(held.astype(np.int32))
        return pa.table({"account": account, "code": codes})


@dataclass
class Holdings:
    """Rows of (account, item, amount), gathered from batches and sorted at the end."""

    dataset: str
    accounts: pa.Array  # names by row, for messages
    items: pa.Array  # likewise
    account: list[NDArray[np.int32]] = field(default_factory=list)
    item: list[NDArray[np.int32]] = field(default_factory=list)
    amount: list[Amounts] = field(default_factory=list)
    line: list[NDArray[np.int64]] = field(default_factory=list)

    def take(
        self,
        rows: Rows,
        account: NDArray[np.int32],
        item: NDArray[np.int32],
        amount: Amounts,
    ) -> None:
        """Keep the rows that are not set aside."""
        good = rows.good()
        self.account.append(account[good])
        self.item.append(item[good])
        self.amount.append(amount[good])
        self.line.append(rows.lines[good])

    def sort(self, findings: Findings, *, merge: bool) -> None:
        """Put the rows in order of account and item; refuse or add up rows of the same two."""
        account, item = np.concatenate(self.account), np.concatenate(self.item)
        amount, line = np.concatenate(self.amount), np.concatenate(self.line)
        key = account.astype(np.int64) * max(len(self.items), 1) + item
        if len(key) and (np.diff(key) < 0).any():
            order = np.argsort(key, kind="stable")
            key, account, item = key[order], account[order], item[order]
            amount, line = amount[order], line[order]
        again = np.flatnonzero(np.diff(key) == 0) + 1
        if len(again):
            first = np.setdiff1d(again - 1, again)
            copies = again if merge else np.union1d(first, again)
            self._report_copies(findings, merge, account, item, amount, line, copies)
            starts = np.setdiff1d(np.arange(len(key)), again)
            largest = np.add.reduceat(np.abs(amount.astype(np.float64)), starts)
            if amount.dtype.kind == "i" and largest.max() >= LOT_LIMIT:
                value = f"{largest.max():.6g} lots after merging"
                findings.add(Finding.of("OVERFLOW", self.dataset, field="quantity", value=value))
            amount = np.add.reduceat(amount, starts)
            account, item, line = account[starts], item[starts], line[starts]
        self.account, self.item, self.amount, self.line = [account], [item], [amount], [line]

    def _report_copies(
        self,
        findings: Findings,
        merge: bool,
        account: NDArray[np.int32],
        item: NDArray[np.int32],
        amount: Amounts,
        line: NDArray[np.int64],
        copies: NDArray[np.int64],
    ) -> None:
        names = self.accounts.take(pa.array(account[copies]))
        items = pc.replace_substring(self.items.take(pa.array(item[copies])), "\x1f", " / ")
        unit = " lots" if amount.dtype.kind == "i" else ""
        findings.add_rows(
            "DUPLICATE_MERGED" if merge else "DUPLICATE_KEY",
            self.dataset,
            "quantity",
            rows=pc.binary_join_element_wise(names, items, " / "),
            values=pc.binary_join_element_wise(
                pa.array(amount[copies]).cast(pa.string()), pa.scalar(unit), ""
            ),
            lines=line[copies],
        )


@dataclass
class PositionIntake:
    """Positions while they are read: resolved to lots, counted, and the bad ones set aside."""

    instruments: InstrumentIntake
    accounts: Intake
    holds: Holds
    reconciliation: Reconciliation
    holdings: Holdings
    rows: int = 0
    quarantined: int = 0
    derivative_rows: int = 0
    any_short: bool = False

    @classmethod
    def of(cls, instruments: InstrumentIntake, accounts: Intake, holds: Holds) -> "PositionIntake":
        """Return an intake without positions."""
        names = instruments.table["instrument"].combine_chunks()
        return cls(
            instruments,
            accounts,
            holds,
            Reconciliation.of(instruments.lookup.names, instruments.lot),
            Holdings("positions", accounts.lookup.names, names),
        )

    def take(self, rows: Rows) -> None:
        """Resolve and check a batch of positions."""
        account = find(
            rows, "account", rows.text["account"], self.accounts.lookup, "UNKNOWN_ACCOUNT"
        )
        names = rows.text["instrument"]
        listed = index_of(names, self.instruments.lookup.names)
        instrument = find(rows, "instrument", names, self.instruments.lookup, "UNKNOWN_INSTRUMENT")
        quantity = _signed(rows)
        lots, fault = to_lots(quantity, listed, self.instruments.lot)
        rows.flag("LOT_SIZE", "quantity", fault == NOT_WHOLE)
        rows.flag("OVERFLOW", "quantity", fault == TOO_LARGE)
        self._count(rows, listed, quantity)
        self.holds.add(account, rows)
        self.holdings.take(rows, account, instrument, lots)

    def _count(self, rows: Rows, listed: NDArray[np.int64], quantity: Exact) -> None:
        self.rows += len(rows)
        self.quarantined += int(rows.bad.sum())
        self.reconciliation.add(listed, quantity, rows.bad)
        derivative = listed >= 0
        derivative &= ~np.append(self.instruments.is_spot, True)[listed]
        short = quantity.unscaled < 0
        for row, (value, _) in quantity.large.items():
            short[row] = value < 0
        self.derivative_rows += int((derivative & (quantity.status == Status.GOOD)).sum())
        self.any_short |= bool((short & derivative).any())

    def finish(self, findings: Findings, *, merge: bool, one_sided: bool) -> None:
        """Sort the positions, and check what can only be seen over all of them."""
        self.holdings.sort(findings, merge=merge)
        severity: Severity = "warn" if one_sided else "refuse"
        if self.derivative_rows > 1 and not self.any_short:
            value = f"{self.derivative_rows:,} derivative positions, none of them negative"
            findings.add(
                Finding.of(
                    "SIGN_CONVENTION",
                    "positions",
                    field="quantity",
                    value=value,
                    severity=severity,
                    action="export signed quantities" if one_sided else None,
                )
            )
        else:
            self._check_balance(findings, one_sided=one_sided)
        if not findings.refused:
            self._check_conservation()

    def _check_balance(self, findings: Findings, *, one_sided: bool) -> None:
        totals = self.reconciliation
        derivatives = np.flatnonzero(~self.instruments.is_spot).tolist()
        nets = {row: net for row in derivatives if (net := totals.total.net(row))}
        # A position under a misspelt instrument is in quarantine, and explains what is missing.
        explained = sum(nets.values(), Fraction()) + totals.unknown == 0
        for row, net in nets.items():
            note = ""
            if totals.unreadable[row]:
                note = f"; {totals.unreadable[row]} rows in quarantine have no readable quantity"
            elif explained:
                note = "; as much is in quarantine under instruments that are not listed"
            findings.add(
                Finding.of(
                    "UNBALANCED_OI",
                    "positions",
                    row=totals.names[row].as_py(),
                    field="sum of quantity",
                    value=f"{decimal_text(net)} contracts{note}",
                    severity="warn" if one_sided or note else "refuse",
                    action="complete the export, if the other side should be there"
                    if one_sided
                    else None,
                )
            )

    def _check_conservation(self) -> None:
        """Raise AssertionError if contracts were lost between the file and the lots kept."""
        (item,), (lots,) = self.holdings.item, self.holdings.amount
        high, low = (np.zeros(len(self.holdings.items), np.int64) for _ in range(2))
        whole = lots.astype(np.int64)
        np.add.at(high, item, whole >> 32)
        np.add.at(low, item, whole & (1 << 32) - 1)
        by_row = [(int(h) << 32) + int(part) for h, part in zip(high, low, strict=True)]
        row = self.instruments.lookup.row
        lots_in = np.array([by_row[r] if r >= 0 else 0 for r in row.tolist()], object)
        differing = self.reconciliation.accepted_differs(lots_in)
        if differing:
            raise AssertionError(f"contracts do not reconcile in {differing[:5]}")


def _signed(rows: Rows) -> Exact:
    """Return the quantities with their sign, which a column of sides may give."""
    quantity = rows.exact["quantity"]
    sides = rows.text["side"]
    if pc.all(pc.equal(sides, "signed")).as_py():
        return quantity
    short = rows.is_in("side", "short")
    sided = short | rows.is_in("side", "long")
    negative = quantity.unscaled < 0
    for row, (value, _) in quantity.large.items():
        negative[row] = value < 0
    rows.flag(
        "SIGN_CONVENTION",
        "quantity",
        sided & negative,
        allowed="0 or more where the side says long or short",
    )
    return Exact(
        np.where(short, -quantity.unscaled, quantity.unscaled),
        quantity.scale,
        {row: (-v if short[row] else v, s) for row, (v, s) in quantity.large.items()},
        quantity.status,
    )


@dataclass
class CollateralIntake:
    """Collateral while it is read; a claim may be counted once over all accounts and chains."""

    accounts: Intake
    assets: Intake
    holds: Holds
    holdings: Holdings
    rows: int = 0
    quarantined: int = 0
    claims: list[pa.Table] = field(default_factory=list)
    aside: SetAside = field(default_factory=SetAside)

    @classmethod
    def of(cls, accounts: Intake, assets: Intake, holds: Holds) -> "CollateralIntake":
        """Return an intake without collateral."""
        # In the order of the book's assets, which is that of their joined keys.
        order = np.argsort(assets.lookup.row)
        names = assets.lookup.names.take(pa.array(order[assets.lookup.row[order] >= 0]))
        holdings = Holdings("collateral", accounts.lookup.names, names)
        return cls(accounts, assets, holds, holdings)

    def take(self, rows: Rows) -> None:
        """Resolve and check a batch of collateral."""
        account = find(
            rows, "account", rows.text["account"], self.accounts.lookup, "UNKNOWN_ACCOUNT"
        )
        asset = find(rows, "asset", asset_keys(rows), self.assets.lookup, "UNKNOWN_ASSET")
        quantity = rows.number("quantity")
        checks.apply([Check("COLLATERAL_NEGATIVE", "quantity", lambda _: quantity < 0.0)], rows)
        self.rows += len(rows)
        self.quarantined += int(rows.bad.sum())
        self.holds.add(account, rows)
        self.holdings.take(rows, account, asset, quantity + 0.0)
        self.aside.take(rows, asset, quantity)
        claimed = np.flatnonzero(rows.has("claim"))
        if len(claimed):
            chosen = pa.array(claimed)
            columns = [rows.text["claim"].take(chosen), rows.key(claimed)]
            lines = pa.array(rows.lines[claimed])
            self.claims.append(pa.table([*columns, lines], names=["claim", "row", "line"]))

    def finish(self, findings: Findings, *, merge: bool) -> None:
        """Sort the collateral, and refuse claims that are counted twice."""
        self.holdings.sort(findings, merge=merge)
        if not self.claims:
            return
        claims = pa.concat_tables(self.claims).combine_chunks()
        counted = pc.value_counts(claims["claim"].combine_chunks())
        twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
        double = claims.filter(pc.is_in(claims["claim"], value_set=twice))
        findings.add_rows(
            "DOUBLE_COUNT_COLLATERAL",
            "collateral",
            "claim",
            rows=double["row"].combine_chunks(),
            values=double["claim"].combine_chunks(),
            lines=double["line"].to_numpy(),
        )
