"""The shape of the vector registers, as a type that kernels are compiled for."""

import functools
from dataclasses import dataclass
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    register_model,
    typeof_impl,
    unbox,
)


@dataclass(frozen=True, slots=True)
class Registers:
    """How many doubles a vector register holds, and how many registers hold totals."""

    lanes: int
    accumulators: int

    def single(self) -> "Registers":
        """Return the same registers as they hold numbers of half the size."""
        return Registers(2 * self.lanes, self.accumulators)


@functools.cache
def host_registers(accumulators: int = 12) -> Registers:
    """Return what suits the processor that compiles.

    Twelve accumulators leave room for the quantity and the loads among sixteen registers. With
    AVX-512 there are thirty-two, but some processors prefer half their width, and a vector that
    the compiler splits takes two.
    """
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return Registers(8, accumulators)
    if features.get("avx2") and features.get("fma"):
        return Registers(4, accumulators)
    return Registers(2, accumulators)


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
            return ir.Constant(ir.IntType(64), of(registers))

        return types.int64(registers), codegen

    return intrinsic(constant)


def _derived(of: Any) -> Any:
    """Return an intrinsic that maps a ``Registers`` to another one."""

    def derived(typing: object, registers: RegistersType) -> Any:
        def codegen(context: Any, builder: object, signature: object, args: object) -> Any:
            return context.get_dummy_value()

        return of(registers)(registers), codegen

    return intrinsic(derived)


lanes_of = _shape_constant(lambda registers: registers.lanes)
width = _shape_constant(lambda registers: registers.lanes * registers.accumulators)
"""Scenarios that the accumulators hold."""

one_vector = _derived(lambda registers: RegistersType(registers.lanes, 1))
one_lane = _derived(lambda registers: RegistersType(1, 1))
