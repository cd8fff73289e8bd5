"""One way to compile a kernel."""

import numba

compiled = numba.njit(nogil=True, error_model="numpy")
"""IEEE division, no lock held, and no licence to reorder arithmetic."""
