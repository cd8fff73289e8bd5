"""The base of every specification that is read from a TOML file."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


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
