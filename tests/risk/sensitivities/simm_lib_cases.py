"""Inputs and results of AcadiaSoft/simm-lib, SimmTenDayTest and SimmCrifMixin (SIMM 2.5, MIT)."""

_RATES = """
RatesFX USD 1 2w OIS 4e6|RatesFX USD 1 3m Municipal -3e6|RatesFX USD 1 1y Municipal 2e6
RatesFX USD 1 1y Prime 3e6|RatesFX USD 1 1y Prime -1e6|RatesFX EUR 1 3y Libor3m -2e6
RatesFX EUR 1 3y Libor6m 5e6|RatesFX EUR 1 5y Libor12m 10e6|RatesFX EUR 1 5y Libor12m 25e6
RatesFX EUR 1 10y Libor12m 35e6|RatesFX AUD 1 1m Libor3m 2e6|RatesFX AUD 1 6m Libor3m 3e6
RatesFX AUD 1 2y Libor3m -2e6|RatesFX CHF 1 15y Libor6m -4e6|RatesFX CHF 1 20y Libor6m 10e6
RatesFX CHF 1 30y Libor6m 18e6|RatesFX CHF Inflation -10e6|RatesFX CHF XCcyBasis 30e6
RatesFX JPY 2 2w Libor1m -1e6|RatesFX JPY 2 1m Libor1m -1.5e6|RatesFX JPY 2 3m Libor3m 1.5e6
RatesFX JPY 2 6m Libor3m 2e6|RatesFX JPY 2 1y Libor6m 3e6|RatesFX JPY 2 2y Libor6m 4e6
RatesFX JPY 2 3y Libor6m 5e6|RatesFX JPY 2 5y Libor12m 20e6|RatesFX JPY 2 10y Libor12m 30e6
RatesFX JPY 2 15y Libor12m -1e6|RatesFX JPY 2 20y Libor12m -2e6|RatesFX JPY 2 30y Libor12m 3e6
RatesFX JPY Inflation 5e6|RatesFX JPY XCcyBasis 0.5e6|RatesFX CNY 3 2w OIS 1e6
RatesFX CNY 3 1m OIS 1.5e6|RatesFX CNY 3 3m Libor1m -0.5e6|RatesFX CNY 3 6m Libor3m -1e6
RatesFX MXN 3 1y Libor6m 9e6|RatesFX MXN 3 2y Libor12m 10e6|RatesFX MXN 3 3y OIS -0.5e6
RatesFX MXN 3 5y OIS -1e6|Credit BRL 3 10y Libor6m 14e6|Credit BRL 3 15y Libor6m 30e6
Credit BRL 3 20y Libor12m -0.8e6|Credit BRL 3 30y Libor12m -0.8e6|Credit BRL Inflation 2e6
Credit BRL XCcyBasis -1e6
"""

_FX = """
RatesFX EUR 50e6|RatesFX EUR -50e6|RatesFX EUR -5000e6|RatesFX USD 610e6|RatesFX GBP 910e6
RatesFX EUR -900e6|RatesFX CNY -200e6|RatesFX KRW 210e6|RatesFX TRY 80e6|RatesFX BRL -300e6
Credit BRL 41e6|Credit QAR -40e6
"""


def _row(text: str) -> list[object]:
    product, currency, *rest, amount = text.split()
    kind = {0: "FX", 1: rest[0] if rest else "", 3: "IRCurve"}[len(rest)]
    labels = rest if len(rest) == 3 else ["", "", ""]
    return [product, f"Risk_{kind}", currency, *labels, float(amount)]


def _rows(text: str) -> list[list[object]]:
    return [_row(entry) for line in text.split("\n") for entry in line.split("|") if entry]


RATES, FX = _rows(_RATES), _rows(_FX)
"""Rows numbered from 1 in the source: ProductClass ... Amount."""

EACH_RATE = {
    13: 122e6, 14: 228e6, 15: 600e6, 16: 1188e6, 17: 630e6, 18: 630e6, 19: 15e6, 20: 27e6,
    21: 13.5e6, 22: 22e6, 23: 39e6, 24: 60e6, 25: 90e6, 26: 400e6, 27: 570e6, 28: 19e6, 29: 40e6,
    30: 69e6, 31: 315e6, 32: 10.5e6, 33: 119e6, 34: 139.5e6, 35: 40e6, 36: 82e6, 37: 810e6,
    38: 920e6, 39: 47.5e6, 40: 95e6, 41: 1316e6, 42: 3240e6, 43: 84e6, 44: 80.8e6, 45: 126e6,
    46: 21e6,
}  # fmt: skip
"""The margin of single rows of RATES, by their number."""

CASES = {
    # name: numbers of RATES, numbers of FX, margin
    "C1": ([1], [], 460000000),
    "C47": ([8, 9], [], 1820000000),
    "C48": ([4, 5], [], 132000000),
    "C49": ([8, 9, 10] * 5, [], 22324612441),
    "C50": ([14, 15, 16] * 3, [], 5989197781),
    "C51": ([14, 15, 16] * 3 + [17, 18], [], 5369436086),
    "C52": ([26, 27, 28] * 3, [], 4076758139),
    "C53": ([26, 27, 28] * 3 + [31, 32], [], 4341184936),
    "C54": ([41, 42, 43, 44], [], 4952084725),
    "C55": ([41, 42, 43, 44, 45, 46], [], 5123511762),
    "C56": ([3, 4], [], 329207047),
    "C57": ([6, 7], [], 169856410),
    "C58": ([2, 5], [], 335434066),
    "C59": ([11, 12], [], 409981268),
    "C60": ([12, 13], [], 160339390),
    "C61": ([*range(19, 31)], [], 1131776699),
    "C62": ([*range(19, 33)], [], 1285123641),
    "C63": ([1, 22, 33], [], 508561147),
    "C64": ([1, 19, 33], [], 498088747),
    "C65": ([2, 19, 35], [], 304401380),
    "C66": ([3, 21, 37, 38, 37, 38], [], 3683062897),
    "C67": ([*range(1, 47)], [], 11126437227),
    "C68": ([], [1, 2], 0),
    "C69": ([], [3, 4], 37000000000),
    "C70": ([], [5, 6], 6697306623),
    "C71": ([], [7, 8], 1518353055),
    "C72": ([], [9, 10], 3755176481),
    "C73": ([], [11, 12], 556243630),
    "C74": ([], [3, 6] * 6, 690162764639),
    "C75": ([], [8] * 10, 20557487687),
    "C76": ([], [10] * 8, 46159930676),
    "C77": ([], [3, 4, 5, 6], 44232872284),
    "C78": ([], [5, 6, 7, 8], 6867662484),
    "C79": ([], [5, 6] + [9, 10] * 8, 44852574720),
    "C80": ([], [*range(1, 13)], 45609126471),
    "C81": ([*range(1, 47)], [*range(1, 13)], 52644493455),
}
