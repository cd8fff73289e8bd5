"""JSON from outside: how deep it may go, before the reader of the standard library sees it."""

import re

DEEPEST = 16
"""Lists and objects within each other; what is written here has some six."""

# A string, which may contain brackets, or a bracket. A string that does not end goes on to the end
# of the text: were it no match, the search would begin again at each quote within it.
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


def require_shallow(text: str) -> None:
    """Refuse a text that could lead json's reader, which recurs, to the end of the stack.

    The interpreter's own limit does not do: any library may raise it, and some do.

    Raises:
        ValueError: lists and objects lie within each other more than ``DEEPEST`` deep.

    >>> require_shallow('{"[[[[[[[[[[[[[[[[[[": [1]}')
    """
    depth = 0
    for match in _BRACKETS.finditer(text):
        first = match[0][0]
        depth += (first in "[{") - (first in "]}")
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
