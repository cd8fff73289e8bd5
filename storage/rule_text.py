"""The text of a file of rules from outside, read within a limit."""

from pathlib import Path

LARGEST_RULES = 8 << 20
"""Bytes; the largest file of rules that ships has some fifty thousand."""


def read_rule_text(path: Path | str) -> str:
    """Return the text of a file of rules.

    Raises:
        ValueError: it is larger than any honest one, or not UTF-8.
        OSError: it cannot be read.
    """
    file = Path(path)
    with file.open("rb") as opened:
        content = opened.read(LARGEST_RULES + 1)
    if len(content) > LARGEST_RULES:
        raise ValueError(
            f"{file} has more than {LARGEST_RULES:,} bytes; rules are TOML of some thousands, give "
            "the right file"
        )
    try:
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file} is not UTF-8 from byte {error.start:,} on; save it as UTF-8"
        ) from None
