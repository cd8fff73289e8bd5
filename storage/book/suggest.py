"""What a person may have meant by the name of an account that is not there."""

import re
from collections.abc import Sequence
from difflib import get_close_matches


def spellings(name: str, patterns: Sequence[str]) -> list[str]:
    """Return other ways to write a name: case, blanks, and numbers padded like the patterns.

    >>> spellings("a-17 ", ["A-000001"])
    ['a-17', 'A-17', 'A-000017']
    """
    plain = name.strip()
    forms = dict.fromkeys((plain, plain.upper(), plain.lower()))
    number = re.fullmatch(r"(\D*)(\d+)", plain)
    if number:
        shapes = (re.fullmatch(r"(\D*)(\d+)", pattern) for pattern in patterns)
        for shape in shapes:
            if shape and shape[1].casefold() == number[1].casefold():
                forms.setdefault(shape[1] + str(int(number[2])).zfill(len(shape[2])))
    return [form for form in forms if form != name]


def nearest(name: str, names: Sequence[str]) -> str:
    """Return the similar name that shares the longest beginning, or nothing.

    >>> nearest("A-001O", ["A-0001", "A-0010", "B-0010"]), nearest("zebra", ["A-0001"])
    ('A-0010', '')
    """

    def shared(other: str) -> int:
        differ = (i for i, (a, b) in enumerate(zip(name, other, strict=False)) if a != b)
        return next(differ, min(len(name), len(other)))

    return max(get_close_matches(name, names, n=max(len(names), 1)), key=shared, default="")
