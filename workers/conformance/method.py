"""What a method of the conformance suite is: a function from the inputs of a vector to numbers."""

from collections.abc import Callable, Mapping
from typing import Any

Inputs = Mapping[str, Any]
"""The inputs of one vector, as they stand in the file."""

Tables = Mapping[str, Any]
"""The inputs of the file's tables, by id, objects or lists; a vector names one under a key
ending in ``_ref``."""

Numbers = Mapping[str, Any]
"""Computed numbers under the keys of the vector's ``expected``; more keys are allowed."""

Method = Callable[[Inputs, Tables], Numbers]
"""A method: raises ``ValueError`` where the inputs cannot be meant."""


def table(inputs: Inputs, tables: Tables, key: str) -> Any:
    """Return the table that the inputs name under ``key``.

    Raises:
        ValueError: the inputs name none, or one that the file does not hold.

    >>> table({"params_ref": "p"}, {"p": {"factor": 2}}, "params_ref")
    {'factor': 2}
    """
    if key not in inputs:
        raise ValueError(f"the inputs name no table under {key!r}; they hold {sorted(inputs)}")
    name = inputs[key]
    if name not in tables:
        raise ValueError(f"{key} names table {name!r}, which the file does not hold")
    return tables[name]
