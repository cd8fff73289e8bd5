"""What one short option asks by itself, and what an inverse option pays."""

import numpy as np
from numpy.typing import NDArray

from risk.standard.spec import OptionRule

Floats = NDArray[np.float64]


def inverse_payoff(strike: Floats, delivery: Floats, is_call: NDArray[np.bool_]) -> Floats:
    """Return what one inverse option pays its holder at delivery, in coins.

    Shapes broadcast; prices in the quote currency, the result in coins, never negative:
    max(S - K, 0) / S for a call and max(K - S, 0) / S for a put. Source: Deribit, "Options".

    >>> import numpy as np
    >>> strike, delivery = np.array([10_000.0, 15_000.0]), np.array([12_500.0, 12_500.0])
    >>> inverse_payoff(strike, delivery, np.array([True, False])).tolist()
    [0.2, 0.2]
    """
    gain = np.where(is_call, delivery - strike, strike - delivery)
    return np.asarray(np.maximum(gain, 0.0) / delivery)


def short_option(
    rule: OptionRule,
    notional: Floats,
    value: Floats,
    reference: Floats,
    strike: Floats,
    is_call: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Return the initial and the maintenance margin of one short contract.

    Shapes ``(instrument,)``, money in the reporting currency: ``notional`` of a contract at the
    index, ``value`` its mark, ``reference`` the price against which the strike is held. A margin
    in coins, converted at the index, is the same formula: S appears as the notional.
    Formula: ``OptionRule``.

    >>> import numpy as np
    >>> rule = OptionRule(
    ...     kind="option", form="out_of_the_money", moneyness="index", source="example",
    ...     initial_maximum=0.15, initial_minimum=0.10, call_maintenance=0.03,
    ...     put_maintenance=0.03, liquidation_fee=0.002,
    ... )
    >>> put = [np.array([number]) for number in (20_250.0, 290.0, 20_250.0, 18_500.0)]
    >>> [margin.item() for margin in short_option(rule, *put, np.array([False]))]
    [2315.0, 938.0]
    """
    distance = np.where(is_call, strike - reference, reference - strike) / reference
    out_of_the_money = np.maximum(distance, 0.0)
    share = np.maximum(rule.initial_maximum - out_of_the_money, rule.initial_minimum)
    of_notional = np.where(is_call, rule.call_maintenance, rule.put_maintenance)
    of_mark = np.where(is_call, rule.call_maintenance_of_mark, rule.put_maintenance_of_mark)
    charge = np.maximum(of_notional * notional, of_mark * value) + rule.liquidation_fee * notional
    maintenance = charge + value
    least = np.where(is_call, rule.call_initial_over_maintenance, rule.put_initial_over_maintenance)
    initial = np.maximum(share * notional + value, least * maintenance)
    return initial, maintenance
