"""Bytes and numbers as Ethereum's nodes write them: ``0x`` and hexadecimal digits."""

import re

_DIGITS = re.compile(r"0x[0-9a-fA-F]*")


class NotHexadecimal(ValueError):
    """Text that is not ``0x`` and hexadecimal digits, or of another length."""


def to_bytes(text: object, length: int | None = None) -> bytes:
    """Return the bytes that a text spells, exactly ``length`` of them if it is given.

    Raises:
        NotHexadecimal: it is no text, has an odd digit, another character or another length.

    >>> to_bytes("0xc0fe", 2).hex()
    'c0fe'
    """
    if not isinstance(text, str) or not _DIGITS.fullmatch(text) or len(text) % 2:
        raise NotHexadecimal(f"{_short(text)} is not 0x and an even number of hexadecimal digits")
    data = bytes.fromhex(text[2:])
    if length is not None and len(data) != length:
        raise NotHexadecimal(f"{_short(text)} has {len(data)} bytes, allowed are {length}")
    return data


def to_number(text: object) -> int:
    """Return the number below 2^256 that a text spells.

    Raises:
        NotHexadecimal: it is no text, has no digit, more than 64, or another character.

    >>> to_number("0x10")
    16
    """
    if not isinstance(text, str) or not _DIGITS.fullmatch(text) or not 3 <= len(text) <= 66:
        raise NotHexadecimal(f"{_short(text)} is not 0x and 1 to 64 hexadecimal digits")
    return int(text, 16)


def _short(value: object) -> str:
    """Return what was given, cut where it is long."""
    shown = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return shown if len(shown) <= 80 else f"{shown[:60]}... ({len(shown)} characters)"
