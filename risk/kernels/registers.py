"""Explicit vector registers for numba: what the compiler is told rather than hoped to find.

A row of P&L is a sum over positions of quantity times a row of the cube. Held in registers, each
position costs one load and one fused multiply-add a vector and nothing is stored until the end;
plain loops store and reload the row at every position.

Every scenario is one chain of fused multiply-adds over the positions, in their order, from 0.0.
A chain lies in one lane whatever the width of the registers, so every width gives the same bits.
"""

from dataclasses import dataclass
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    register_model,
    typeof_impl,
    unbox,
)

DOUBLE, INT32, INT64 = ir.DoubleType(), ir.IntType(32), ir.IntType(64)
BYTES = 8


@dataclass(frozen=True, slots=True)
class Registers:
    """How many doubles a vector register holds, and how many registers hold totals."""

    lanes: int
    accumulators: int


def host_registers() -> Registers:
    """Return what suits the processor that compiles.

    A quarter of the registers is left for the quantity, the loads and the compiler.
    """
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return Registers(lanes=8, accumulators=16)
    if features.get("avx2") and features.get("fma"):
        return Registers(lanes=4, accumulators=12)
    return Registers(lanes=2, accumulators=8)


class RegistersType(types.Type):  # type: ignore[misc]  # numba publishes no types
    """The numba type of ``Registers``: its numbers are part of a kernel's compiled signature."""

    def __init__(self, lanes: int, accumulators: int) -> None:
        self.lanes = lanes
        self.accumulators = accumulators
        super().__init__(name=f"Registers({lanes}, {accumulators})")


register_model(RegistersType)(models.OpaqueModel)


@typeof_impl.register(Registers)
def _typeof(value: Registers, context: object) -> RegistersType:
    return RegistersType(value.lanes, value.accumulators)


@unbox(RegistersType)
def _unbox(typ: RegistersType, value: object, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


def _shape_constant(of: Any) -> Any:
    """Return an intrinsic that is a number known from the type of a ``Registers``."""

    def constant(typing: object, registers: RegistersType) -> Any:
        def codegen(context: object, builder: object, signature: object, args: object) -> Any:
            return ir.Constant(INT64, of(registers))

        return types.int64(registers), codegen

    return intrinsic(constant)


def _derived(of: Any) -> Any:
    """Return an intrinsic that maps a ``Registers`` to another one."""

    def derived(typing: object, registers: RegistersType) -> Any:
        def codegen(context: Any, builder: object, signature: object, args: object) -> Any:
            return context.get_dummy_value()

        return of(registers)(registers), codegen

    return intrinsic(derived)


width = _shape_constant(lambda registers: registers.lanes * registers.accumulators)
"""Scenarios that the accumulators hold."""

one_vector = _derived(lambda registers: RegistersType(registers.lanes, 1))
one_lane = _derived(lambda registers: RegistersType(1, 1))


def _pointer(context: Any, builder: Any, signature: Any, args: Any, which: int) -> Any:
    array_type = signature.args[which]
    return context.make_array(array_type)(context, builder, args[which]).data


class _Vector:
    """Emits loads, stores and arithmetic on one width of vector."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        self.type = ir.VectorType(DOUBLE, lanes)
        self.zero = ir.Constant(self.type, [0.0] * lanes)

    def _address(self, pointer: Any, vector: int) -> Any:
        offset = self.builder.gep(pointer, [ir.Constant(INT64, vector * self.lanes)])
        return self.builder.bitcast(offset, self.type.as_pointer())

    def load(self, pointer: Any, vector: int) -> Any:
        loaded = self.builder.load(self._address(pointer, vector))
        loaded.align = BYTES
        return loaded

    def store(self, value: Any, pointer: Any, vector: int) -> None:
        self.builder.store(value, self._address(pointer, vector), align=BYTES)

    def spread(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
        everywhere = ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, everywhere)

    def fused_multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        name = f"llvm.fma.v{self.lanes}f64"
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(self.type, [self.type] * 3), name
        )
        return self.builder.call(function, [a, b, c])


@intrinsic  # type: ignore[untyped-decorator]  # numba publishes no types
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
        pointer = [_pointer(context, builder, sig, args, k) if k in (1, 4, 5, 8) else None
                   for k in range(9)]  # fmt: skip
        column = builder.gep(pointer[1], [first_])
        target = builder.gep(pointer[8], [first_])
        vector = _Vector(builder, registers.lanes)
        before = builder.block
        body = builder.function.append_basic_block("position")
        after = builder.function.append_basic_block("row")
        builder.cbranch(builder.icmp_signed("<", start_, stop_), body, after)

        builder.position_at_end(body)
        position = builder.phi(INT64)
        totals = [builder.phi(vector.type) for _ in range(registers.accumulators)]
        row_of = builder.sext(builder.load(builder.gep(pointer[4], [position])), INT64)
        held = vector.spread(builder.load(builder.gep(pointer[5], [position])))
        cells = builder.gep(column, [builder.mul(row_of, stride_)])
        updated = [
            vector.fused_multiply_add(held, vector.load(cells, k), total)
            for k, total in enumerate(totals)
        ]
        following = builder.add(position, ir.Constant(INT64, 1))
        builder.cbranch(builder.icmp_signed("<", following, stop_), body, after)
        position.add_incoming(start_, before)
        position.add_incoming(following, body)

        builder.position_at_end(after)
        results = [builder.phi(vector.type) for _ in totals]
        for total, update, result in zip(totals, updated, results, strict=True):
            total.add_incoming(vector.zero, before)
            total.add_incoming(update, body)
            result.add_incoming(vector.zero, before)
            result.add_incoming(update, body)
        for k, result in enumerate(results):
            vector.store(result, target, k)
        return context.get_dummy_value()

    return signature, codegen
