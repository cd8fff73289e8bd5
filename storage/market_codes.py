"""Names of what can be wrong with quotes and prices."""

from storage.code import Code, Severity

_Q: Severity = "quarantine"
_R: Severity = "refuse"
_W: Severity = "warn"

MARKET_CODES = (
    Code(
        "PRICE_MISSING",
        _Q,
        "a price is empty or not a number",
        "a finite price above 0",
        "fetch the price again; what it prices is held until then, never valued at zero",
    ),
    Code(
        "PRICE_NOT_FINITE",
        _Q,
        "a price is infinite",
        "a finite price above 0",
        "fetch the price again",
    ),
    Code(
        "PRICE_NON_POSITIVE",
        _Q,
        "a price is zero or negative",
        "a price above 0; marks of options may be 0",
        "fetch the price again",
    ),
    Code(
        "PRICE_JUMP",
        _Q,
        "a price is too far from its neighbours to be believed from one source",
        "a change within the limit per hour",
        "compare with a second source; confirm the jump by name if it is real",
    ),
    Code(
        "UNIT_MISMATCH",
        _R,
        "prices are in another unit: cents, gwei, or scaled by a power of ten",
        "USD per unit of the underlying",
        "convert the prices to USD",
    ),
    Code(
        "CORPORATE_ACTION",
        _Q,
        "the price moves to another power of ten and stays: a split or redenomination",
        "one unit over the whole history",
        "rescale the older prices",
    ),
    Code(
        "VOL_NEGATIVE",
        _Q,
        "a volatility is negative",
        "an annual fraction of 0 or more",
        "fetch the quote again",
    ),
    Code(
        "VOL_UNIT",
        _Q,
        "a volatility is so high that it must be in percent",
        "an annual fraction, so 0.65 for 65 %",
        "divide by 100 in the export",
    ),
    Code(
        "VOL_ZERO",
        _W,
        "the volatility of a live option is zero; it is priced at its intrinsic value",
        "an annual fraction above 0",
        "check the quote",
    ),
    Code(
        "STALE_PRICE",
        _Q,
        "a price is older than the limit",
        "a price within the limit before the valuation instant",
        "fetch the price again, or raise the limit on purpose",
    ),
    Code(
        "FUTURE_DATA",
        _R,
        "data is dated after the valuation instant",
        "instants up to the valuation instant",
        "correct the valuation instant or the data; allow look-ahead only for studies",
    ),
    Code(
        "PARITY",
        _W,
        "call and put of one strike disagree with the forward by more than trading costs",
        "call - put within the limit of 1 - strike/forward",
        "check both marks and the forward",
    ),
    Code(
        "HISTORY_GAP",
        _Q,
        "hours are missing in the history; they stay missing and are never filled in",
        "one price per hour",
        "fetch the missing hours",
    ),
    Code(
        "HISTORY_DUP",
        _Q,
        "an hour has more than one price; copies are set aside, and all of them if they differ",
        "one price per hour",
        "remove the copies",
    ),
    Code(
        "SHORT_HISTORY",
        _W,
        "the history is shorter than was asked for",
        "the number of hours asked for",
        "fetch a longer history; the lookback is not shortened silently",
    ),
    Code(
        "ZERO_RETURN_RUN",
        _W,
        "the price stands still for many hours, as if filled in",
        "prices that move",
        "check the source for filled-in hours",
    ),
    Code(
        "ORACLE_STUCK",
        _Q,
        "the round of a price does not advance: it falls back, or stays for too long",
        "a round that rises, and is renewed within the limit",
        "read the rounds of the oracle again; what it prices is held until then",
    ),
    Code(
        "ORACLE_DIVERGENCE",
        _Q,
        "two sources of one price lie too far apart for either to be believed",
        "two sources within the limit of each other",
        "ask a third source, and correct the one that is off",
    ),
    Code(
        "MARK_INDEX_SWAP",
        _Q,
        "mark and forward stand in each other's column",
        "the mark in coins, the forward in USD",
        "swap the two columns in the export",
    ),
    Code(
        "ARB_VERTICAL",
        _Q,
        "of two strikes the call spread is worth less than nothing, or more than it can pay",
        "a call spread from 0 to the difference of the strikes, within the limit",
        "fetch both quotes again, of one instant",
    ),
    Code(
        "ARB_BUTTERFLY",
        _Q,
        "a strike is dearer than the strikes on both sides of it allow",
        "a butterfly of 0 or more, within the limit",
        "fetch the three quotes again, of one instant",
    ),
    Code(
        "ARB_CALENDAR",
        _Q,
        "an option is dearer than the same one that expires later, so total variance falls",
        "total variance that rises with the expiry, within the limit",
        "fetch the quotes of both expiries again, of one instant",
    ),
)
