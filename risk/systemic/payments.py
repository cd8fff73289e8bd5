"""What defaulters pay of the one class of debt that each pays in part.

Those payments x depend on each other linearly: x = fixed + beta S x, with S the shares that
defaulters get of each other's payments of the open class.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array, vstack
from scipy.sparse.linalg import splu

from risk.systemic.network import Floats

DIRECT = 300
"""Systems of up to so many defaulters are factorised; larger ones are iterated on."""
_REFINEMENTS = 30
_RESIDUAL = 1e-14
_STEPS = 500
_STEP_RESIDUAL = 1e-6


class OpenPayments:
    """The equations of some defaulters: ``failed`` are their rows, ``open_class`` ``(failed,)``.

    ``shares`` has a matrix ``(node, node)`` a class of debt: the part of each row node's payment
    that goes to each column node. ``recovery`` ``(node,)`` is the part of what a defaulter receives
    that it pays on.
    """

    def __init__(
        self,
        shares: Sequence[Any],
        recovery: Floats,
        failed: NDArray[np.int64],
        open_class: NDArray[np.int64],
    ) -> None:
        self.failed, self.beta = failed, recovery[failed]
        by_class = [np.flatnonzero(open_class == row) for row in range(len(shares))]
        self.order = np.concatenate(by_class)
        self.given = vstack(
            [m[failed[rows]] for m, rows in zip(shares, by_class, strict=True)],
            format="csr",
        ).T

    def solve(self, fixed: Floats, start: Floats, pays: NDArray[np.bool_]) -> Floats:
        """Return x where only those that ``pays`` says do, all ``(failed,)``; ``start`` is near."""
        if len(fixed) <= DIRECT:
            return self._factorised(fixed, pays)

        def less_shares(x: Floats) -> Floats:
            received = self.given @ np.where(pays, x, 0.0)[self.order]
            return np.asarray(x - self.beta * received[self.failed])

        scale = max(float(np.abs(fixed).max()), float(np.abs(start).max()))
        x = start
        for _ in range(_REFINEMENTS):
            missing = fixed - less_shares(x)
            worst = np.abs(missing).max()
            if worst <= _RESIDUAL * scale:
                return x
            step = _stabilised_step(less_shares, missing)
            # A step that does not help gives way to one of the plain iteration, which always does.
            helps = np.abs(missing - less_shares(step)).max() < 0.5 * worst
            x = x + (step if helps else missing)
        return self._factorised(fixed, pays)

    def _factorised(self, fixed: Floats, pays: NDArray[np.bool_]) -> Floats:
        given = csr_array(self.given)[self.failed][:, np.argsort(self.order)]
        shares = diags_array(self.beta) @ given @ diags_array(pays.astype(np.float64))
        matrix = eye_array(len(fixed), format="csr") - shares
        return np.asarray(splu(matrix.tocsc()).solve(fixed))


def _stabilised_step(apply: Callable[[Floats], Floats], wanted: Floats) -> Floats:
    """Return x with apply(x) near ``wanted``: biconjugate gradients, stabilised (van der Vorst).

    Inner products are NumPy's own sums, whose bits do not depend on the number of threads, as
    those of a BLAS do.
    """
    x, left, along, applied = np.zeros_like(wanted), wanted, np.zeros_like(wanted), 0.0 * wanted
    rho = alpha = omega = 1.0
    for _ in range(_STEPS):
        before, rho = rho, float((wanted * left).sum())
        if rho == 0.0 or omega == 0.0:
            break
        along = left + rho / before * alpha / omega * (along - omega * applied)
        applied = apply(along)
        alpha = rho / float((wanted * applied).sum() or np.inf)
        halfway = left - alpha * applied
        turned = apply(halfway)
        omega = float((turned * halfway).sum()) / float((turned * turned).sum() or np.inf)
        x = x + alpha * along + omega * halfway
        left = halfway - omega * turned
        if np.abs(left).max() <= _STEP_RESIDUAL * np.abs(wanted).max():
            break
    return x
