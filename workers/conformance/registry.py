"""Which of our functions answers to which method name of a vector."""

from functools import cache
from importlib import import_module

from workers.conformance.method import Method

MODULES = (
    # One line for each module that holds a mapping METHODS.
    "workers.conformance.charges",
    "workers.conformance.derive",
    "workers.conformance.pricing",
    "workers.conformance.span",
    "workers.conformance.deribit",
    "workers.conformance.protocols",
    "workers.conformance.simm",
    "workers.conformance.standard",
    "workers.conformance.statistics",
)


@cache
def methods() -> dict[str, Method]:
    """Return every method by its name.

    Raises:
        ValueError: two modules claim one name.

    >>> "black76" in methods()
    True
    """
    merged: dict[str, Method] = {}
    for module in MODULES:
        offered: dict[str, Method] = import_module(module).METHODS
        if twice := sorted(merged.keys() & offered.keys()):
            raise ValueError(f"{module} offers methods that another module has: {twice}")
        merged |= offered
    return merged
