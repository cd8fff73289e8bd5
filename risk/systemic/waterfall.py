"""Who bears the losses of defaulters, layer after layer, and how much must be held for them.

A waterfall is data: named layers in order, each with who pays it. What no layer covers is reported
as ``uncovered``. Losses and resources are positive amounts of money.

Sources: CPMI-IOSCO, Principles for financial market infrastructures (2012), principles 4 and 13;
Regulation (EU) 648/2012, Articles 43 and 45.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from risk.specification import Name, Positive, Specification, read_toml

Floats = NDArray[np.float64]


class LayerSpec(Specification):
    """One layer: ``payer`` says whose resource it is.

    ``defaulter``: each defaulter's own, for its own loss alone. ``survivors``: contributions of
    members that did not default, pro rata to them, up to ``multiple`` times each one's (an
    assessment may be called more than once). ``venue``: one amount, its own capital or an insurance
    fund. ``winners``: what those who gained can give up, one amount; without ``capped`` it has no
    end.
    ``resource`` names the amounts given to ``run_waterfall``, the layer's own name where left out.
    """

    name: Name
    payer: Literal["defaulter", "survivors", "venue", "winners"]
    multiple: Positive = 1.0
    capped: bool = True
    resource: Name | None = None

    @model_validator(mode="after")
    def _means_something(self) -> "LayerSpec":
        if self.multiple != 1.0 and self.payer != "survivors":
            raise ValueError(
                f"layer {self.name!r}: multiple is {self.multiple:g}; only a layer of 'survivors' "
                "has one"
            )
        if not self.capped and self.payer != "winners":
            raise ValueError(f"layer {self.name!r}: only a layer of 'winners' may have no cap")
        if not self.capped and self.resource is not None:
            raise ValueError(f"layer {self.name!r}: without a cap it needs no resource")
        return self

    @property
    def amounts(self) -> str:
        """Return the name of the resource that it draws on."""
        return self.resource or self.name


class WaterfallSpec(Specification):
    """The order in which a venue's resources bear a loss, dated and with its source."""

    name: Name
    effective: date
    title: Annotated[str, Field(min_length=1)]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    not_verified: tuple[str, ...] = ()
    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_order(self) -> "WaterfallSpec":
        names = [layer.name for layer in self.layers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"layers {twice} stand twice; give each its own name")
        if "uncovered" in names:
            raise ValueError("a layer is named 'uncovered', which is what no layer bears")
        own = [layer.payer == "defaulter" for layer in self.layers]
        if sorted(own, reverse=True) != own:
            raise ValueError(
                "a layer of the defaulter stands after one of others; its own resources come first"
            )
        endless = [layer.name for layer in self.layers[:-1] if not layer.capped]
        if endless:
            raise ValueError(f"layer {endless[0]!r} has no cap; only the last layer may have none")
        return self


def parse_waterfall(text: str) -> WaterfallSpec:
    """Read a waterfall from TOML.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of bounds.
    """
    return WaterfallSpec.model_validate(read_toml(text))


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Who bore the losses of one venue, or of several.

    ``layers`` ``(layer, ...)`` with ``names`` and ``uncovered`` ``(...)`` add up to ``loss``
    ``(...)``; ``by_member`` ``(layer, member, ...)`` says which member bore a layer of defaulters
    or survivors, and is zero elsewhere.
    """

    names: tuple[str, ...]
    loss: Any
    layers: Any
    uncovered: Any
    by_member: Any

    def named(self, name: str) -> Any:
        """Return one layer, or what is ``uncovered``, ``(...)``."""
        return self.uncovered if name == "uncovered" else self.layers[self.names.index(name)]


def allocate(loss: ArrayLike, available: Sequence[ArrayLike]) -> tuple[Any, Any]:
    """Return what each layer bears and what is left, (...) and a (...) each -> (layer, ...), (...).

    A layer bears what is left, up to what it has; infinity has no end. Integers (int64, say cents)
    are exact. In floats the remainder is carried in twice the precision, so that only the one layer
    that is drawn on in part is rounded, once: all add up to the loss within half of its last bit.

    Raises:
        ValueError: an amount is negative or not a number.

    >>> layers, left = allocate(300, [60, 10, 5, 100, 100])
    >>> layers.tolist(), left.item()
    ([60, 10, 5, 100, 100], 25)
    """
    total = np.asarray(loss)
    given = [np.asarray(one) for one in available]
    for name, one in (("loss", total), *(("available", one) for one in given)):
        if not (one >= 0).all():
            raise ValueError(f"{name} is {one[~(one >= 0)].flat[0]}; allowed is an amount of 0 up")
    if not np.isfinite(total).all():
        raise ValueError("loss must be finite")
    whole = all(np.issubdtype(one.dtype, np.integer) for one in (total, *given))
    shape = np.broadcast_shapes(total.shape, *(one.shape for one in given))
    kind = np.int64 if whole else np.float64
    left = np.broadcast_to(total, shape).astype(kind)
    carry = np.zeros(shape, kind)
    layers = np.zeros((len(given), *shape), kind)
    for number, one in enumerate(given):
        has = np.broadcast_to(one, shape).astype(kind)
        covers = (has > left) | ((has == left) & (carry <= 0))
        layers[number] = taken = np.where(covers, left, has)
        left, lost = _exact_difference(left, taken)
        carry = np.where(covers, 0, carry + lost)
        left, carry = _exact_difference(left, -carry)
        left = np.where(covers, 0, left)
        carry = np.where(covers, 0, carry)
    return layers, left


def _exact_difference(left: Any, right: Any) -> tuple[Any, Any]:
    """Return left - right rounded, and what the rounding lost (Knuth's two-sum)."""
    difference = left - right
    back = difference - left
    return difference, (left - (difference - back)) - (right + back)


def run_waterfall(
    spec: WaterfallSpec,
    loss: ArrayLike,
    resources: Mapping[str, ArrayLike],
    defaulted: ArrayLike | None = None,
) -> Waterfall:
    """Return who bears the losses of defaulters, ``(member, ...) -> (layer, ...)``.

    ``loss`` ``(member, ...)`` is each defaulter's loss before any resource, over scenarios or what
    else follows; ``defaulted`` says who defaulted, those with a loss where left out. ``resources``
    has ``(member,)`` or ``(member, ...)`` for layers of defaulters and survivors, a number or
    ``(...)`` for the others. A defaulter's own resources never pay for another's loss.

    Raises:
        ValueError: a resource is missing or unknown, or an amount is negative.
    """
    lost = np.asarray(loss, np.float64)
    failed = lost > 0.0 if defaulted is None else np.asarray(defaulted, np.bool_)
    if ((lost > 0.0) & ~failed).any():
        raise ValueError("a member that did not default has a loss; give losses of defaulters only")
    asked = {layer.amounts for layer in spec.layers if layer.capped}
    if asked != set(resources):
        raise ValueError(
            f"waterfall {spec.name!r} draws on {sorted(asked)}, given are {sorted(resources)}"
        )
    given = {
        layer.name: _member_amounts(resources[layer.amounts], lost)
        for layer in spec.layers
        if layer.payer in {"defaulter", "survivors"}
    }
    own = [layer for layer in spec.layers if layer.payer == "defaulter"]
    shared = spec.layers[len(own) :]
    drawn, remainder = allocate(lost, [given[layer.name] for layer in own])
    total = lost.sum(axis=0)
    # What sums over members round is borne by the first layer, not by those who come after it.
    sums = [one.sum(axis=0) for one in drawn[:0:-1]]
    parts, need = allocate(total, [remainder.sum(axis=0), *sums, *([np.inf] if own else [])])
    need = parts[0] + need
    available: list[Any] = []
    for layer in shared:
        if layer.payer == "survivors":
            available.append(np.where(failed, 0.0, layer.multiple * given[layer.name]).sum(axis=0))
        else:
            available.append(
                np.asarray(resources[layer.amounts], np.float64) if layer.capped else np.inf
            )
    layers, uncovered = allocate(need, available)
    layers = np.concatenate([parts[:0:-1], layers])
    by_member = np.zeros((len(spec.layers), *lost.shape))
    by_member[: len(own)] = drawn
    for number, layer in enumerate(shared, len(own)):
        if layer.payer == "survivors":
            weight = np.where(failed, 0.0, given[layer.name])
            by_member[number] = pro_rata(layers[number], weight)
    return Waterfall(
        tuple(layer.name for layer in spec.layers), total, layers, uncovered, by_member
    )


def pro_rata(amount: ArrayLike, weight: ArrayLike) -> Floats:
    """Return shares of an amount in proportion to weights, (...) and (member, ...) alike.

    Where all weights are zero nobody has a share.

    >>> pro_rata(30.0, [1.0, 2.0, 0.0]).tolist()
    [10.0, 20.0, 0.0]
    """
    part = np.asarray(weight, np.float64)
    total = part.sum(axis=0)
    share = np.divide(part, total, out=np.zeros_like(part), where=total > 0.0)
    return np.asarray(share * np.asarray(amount, np.float64))


def combine(waterfalls: Sequence[Waterfall]) -> Waterfall:
    """Return the waterfall of a system: layers of one name are added up over venues.

    Names come in the order in which they are first met; members stay with their venues.

    Raises:
        ValueError: no waterfall is given.
    """
    if not waterfalls:
        raise ValueError("no waterfall is given; a system has at least one venue")
    names = tuple(dict.fromkeys(name for one in waterfalls for name in one.names))
    layers = np.array(
        [sum(one.named(name) for one in waterfalls if name in one.names) for name in names]
    )
    return Waterfall(
        names,
        sum(one.loss for one in waterfalls),
        layers,
        sum(one.uncovered for one in waterfalls),
        np.zeros((len(names), 0, *np.shape(waterfalls[0].loss))),
    )


def _member_amounts(resource: ArrayLike, loss: Floats) -> Floats:
    given = np.asarray(resource, np.float64)
    if given.ndim < loss.ndim:
        given = given.reshape(given.shape + (1,) * (loss.ndim - given.ndim))
    return np.broadcast_to(given, loss.shape)
