"""Sums over positions of quantity times a row of P&L, held in registers to the end.

Each position costs one load and one fused multiply-add a vector, and nothing is stored until the
last; plain loops store and reload the row at every position.

Every scenario is one chain of fused multiply-adds over the positions, in their order, from 0.0.
A chain lies in one lane whatever the width of the registers, so every width gives the same bits.

Nothing here is checked, neither bounds nor shapes; the functions that call it see to both.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from risk.kernels.registers import RegistersType
from risk.kernels.vectors import BYTES, DOUBLE, INT32, INT64, Vector, pointer_to

LINE = 64
"""Bytes that a cache moves at once."""
AHEAD = 6
"""Positions between the prefetch of a row and its use, as many as cover a cache's latency."""


def _chains(
    builder: Any, registers: RegistersType, instrument: Any, quantity: Any, start: Any, stop: Any,
    cells_of: Callable[[Any], Any], each: Callable[[Any], None] = lambda position: None,
) -> tuple[Vector, list[Any]]:  # fmt: skip
    """Emit the loop over positions, and return the vectors that it ends with.

    ``cells_of`` maps an instrument to the address of its first cell; ``each`` emits what else
    is done at a position.
    """
    vector = Vector(builder, registers.lanes)
    before = builder.block
    body = builder.function.append_basic_block("position")
    after = builder.function.append_basic_block("positions.done")
    builder.cbranch(builder.icmp_signed("<", start, stop), body, after)

    builder.position_at_end(body)
    position = builder.phi(INT64)
    totals = [builder.phi(vector.type) for _ in range(registers.accumulators)]
    each(position)
    cells = cells_of(builder.load(builder.gep(instrument, [position])))
    held = vector.spread(builder.load(builder.gep(quantity, [position])))
    updated = [
        vector.fused_multiply_add(held, vector.load(cells, k), total)
        for k, total in enumerate(totals)
    ]
    following = builder.add(position, ir.Constant(INT64, 1))
    builder.cbranch(builder.icmp_signed("<", following, stop), body, after)
    position.add_incoming(start, before)
    position.add_incoming(following, body)

    builder.position_at_end(after)
    results = [builder.phi(vector.type) for _ in totals]
    for total, update, result in zip(totals, updated, results, strict=True):
        total.add_incoming(vector.zero, before)
        total.add_incoming(update, body)
        result.add_incoming(vector.zero, before)
        result.add_incoming(update, body)
    return vector, results


@intrinsic
def accumulate(
    typing: Any,
    registers: RegistersType,
    cube: Any,
    stride: Any,
    first: Any,
    instrument: Any,
    quantity: Any,
    start: Any,
    stop: Any,
    row: Any,
) -> Any:
    """Write ``row[first:first+width]``, the P&L of the positions ``start:stop``.

    ``cube`` is C-contiguous and ``stride`` its number of scenarios. Nothing is checked.
    """
    signature = types.void(registers, cube, stride, first, instrument, quantity, start, stop, row)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, _, stride_, first_, _, _, start_, stop_, _ = args
        cube_, instrument_, quantity_, row_ = (
            pointer_to(context, builder, sig, args, k) for k in (1, 4, 5, 8)
        )
        column, target = builder.gep(cube_, [first_]), builder.gep(row_, [first_])

        def cells_of(which: Any) -> Any:
            return builder.gep(column, [builder.mul(builder.sext(which, INT64), stride_)])

        vector, results = _chains(
            builder, registers, instrument_, quantity_, start_, stop_, cells_of
        )
        for k, result in enumerate(results):
            vector.store(result, target, k)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def lower_least(
    typing: Any,
    registers: RegistersType,
    tile: Any,
    first: Any,
    instrument: Any,
    quantity: Any,
    start: Any,
    stop: Any,
    last: Any,
    n: Any,
    lowest: Any,
    scenario: Any,
) -> Any:
    """Lower ``lowest[n]``, at ``scenario[n]``, to the least P&L of the positions in a tile.

    ``tile`` ``(instrument, width)`` holds the scenarios from ``first``. Where its least P&L is
    below ``lowest[n]``, that and the first scenario that has it are written. Rows are prefetched
    past ``stop``, as far as the position ``last``. Nothing is checked.
    """
    signature = types.void(
        registers, tile, types.int64, instrument, quantity, types.int64, types.int64, types.int64,
        types.int64, lowest, scenario,
    )  # fmt: skip
    wide = registers.lanes * registers.accumulators
    bits = ir.IntType(max(wide, INT64.width))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        tile_, instrument_, quantity_, lowest_, scenario_ = (
            pointer_to(context, builder, sig, args, k) for k in (1, 3, 4, 9, 10)
        )
        first_, (start_, stop_, last_, n_) = args[2], args[5:9]

        def cells_of(which: Any) -> Any:
            row = builder.sext(which, INT64)
            return builder.gep(tile_, [builder.mul(row, ir.Constant(INT64, wide))])

        def prefetch(position: Any) -> None:
            later = builder.add(position, ir.Constant(INT64, AHEAD))
            later = builder.select(builder.icmp_signed("<", later, last_), later, last_)
            _prefetch(builder, cells_of(builder.load(builder.gep(instrument_, [later]))), wide)

        vector, results = _chains(
            builder, registers, instrument_, quantity_, start_, stop_, cells_of, prefetch
        )
        least = results[0]
        for result in results[1:]:
            least = vector.lower(result, least)
        value, known = vector.least_lane(least), builder.gep(lowest_, [n_])
        with builder.if_then(builder.fcmp_ordered("<", value, builder.load(known)), likely=False):
            builder.store(value, known)
            everywhere, places = vector.spread(value), ir.Constant(bits, 0)
            for k, result in enumerate(results):
                equal = vector.equal_lanes(result, everywhere, bits)
                shift = ir.Constant(bits, k * registers.lanes)
                places = builder.or_(places, builder.shl(equal, shift))
            place = builder.cttz(places, ir.Constant(ir.IntType(1), 0))
            where = builder.add(builder.trunc(first_, INT32), builder.trunc(place, INT32))
            builder.store(where, builder.gep(scenario_, [n_]))
        return context.get_dummy_value()

    return signature, codegen


def _prefetch(builder: Any, cells: Any, number: int) -> None:
    """Emit the prefetch of so many cells, for reading, into the nearest cache."""
    function = builder.module.declare_intrinsic(
        "llvm.prefetch.p0",
        fnty=ir.FunctionType(ir.VoidType(), [DOUBLE.as_pointer(), INT32, INT32, INT32]),
    )
    read, nearest, data = (ir.Constant(INT32, value) for value in (0, 3, 1))
    for cell in range(0, number, LINE // BYTES):
        line = builder.gep(cells, [ir.Constant(INT64, cell)])
        builder.call(function, [line, read, nearest, data])
