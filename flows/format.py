"""Numbers in words: money, counts, fractions, times and sizes as people read them."""

import math
from datetime import datetime

import numpy as np

NOTHING = "–"
"""What stands for a number that is not there."""

SCALES = ((1e12, "tn"), (1e9, "bn"), (1e6, "m"), (1e3, "k"))


def _signed(value: float, text: str) -> str:
    return f"−{text}" if value < 0 else text


def short(value: float, digits: int = 3) -> str:
    """Return a number to some significant digits with k, m, bn or tn.

    >>> short(1_234_567_890.0), short(-950.0), short(0.0), short(999_999.0), short(float("nan"))
    ('1.23 bn', '−950', '0', '1.00 m', '–')
    """
    if not math.isfinite(value):
        return NOTHING
    size = abs(value)
    # Rounding comes first: 999,999 reads as a million and not as 1000 thousand.
    rounded = float(f"{size:.{digits}g}")
    for scale, word in SCALES:
        if rounded >= scale:
            scaled = rounded / scale
            places = max(0, digits - 1 - math.floor(math.log10(scaled)))
            return _signed(value, f"{scaled:.{places}f} {word}")
    return _signed(value, f"{rounded:.{digits}g}") if rounded else "0"


def money(value: float) -> str:
    """Return an amount of US dollars to three digits.

    >>> money(1_234_567_890.0), money(-20_500.0)
    ('USD 1.23 bn', '−USD 20.5 k')
    """
    text = short(abs(value))
    return text if text == NOTHING else _signed(value, f"USD {text}")


def exact(value: float) -> str:
    """Return a number in full, to the unit, with thousands separators.

    >>> exact(1_234_567.4), exact(-3.0), exact(float("inf"))
    ('1,234,567', '−3', '–')
    """
    if not math.isfinite(value):
        return NOTHING
    return _signed(round(value), f"{abs(round(value)):,}")


def accounts_words(count: float) -> str:
    """Return a number of accounts.

    >>> accounts_words(1.0), accounts_words(102_323.0)
    ('1 account', '102 k accounts')
    """
    return "1 account" if count == 1 else f"{short(count)} accounts"


def percent(fraction: float) -> str:
    """Return a fraction in percent, to three digits and no more places than two.

    >>> percent(0.1234), percent(-0.66), percent(5.0), percent(0.00004)
    ('12.3 %', '−66 %', '500 %', '0.004 %')
    """
    if not math.isfinite(fraction):
        return NOTHING
    size = abs(fraction) * 100.0
    text = f"{size:.0f}" if size >= 99.95 else f"{size:.3g}" if size >= 0.01 else f"{size:.1g}"
    return _signed(fraction if float(text) else 0.0, f"{text} %")


def duration(seconds: float) -> str:
    """Return a time span.

    >>> duration(0.0421), duration(12.34), duration(125.0), duration(7320.0)
    ('42 ms', '12.3 s', '2 min 05 s', '2 h 02 min')
    """
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 1.0:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Return a number of bytes.

    >>> size(3_210_000_000), size(2_048)
    ('3.21 GB', '2.05 kB')
    """
    if not math.isfinite(count):
        return NOTHING
    for scale, word in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= scale:
            return f"{count / scale:.3g} {word}"
    return f"{count:.0f} B"


def day(instant: np.datetime64) -> str:
    """Return a date.

    >>> day(np.datetime64("2020-03-12T18:00"))
    '12 Mar 2020'
    """
    if np.isnat(instant):
        return NOTHING
    date = instant.astype("datetime64[s]").astype(datetime)
    return f"{date.day} {date:%b %Y}"


def window(start: np.datetime64, end: np.datetime64) -> str:
    """Return the days that a window spans.

    >>> window(np.datetime64("2020-03-11T18:00"), np.datetime64("2020-03-13T18:00"))
    '11–13 Mar 2020'
    >>> window(np.datetime64("2020-02-28T18:00"), np.datetime64("2020-03-01T18:00"))
    '28 Feb 2020 – 1 Mar 2020'
    """
    first, last = day(start), day(end)
    if first == last or NOTHING in (first, last):
        return first
    if first.split()[1:] == last.split()[1:]:
        return f"{first.split()[0]}–{last}"
    return f"{first} – {last}"


def instant(text: str) -> str:
    """Return an ISO 8601 instant as a date and a time in UTC; other text is returned as it is.

    >>> instant("2024-01-08T11:19:41Z"), instant("yesterday")
    ('8 Jan 2024 11:19 UTC', 'yesterday')
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%b %Y %H:%M} UTC"


def clipped(name: str, length: int = 26) -> str:
    """Return a name, cut to a length.

    >>> clipped("a name that goes on and on and on")
    'a name that goes on and o…'
    """
    return name if len(name) <= length else f"{name[: length - 1]}…"
