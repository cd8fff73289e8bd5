"""Option prices and volatility curves."""

from risk.pricing import black76
from workers.conformance.method import Inputs, Method, Numbers, Tables

YEAR_SECONDS = 365 * 86_400


def _black76(inputs: Inputs, _: Tables) -> Numbers:
    years = inputs["sec_to_expiry"] / inputs.get("year_seconds", YEAR_SECONDS)
    terms = (inputs["forward"], inputs["strike"], inputs["vol"], years)
    discount = inputs.get("discount", 1.0)
    return {
        "call": discount * float(black76.black76(*terms, True)),
        "put": discount * float(black76.black76(*terms, False)),
        "call_delta_undiscounted": float(black76.delta(*terms, True)),
        "put_delta_undiscounted": float(black76.delta(*terms, False)),
    }


METHODS: dict[str, Method] = {
    "black76": _black76,
}
