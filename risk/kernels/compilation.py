"""How kernels are compiled, and where the machine code is kept between processes.

numba's own cache knows a function by its own source file, so a kernel would survive a change to
the functions it calls, and workers that start together after an upgrade can read an old file
under a new index. Here the folder is named after every source of this package, the files of
kernels that stand elsewhere, and the libraries that compile them: a folder holds one version only.
Where no folder can be written, a read-only image for one, every process compiles for itself.

``risk.pricing.cells`` keeps numba's own cache: all that its kernels call stands in its one file.
"""

import contextlib
import hashlib
from collections.abc import Callable
from importlib import resources
from typing import Any

import llvmlite
import numba
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)

_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""No lock held, IEEE division, no licence to reorder arithmetic, and no references counted.

A count is an atomic addition for every array in every tuple that is passed on. Python holds the
arrays while a kernel runs, and a kernel that makes one of its own does not compile.
"""


ELSEWHERE = (
    "standard/kernel.py",
    "sensitivities/kernel.py",
    "claims/graph.py",
    "claims/pool.py",
    "systemic/cascade.py",
    "systemic/custody.py",
    "systemic/insulation.py",
    "systemic/order.py",
    "systemic/requirement.py",
    "systemic/settlement.py",
    "systemic/stressed.py",
)
"""Files of kernels outside this package, from the folder above it."""


def _version() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    package = resources.files(__package__)
    here = sorted(entry.name for entry in package.iterdir() if entry.name.endswith(".py"))
    for name in (*here, *(f"../{path}" for path in ELSEWHERE)):
        digest.update(name.encode() + package.joinpath(name).read_bytes())
    return digest.hexdigest()[:16]


VERSION = _version()


def _versioned(locator: type[Any]) -> type[Any]:
    def get_cache_path(self: Any) -> str:
        return f"{locator.get_cache_path(self)}/kernels-{VERSION}"

    return type(f"Versioned{locator.__name__}", (locator,), {"get_cache_path": get_cache_path})


class _KernelCacheImpl(CompileResultCacheImpl):  # type: ignore[misc]  # numba publishes no types
    _locator_classes = tuple(
        _versioned(locator)
        for locator in (UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator)
    )


class _KernelCache(FunctionCache):  # type: ignore[misc]  # numba publishes no types
    _impl_class = _KernelCacheImpl


compiled = numba.njit(**_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Compile a function that only kernels call."""


def kernel(function: Callable[..., None]) -> Any:
    """Compile a function that Python calls, and keep its machine code for the next process."""
    dispatcher = numba.njit(**_OPTIONS)(function)
    with contextlib.suppress(RuntimeError):  # what numba raises where no folder can be written
        dispatcher._cache = _KernelCache(function)
    return dispatcher
