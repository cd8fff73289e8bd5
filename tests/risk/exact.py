"""Black-76 to fifty digits: what the fast forms are compared with."""

import mpmath as mp


def truth(forward, strike, volatility, years, is_call):
    with mp.workdps(50):
        forward, strike = mp.mpf(forward), mp.mpf(strike)
        deviation = mp.mpf(volatility) * mp.sqrt(mp.mpf(years))
        if deviation == 0 or forward == 0 or strike == 0:
            return max(forward - strike if is_call else strike - forward, mp.mpf(0))
        d1 = mp.log(forward / strike) / deviation + deviation / 2
        d2 = d1 - deviation
        side = 1 if is_call else -1
        below = [mp.erfc(-side * d / mp.sqrt(2)) / 2 for d in (d1, d2)]
        return side * (forward * below[0] - strike * below[1])
