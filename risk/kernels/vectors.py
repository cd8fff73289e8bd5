"""Explicit vectors for numba: what the compiler is told rather than hoped to find.

Nothing here is checked, neither bounds nor shapes; the functions that call it see to both.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from risk.kernels.registers import RegistersType

DOUBLE, INT32, INT64 = ir.DoubleType(), ir.IntType(32), ir.IntType(64)
REALS = {types.float64: (DOUBLE, 8), types.float32: (ir.FloatType(), 4)}
"""The numbers that vectors are made of, and their bytes."""
MASK = 64
"""Values that one mask compares, and what an array that is read by masks must be padded by."""


def pointer_to(context: Any, builder: Any, signature: Any, args: Any, which: int) -> Any:
    """Return the address of the values of an argument that is an array."""
    array_type = signature.args[which]
    return context.make_array(array_type)(context, builder, args[which]).data


class Vector:
    """Emits loads, stores and arithmetic on one width of vector of one kind of number."""

    def __init__(self, builder: Any, lanes: int, number: Any) -> None:
        self.builder, self.lanes = builder, lanes
        self.real, self.bytes = REALS[number]
        self.name = f"v{lanes}f{8 * self.bytes}"
        self.type = ir.VectorType(self.real, lanes)
        self.zero = ir.Constant(self.type, [0.0] * lanes)
        self.infinity = ir.Constant(self.type, [float("inf")] * lanes)

    def _address(self, pointer: Any, vector: int) -> Any:
        offset = self.builder.gep(pointer, [ir.Constant(INT64, vector * self.lanes)])
        return self.builder.bitcast(offset, self.type.as_pointer())

    def load(self, pointer: Any, vector: int) -> Any:
        """Load the ``vector``-th vector from a pointer, which need not be aligned."""
        loaded = self.builder.load(self._address(pointer, vector))
        loaded.align = self.bytes
        return loaded

    def store(self, value: Any, pointer: Any, vector: int) -> None:
        """Store the ``vector``-th vector from a pointer, which need not be aligned."""
        self.builder.store(value, self._address(pointer, vector), align=self.bytes)

    def spread(self, scalar: Any) -> Any:
        """Put a scalar into every lane, rounded where the lanes are narrower."""
        if scalar.type != self.real:
            scalar = self.builder.fptrunc(scalar, self.real)
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
        everywhere = ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, everywhere)

    def lower(self, a: Any, b: Any) -> Any:
        """Take the lower of each lane, the second of equals."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def higher(self, a: Any, b: Any) -> Any:
        """Take the higher of each lane, the second of equals."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def least_lane(self, values: Any) -> Any:
        """Return the least of the lanes."""
        fold = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.real, [self.type]),
            f"llvm.vector.reduce.fmin.{self.name}",
        )
        return self.builder.call(fold, [values], fastmath=("nnan",))

    def any_at_most(self, a: Any, b: Any) -> Any:
        """Tell whether some lane of ``a`` is at most that of ``b``."""
        low = self.builder.fcmp_ordered("<=", a, b)
        bits = self.builder.bitcast(low, ir.IntType(self.lanes))
        return self.builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    def fused_multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return ``a * b + c``, rounded once."""
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.type, [self.type] * 3),
            f"llvm.fma.{self.name}",
        )
        return self.builder.call(function, [a, b, c])


def _sorting_network(number: int) -> list[tuple[int, int]]:
    """Return the exchanges that sort so many values, by Batcher's odd-even merge (1968)."""
    exchanges: list[tuple[int, int]] = []
    p = 1
    while p < number:
        k = p
        while k >= 1:
            low = [
                i + j
                for j in range(k % p, number - k, 2 * k)
                for i in range(min(k, number - j - k))
            ]
            exchanges += [(i, i + k) for i in low if i // (2 * p) == (i + k) // (2 * p)]
            k //= 2
        p *= 2
    return exchanges


@intrinsic
def sorted_minima(
    typing: Any, registers: RegistersType, values: Any, start: Any, stop: Any, minima: Any
) -> Any:
    """Write the minima of groups of ``values[start:stop]`` into ``minima[:width]``.

    A lane of a register sees every ``width``-th value. Each lane's minima ascend from register
    to register: ``minima[k * lanes + lane]``. ``stop - start`` is a multiple of the width, and
    not zero.
    """
    signature = types.void(registers, values, types.int64, types.int64, minima)
    number = registers.accumulators

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = Vector(builder, registers.lanes, values.dtype)
        source = pointer_to(context, builder, sig, args, 1)
        target = pointer_to(context, builder, sig, args, 4)
        before = builder.block
        body = builder.function.append_basic_block("minima")
        after = builder.function.append_basic_block("minima.sorted")
        builder.branch(body)

        builder.position_at_end(body)
        place = builder.phi(INT64)
        known = [builder.phi(vector.type) for _ in range(number)]
        cells = builder.gep(source, [place])
        least = [vector.lower(vector.load(cells, k), held) for k, held in enumerate(known)]
        following = builder.add(place, ir.Constant(INT64, number * registers.lanes))
        builder.cbranch(builder.icmp_signed("<", following, args[3]), body, after)
        place.add_incoming(args[2], before)
        place.add_incoming(following, body)
        for held, update in zip(known, least, strict=True):
            held.add_incoming(vector.infinity, before)
            held.add_incoming(update, body)

        builder.position_at_end(after)
        for i, j in _sorting_network(number):
            least[i], least[j] = vector.lower(least[i], least[j]), vector.higher(least[i], least[j])
        for k, value in enumerate(least):
            vector.store(value, target, k)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def count_of_64(typing: Any, registers: RegistersType, values: Any, first: Any, bound: Any) -> Any:
    """Count how many of ``values[first:first+64]`` are at most the bound."""
    signature = types.int64(registers, values, types.int64, values.dtype)
    lanes = registers.lanes

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = Vector(builder, lanes, values.dtype)
        cells = builder.gep(pointer_to(context, builder, sig, args, 1), [args[2]])
        limit = vector.spread(args[3])
        number = ir.IntType(8 * vector.bytes)
        whole = ir.VectorType(number, lanes)
        counts = []
        for k in range(MASK // lanes):
            low = builder.fcmp_ordered("<=", vector.load(cells, k), limit)
            counts.append(builder.zext(low, whole))
        while len(counts) > 1:
            counts = [builder.add(a, b) for a, b in zip(counts[::2], counts[1::2], strict=True)]
        total = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(number, [whole]),
            f"llvm.vector.reduce.add.v{lanes}i{number.width}",
        )
        count = builder.call(total, counts)
        return count if number == INT64 else builder.zext(count, INT64)

    return signature, codegen


@intrinsic
def least_of_64(typing: Any, registers: RegistersType, values: Any, first: Any) -> Any:
    """Return the least of ``values[first:first+64]``."""
    signature = values.dtype(registers, values, types.int64)
    lanes = registers.lanes

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = Vector(builder, lanes, values.dtype)
        cells = builder.gep(pointer_to(context, builder, sig, args, 1), [args[2]])
        least = [vector.load(cells, k) for k in range(MASK // lanes)]
        while len(least) > 1:
            least = [vector.lower(a, b) for a, b in zip(least[::2], least[1::2], strict=True)]
        return vector.least_lane(least[0])

    return signature, codegen


@intrinsic
def at_most(typing: Any, registers: RegistersType, values: Any, first: Any, bound: Any) -> Any:
    """Return which of ``values[first:first+64]`` are at most the bound, the first in bit 0."""
    signature = types.uint64(registers, values, types.int64, values.dtype)
    lanes = registers.lanes

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = Vector(builder, lanes, values.dtype)
        cells = builder.gep(pointer_to(context, builder, sig, args, 1), [args[2]])
        limit = vector.spread(args[3])
        mask = ir.Constant(INT64, 0)
        for k in range(MASK // lanes):
            low = builder.fcmp_ordered("<=", vector.load(cells, k), limit)
            bits = builder.zext(builder.bitcast(low, ir.IntType(lanes)), INT64)
            mask = builder.or_(mask, builder.shl(bits, ir.Constant(INT64, k * lanes)))
        return mask

    return signature, codegen


@intrinsic
def chained(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), codegen


@intrinsic
def prefetch(typing: Any, cube: Any, row: Any, column: Any) -> Any:
    """Ask for a cell of a C-contiguous array before it is read; any address is allowed."""
    signature = types.void(cube, types.int64, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array = context.make_array(sig.args[0])(context, builder, args[0])
        stride = builder.extract_value(array.shape, 1)
        cell = builder.gep(array.data, [builder.add(builder.mul(args[1], stride), args[2])])
        function = builder.module.declare_intrinsic(
            "llvm.prefetch.p0",
            fnty=ir.FunctionType(ir.VoidType(), [cell.type, INT32, INT32, INT32]),
        )
        read, nearest, data = (ir.Constant(INT32, value) for value in (0, 3, 1))
        builder.call(function, [cell, read, nearest, data])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def lowest_bit(typing: Any, mask: Any) -> Any:
    """Return the place of the lowest bit that is set, 64 where none is."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@intrinsic
def number_of_bits(typing: Any, mask: Any) -> Any:
    """Return how many bits are set."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@intrinsic
def take(typing: Any, row: Any, scenario: Any, values: Any, scenarios: Any, k: Any) -> Any:
    """Write ``values[k] = row[scenario]`` and ``scenarios[k] = scenario``, unchecked."""
    signature = types.void(row, types.int64, values, scenarios, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        row_, values_, scenarios_ = (pointer_to(context, builder, sig, args, i) for i in (0, 2, 3))
        builder.store(builder.load(builder.gep(row_, [args[1]])), builder.gep(values_, [args[4]]))
        builder.store(builder.trunc(args[1], INT32), builder.gep(scenarios_, [args[4]]))
        return context.get_dummy_value()

    return signature, codegen
