"""What one core can do at most: loads and fused multiply-adds from its second-level cache.

Every load is used once, as a kernel that multiplies a row by a quantity uses it, over a buffer
that the second-level cache of current server cores holds. The vectors are those of the kernels.
"""

import time
from statistics import median
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from risk.kernels.registers import RegistersType, host_registers
from risk.kernels.vectors import INT64, Vector, pointer_to

BUFFER = 256 * 1024
PASSES = 2_000


@intrinsic
def _pass(typing: Any, registers: RegistersType, buffer: Any, stop: Any, factor: Any) -> Any:
    """Multiply and add ``buffer[:stop]``, a vector an accumulator, and return one lane of it."""
    signature = buffer.dtype(registers, buffer, types.int64, types.float64)
    number = registers.accumulators

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = Vector(builder, registers.lanes, buffer.dtype)
        source = pointer_to(context, builder, sig, args, 1)
        held = vector.spread(args[3])
        before = builder.block
        body = builder.function.append_basic_block("pass")
        after = builder.function.append_basic_block("pass.done")
        builder.branch(body)
        builder.position_at_end(body)
        place = builder.phi(INT64)
        totals = [builder.phi(vector.type) for _ in range(number)]
        cells = builder.gep(source, [place])
        updated = [
            vector.fused_multiply_add(held, vector.load(cells, k), total)
            for k, total in enumerate(totals)
        ]
        following = builder.add(place, ir.Constant(INT64, number * registers.lanes))
        builder.cbranch(builder.icmp_signed("<", following, args[2]), body, after)
        place.add_incoming(ir.Constant(INT64, 0), before)
        place.add_incoming(following, body)
        for total, update in zip(totals, updated, strict=True):
            total.add_incoming(vector.zero, before)
            total.add_incoming(update, body)
        builder.position_at_end(after)
        least = updated[0]
        for update in updated[1:]:
            least = vector.lower(update, least)
        return vector.least_lane(least)

    return signature, codegen


@njit(nogil=True)
def _run(registers: Any, buffer: Any, stop: int, passes: int) -> float:
    least = 0.0
    for n in range(passes):
        least = min(least, _pass(registers, buffer, stop, 1e-9 * n))
    return least


def load_bound(number: type[np.floating[Any]], rounds: int = 7) -> float:
    """Return G loads and multiply-adds a second of one core, the median of rounds."""
    registers = host_registers() if number is np.float64 else host_registers().single()
    wide = registers.lanes * registers.accumulators
    stop = BUFFER // np.dtype(number).itemsize // wide * wide
    buffer = np.ones(stop, dtype=number)
    _run(registers, buffer, stop, 2)
    rates = []
    for _ in range(rounds):
        start = time.process_time()
        _run(registers, buffer, stop, PASSES)
        rates.append(stop * PASSES / (time.process_time() - start) / 1e9)
    return median(rates)


def of_bound(lines: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return a line for each worst loss that was measured, against the bound of its precision."""
    found = {}
    for name, number in (("worst_loss_f64", np.float64), ("worst_loss_f32", np.float32)):
        bound = load_bound(number)
        found[f"{name}_of_bound"] = {
            "ours": lines[name]["ours"],
            "peer": bound,
            "ratio": lines[name]["ours"] / bound,
            "unit": "G multiply-adds/s",
            "peer_name": f"load and multiply-add from {BUFFER >> 10} KB, one core",
        }
    return found
