"""Model risk: how far apart models put the same measure of the same positions."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from risk.specification import Name, NonNegative, Specification

Floats = NDArray[np.float64]


class ModelRiskSpec(Specification):
    """A layer for the disagreement of models: shares of their spread.

    ``models`` names measures that estimate one quantity, in different ways or from different
    scenarios. ``range`` is the highest estimate less the lowest, ``standard_deviation`` that of
    the estimates as a population.

    Source: Danielsson, James, Valenzuela, Zer (2016), Model risk of risk models, which compares
    the highest and the lowest estimate of several models for the same position.
    """

    layer: Name
    models: Annotated[tuple[str, ...], Field(min_length=2)]
    spread: Literal["range", "standard_deviation"] = "range"
    initial: NonNegative
    maintenance: NonNegative

    @model_validator(mode="after")
    def _consistent(self) -> "ModelRiskSpec":
        if len(set(self.models)) < len(self.models):
            raise ValueError(f"layer {self.layer!r}: models {list(self.models)} must differ")
        if self.maintenance > self.initial:
            raise ValueError(
                f"layer {self.layer!r}: maintenance {self.maintenance:g} is above initial "
                f"{self.initial:g}; what is asked to hold is never above what is asked to open"
            )
        return self


def spread_of_models(estimates: Floats, spec: ModelRiskSpec) -> Floats:
    """Return the spread of estimates, ``(account, model) -> (account,)``, never negative.

    >>> spec = ModelRiskSpec(layer="model", models=("a", "b"), initial=1.0, maintenance=1.0)
    >>> spread_of_models(np.array([[4.0, 7.0], [5.0, 5.0]]), spec).tolist()
    [3.0, 0.0]
    """
    if spec.spread == "range":
        return np.asarray(estimates.max(axis=1) - estimates.min(axis=1))
    return np.asarray(estimates.std(axis=1))
