"""Claims from outside: read in batches, resolved to rows of the book and the tokens, checked."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage import tables
from storage.claims.references import MOST_QUANTITY
from storage.dataset.rules import numbers
from storage.intake import cells, checks
from storage.intake.cells import Booleans, Exact, Status, matches
from storage.intake.checks import REASONS, Check, Rows
from storage.intake.holdings import Holds
from storage.intake.identities import identities, identity_array, none_of
from storage.intake.references import PAIRING, Lookup, find, index_of, joined
from storage.intake.tokens import TOKEN_KEY, TokenIntake, whole
from storage.intake.verdicts import Known, Verdicts
from storage.quarantine import Findings

_OWNER = r"^(0x[0-9a-fA-F]{40})?$"
_SAME = tuple(name for name in tables.CLAIMS.schema.names if name != "backing")


@dataclass
class ClaimIntake:
    """Claims while they are read, and the accounts that are held because of them.

    ``verdicts`` say how claims are known; without them it is taken as said. ``bad`` tells which
    rows of the file are set aside, ``(row,)``, once they are all read.
    """

    taken: TokenIntake
    accounts: Lookup
    findings: Findings
    verdicts: Verdicts | None = None
    holds: Holds = field(init=False)
    bad: Booleans = field(init=False)
    _batches: list[pa.Table] = field(default_factory=list)

    def __post_init__(self) -> None:
        references = self.taken.references
        self.holds = Holds.none(len(self.accounts.names))
        kinds = references.tokens["kind"].to_pylist()
        self._debt = np.array([kind == "debt" for kind in kinds] + [False])
        self._decimals = np.append(numbers(references.tokens, "decimals"), 0)
        chains = references.chains["chain"].combine_chunks()
        chain = index_of(references.tokens["chain"].combine_chunks(), chains)
        # A token that is not there is taken to be on no chain; its row is bad already.
        self._chain = np.append(chain, 0)
        self._head = numbers(references.chains, "height")

    def take(self, rows: Rows) -> None:
        """Resolve and check a batch of claims."""
        account = find(rows, "account", rows.text["account"], self.accounts, "UNKNOWN_ACCOUNT")
        keys, tokens = joined(rows, TOKEN_KEY), self.taken.tokens
        token = find(rows, "token", keys, tokens, "UNKNOWN_TOKEN", TOKEN_KEY)
        market = self._markets(rows)
        quantity = cells.numbers(rows.text["quantity"]).values
        encumbered = np.where(rows.has("encumbered"), rows.number("encumbered"), 0.0)
        known = _known(rows)
        if self.verdicts is not None:
            known = self.verdicts.judge(rows, known)
        debt = self._debt[token]
        proven = known.standing == tables.STANDINGS.index("proven")
        decimals = self._decimals[token]
        checks.apply(
            [
                Check("NUMBER_INVALID", "quantity", lambda _: ~np.isfinite(quantity)),
                Check("DEBT_NEGATIVE", "quantity", lambda _: debt & (quantity < 0.0)),
                Check("QUANTITY_NEGATIVE", "quantity", lambda _: quantity < 0.0),
                Check("QUANTITY_RANGE", "quantity", lambda _: quantity > MOST_QUANTITY),
                Check(
                    "QUANTITY_DECIMALS",
                    "quantity",
                    lambda rows: more_decimals(rows.exact["quantity"], decimals),
                ),
                Check(
                    "ENCUMBERED_RANGE",
                    "encumbered",
                    lambda _: ~((encumbered >= 0.0) & (encumbered <= quantity)),
                ),
                Check("ENCUMBERED_RANGE", "encumbered", lambda _: debt & (encumbered != 0.0)),
                Check("DEBT_WITHOUT_MARKET", "market", lambda _: debt & (market < 0)),
                Check("ROOT_MISSING", "root", lambda _: none_of(known.root)),
                Check("PROOF_MISSING", "proof", lambda _: proven & none_of(known.proof)),
            ],
            rows,
        )
        height = self._heights(rows, token, known.height)
        self.holds.add(account, rows)
        every = np.arange(len(rows))
        self._batches.append(
            pa.table(
                {
                    "account": account,
                    "token": token,
                    "quantity": quantity + 0.0,
                    "encumbered": encumbered + 0.0,
                    "market": market,
                    "root": identity_array(known.root),
                    "proof": identity_array(known.proof),
                    "height": height,
                    "standing": known.standing,
                    "claim": rows.text["claim"],
                    "behind": rows.text["backing"],
                    "row": rows.key(every),
                    "line": rows.lines,
                    "bad": rows.bad,
                }
            )
        )

    def finish(self) -> None:
        """Check what can only be seen over all claims: copies, and receipts for each other."""
        self._all = pa.concat_tables(self._batches).combine_chunks()
        self.bad = np.array(self._all["bad"])
        self._set_aside("CLAIM_TWICE", "claim", self._copies())
        claim, behind = (self._all[name].combine_chunks() for name in ("claim", "behind"))
        backed = _mask(pc.not_equal(behind, ""))
        self._backing = np.full(len(self.bad), -1)
        asked = behind.filter(pa.array(backed))
        # A name is that of the row that stands, if there is one.
        for left_out in (~self.bad, self.bad):
            named = pc.if_else(pa.array(left_out | _mask(pc.equal(claim, ""))), None, claim)
            found = index_of(asked, named)
            self._backing[backed] = np.where(found < 0, self._backing[backed], found)
        alone = (self._backing < 0) | (self._backing == np.arange(len(self.bad)))
        self._set_aside("UNKNOWN_BACKING", "backing", backed & alone & ~self.bad)
        # What rests on a row that is set aside is set aside, however many receipts lie between.
        aside, step = self.bad.copy(), self._backing.copy()
        for _ in range(len(step).bit_length()):
            aside |= np.append(aside, False)[step]
            step = np.append(step, -1)[step]  # twice as far each time
        self._set_aside("REFERENCE_QUARANTINED", "backing", aside & ~self.bad)

    def table(self) -> pa.Table:
        """Return the accepted claims as the declared table, in order of account, market, token."""
        good = np.flatnonzero(~self.bad)
        account, market, token = (
            self._all[name].to_numpy()[good] for name in ("account", "market", "token")
        )
        good = good[np.lexsort((token, market, account))]
        rank = np.full(len(self.bad) + 1, -1)
        rank[good] = np.arange(len(good))
        backing = pa.array(rank[self._backing[good]])
        chosen = self._all.select(_SAME).take(pa.array(good))
        return chosen.append_column("backing", backing).cast(tables.CLAIMS.schema)

    def _markets(self, rows: Rows) -> NDArray[np.int32]:
        """Return the row of the market of each claim, -1 where it is in none."""
        named = rows.has("market") | rows.has("market_protocol")
        if not named.any():
            return np.full(len(rows), -1, np.int32)
        keys = joined(rows, ("market_protocol", "chain", "market"))
        index = index_of(keys, self.taken.markets.names)
        found = np.append(self.taken.markets.row, np.int32(-1))[index].astype(np.int32)
        gone = named & (index >= 0) & (found < 0) & ~rows.bad
        rows.flag("REFERENCE_QUARANTINED", "market", gone)
        rows.flag("UNKNOWN_MARKET", "market", named & (index < 0) & ~rows.bad)
        return np.where(named, found, np.int32(-1))

    def _heights(
        self, rows: Rows, token: NDArray[np.int32], known: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Return the block that each claim was read at, 0 where it is on no chain."""
        chain = self._chain[token]
        given = ~np.isnan(known)
        height = np.where(given, known, 0.0)
        head = self._head[chain]
        checks.apply(
            [
                Check("HEIGHT_MISSING", "height", lambda _: ~given & (chain > 0)),
                Check("HEIGHT_MISSING", "height", lambda _: ~whole(height)),
                Check("HEIGHT_ABOVE_HEAD", "height", lambda _: height > head),
            ],
            rows,
        )
        return np.where(whole(height), height, 0.0).astype(np.int64)

    def _copies(self) -> Booleans:
        """Return which rows are copies: of a name that came before, or the same in every cell.

        The first row of a name stands, unless one of its copies is of the same account: then
        nobody can tell which of them is meant. Rows that are set aside already name nothing.
        """
        copies = np.zeros(len(self.bad), np.bool_)
        claim = self._all["claim"].combine_chunks()
        account = self._all["account"].to_numpy()
        named = _mask(pc.not_equal(claim, ""))
        rows = np.flatnonzero(named & ~self.bad)
        names = claim.take(pa.array(rows))
        origin = rows[index_of(names, names)]
        copy = origin < rows
        copies[rows[copy]] = True
        copies[origin[copy & (account[rows] == account[origin])]] = True
        without = pa.array(np.flatnonzero(~named & ~self.bad))
        same = self._all.select([*_SAME, "behind"]).take(without)
        keys = pc.binary_join_element_wise(
            *(_text(same[name]) for name in same.column_names), PAIRING
        )
        first = index_of(keys, keys)
        copies[without.to_numpy()[first < np.arange(len(first))]] = True
        return copies

    def _set_aside(self, code: str, column: str, mask: Booleans) -> None:
        """Record a finding for rows that are all read, and hold their accounts."""
        chosen = np.flatnonzero(mask)
        if not len(chosen):
            return
        taken = pa.array(chosen)
        lines = self._all["line"].to_numpy()
        values = self._all["behind" if column == "backing" else column].take(taken)
        self.findings.add_rows(
            code,
            "claims",
            column,
            rows=self._all["row"].take(taken).combine_chunks(),
            values=values.combine_chunks(),
            lines=lines[chosen],
        )
        self.bad[chosen] = True
        chosen = chosen[self._all["account"].to_numpy()[chosen] >= 0]
        account = self._all["account"].to_numpy()[chosen]
        fresh = chosen[self.holds.reason[account] < 0][::-1]
        self.holds.put(self._all["account"].to_numpy()[fresh], REASONS.index(code), lines[fresh])


def _known(rows: Rows) -> Known:
    """Return how claims say that they are known; what cannot be read is a finding."""
    (root, bad_root), (proof, bad_proof) = map(identities, (rows.text["root"], rows.text["proof"]))
    for column, bad in (
        ("root", bad_root),
        ("proof", bad_proof),
        ("owner", ~matches(rows.text["owner"], _OWNER)),
    ):
        rows.flag("HEX_INVALID", column, bad & ~rows.bad)
    standing = index_of(rows.text["standing"], pa.array(tables.STANDINGS)).astype(np.int8)
    return Known(standing, root, proof, rows.number("height"))


def more_decimals(quantity: Exact, decimals: NDArray[np.int64]) -> Booleans:
    """Return which quantities are not whole in the base unit of their token.

    >>> import pyarrow as pa
    >>> read = cells.exact(pa.array(["1.5", "1.05", "7"]))
    >>> more_decimals(read, np.array([1, 1, 0])).tolist()
    [False, True, False]
    """
    over = np.clip(quantity.scale - decimals.astype(np.int64), 0, cells.EXACT_SCALE)
    more: Booleans = np.asarray(quantity.unscaled % 10**over != 0)
    for row, (value, scale) in quantity.large.items():
        more[row] = value % 10 ** max(scale - int(decimals[row]), 0) != 0
    more &= quantity.status == Status.GOOD
    return more


def _text(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as text by which equal cells are equal."""
    if column.type == tables.IDENTITY:
        words = np.frombuffer(b"".join(column.to_pylist()), np.uint64).reshape(-1, 2)
        parts = [pa.array(words[:, place]).cast(pa.string()) for place in (0, 1)]
        return pc.binary_join_element_wise(*parts, " ")
    return column.combine_chunks().cast(pa.string())


def _mask(mask: pa.Array) -> Booleans:
    return np.asarray(mask.to_numpy(zero_copy_only=False))
