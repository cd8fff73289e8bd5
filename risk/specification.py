"""The base of every specification that is read from a TOML file."""

import re
import tomllib
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

LONGEST_TEXT = 2_000_000
"""Characters of a file of rules; the longest that ships has some fifty thousand."""

DEEPEST_TEXT = 16
"""Tables and lists within each other; those that ship have six."""


def read_toml(text: str, number: Callable[[str], Any] = float) -> dict[str, Any]:
    r"""Return the tables of a TOML text, whose numbers with a point are read by ``number``.

    Raises:
        ValueError: the text is no TOML, is longer than any honest one, or nested deeper.

    >>> read_toml("[netting]\nportfolio = 'account'")
    {'netting': {'portfolio': 'account'}}
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(
            f"TOML_TOO_LONG: the text has {len(text):,} characters; allowed are {LONGEST_TEXT:,}, "
            "write less into one file"
        )
    deep = f"TOML_TOO_DEEP: tables lie in tables more than {DEEPEST_TEXT} deep; write them flat"
    try:
        document = tomllib.loads(text, parse_float=number)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the text is no TOML: {error}") from None
    except RecursionError:
        raise ValueError(deep) from None
    level: list[Any] = [document]
    for _ in range(DEEPEST_TEXT):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return document
    raise ValueError(deep)


def _parts(value: Any) -> list[Any]:
    """Return the tables and lists that lie right in a table or a list."""
    inner = value.values() if isinstance(value, dict) else value
    return [part for part in inner if isinstance(part, dict | list)]


def _correlation(value: float) -> float:
    if not -1.0 <= value <= 1.0:
        raise ValueError(f"CORR_INVALID: a correlation is {value:g}; allowed is -1 to 1")
    return value


Correlation = Annotated[float, AfterValidator(_correlation)]


def require_correlation(name: str, matrix: NDArray[np.float64]) -> None:
    """Refuse a matrix, ``(factor, factor)``, that no random numbers could have as correlation.

    Raises:
        ValueError: an eigenvalue is below zero, beyond rounding.

    >>> import numpy as np
    >>> require_correlation("pairs", np.array([[1.0, 0.5], [0.5, 1.0]]))
    """
    least = float(np.linalg.eigvalsh(matrix).min(initial=0.0))
    if least < -1e-12:
        raise ValueError(
            f"CORR_NOT_PSD: {name} are not a correlation matrix: its least eigenvalue is "
            f"{least:.3g}, allowed is 0 or more; bring the correlations nearer to zero"
        )


def _plain(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is None:
        raise ValueError(
            f"{name!r} is no name; use up to 100 letters, digits, '.', '_' and '-', beginning "
            "with a letter or digit"
        )
    return name


Name = Annotated[str, AfterValidator(_plain)]
"""What labels columns, files and rows of tables."""


class Specification(BaseModel):
    """Frozen, and strict about fields: a misspelt switch is an error, never a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, document: Any) -> Any:
        if isinstance(document, dict):
            for name, field in cls.model_fields.items():
                if isinstance(document.get(name), bool) and field.annotation is not bool:
                    written = str(document[name]).lower()
                    raise ValueError(f"{name} is {written}; true and false are not allowed here")
        return document
