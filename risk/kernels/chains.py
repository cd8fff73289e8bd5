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
from risk.kernels.vectors import INT64, Vector, pointer_to


def _chains(
    vector: Vector, registers: RegistersType, instrument: Any, quantity: Any, start: Any,
    stop: Any, cells_of: Callable[[Any], Any],
) -> list[Any]:  # fmt: skip
    """Emit the loop over positions, and return the vectors that it ends with.

    ``cells_of`` maps an instrument to the address of its first cell.
    """
    builder = vector.builder
    before = builder.block
    body = builder.function.append_basic_block("position")
    after = builder.function.append_basic_block("positions.done")
    builder.cbranch(builder.icmp_signed("<", start, stop), body, after)

    builder.position_at_end(body)
    position = builder.phi(INT64)
    totals = [builder.phi(vector.type) for _ in range(registers.accumulators)]
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
    return results


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

        vector = Vector(builder, registers.lanes, cube.dtype)
        results = _chains(vector, registers, instrument_, quantity_, start_, stop_, cells_of)
        for k, result in enumerate(results):
            vector.store(result, target, k)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def reaches(
    typing: Any,
    registers: RegistersType,
    tile: Any,
    instrument: Any,
    quantity: Any,
    start: Any,
    stop: Any,
    bound: Any,
    row: Any,
) -> Any:
    """Tell whether the positions ``start:stop`` reach a bound in a tile ``(instrument, width)``.

    Where their P&L is at most the bound in some scenario it is written to ``row[:width]``.
    Nothing is checked.
    """
    signature = types.boolean(
        registers, tile, instrument, quantity, types.int64, types.int64, tile.dtype, row
    )
    wide = ir.Constant(INT64, registers.lanes * registers.accumulators)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        tile_, instrument_, quantity_, row_ = (
            pointer_to(context, builder, sig, args, k) for k in (1, 2, 3, 7)
        )

        def cells_of(which: Any) -> Any:
            return builder.gep(tile_, [builder.mul(builder.sext(which, INT64), wide)])

        vector = Vector(builder, registers.lanes, tile.dtype)
        results = _chains(vector, registers, instrument_, quantity_, args[4], args[5], cells_of)
        least = results[0]
        for result in results[1:]:
            least = vector.lower(result, least)
        reached = vector.any_at_most(least, vector.spread(args[6]))
        with builder.if_then(reached, likely=False):
            for k, result in enumerate(results):
                vector.store(result, row_, k)
        return reached

    return signature, codegen
