"""What is known of a stress run before its first scenario."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from risk.instruments import unit_notional
from risk.revaluation import cash_delta
from risk.systemic.cover import owner_rows
from risk.systemic.exposures import Issuers
from risk.systemic.prices import Ground
from storage.claims import Claims
from storage.objects import located
from storage.staging import Layout
from workers.collateral import counted_assets
from workers.memory import Projection, Room
from workers.methodologies import methodology_of
from workers.revaluation import terms_and_market_of
from workers.shards import Shard, cut, shard_length
from workers.stress.custody import IssuedClaims, issued_claims
from workers.stress.deleveraging import LARGEST
from workers.stress.disruptions import Disruption, disruptions_of
from workers.stress.memory import (
    StressSize,
    fitting_batch,
    project_stress,
    size_of,
    with_claims,
    with_insulation,
)
from workers.stress.request import StressIdentity, StressRequest
from workers.stress.scenarios import StressScenarios, require_failures, stress_scenarios

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StressWork:
    """What is known of a stress run before the first scenario."""

    identity: StressIdentity
    scenarios: StressScenarios
    ground: Ground
    notional: Floats
    lot_size: Floats
    table: pa.Table
    shards: list[Shard]
    batches: list[Shard]
    layout: Layout
    issuers: Issuers
    claims: IssuedClaims | None
    size: StressSize
    projection: Projection
    disruptions: Mapping[str, Disruption]
    owner: NDArray[np.int64]


def plan_stress(
    identity: StressIdentity, request: StressRequest, rooms: Sequence[Room]
) -> StressWork:
    """Build the scenarios and what prices come from, and cut accounts and scenarios.

    Fewer scenarios go together than were asked for where that many do not fit into memory.

    Raises:
        TooLargeForMemory: not even one scenario at a time fits.
        ValueError: the plan asks for what the margin run does not have, or says nothing of a coin.
    """
    run, book, plan = identity.run, identity.book, identity.named.plan
    instruments, market = terms_and_market_of(run, book)
    methodology = methodology_of(run)
    scenarios = stress_scenarios(run.scenarios.load(), plan)
    depth = {one.coin: one for one in plan.markets}
    missing = [coin for coin in scenarios.underlyings if coin not in depth]
    if missing:
        raise ValueError(
            f"plan {plan.name} has no market for {missing}, which the book trades; give daily "
            "volume and volatility of each"
        )
    notional = unit_notional(instruments, market.index)
    unit = np.where(notional > 0.0, notional, 1.0)
    table = book.instruments()
    shards = cut(book.accounts, shard_length(book.accounts, request.shards))
    asked = min(request.batch, len(scenarios))
    size = size_of(book, plan, shards, len(instruments), asked)
    if identity.pool is not None:
        held = Claims.open(located(identity.pool.manifest["inputs"]["claims"]["path"]))
        size = with_claims(size, held, shards)
    if plan.insulation is not None:
        size = with_insulation(
            size,
            plan.insulation,
            layers=len(methodology.layers),
            scenarios=run.scenarios.sizes["scenario"],
            compared=len(scenarios),
            members=book.members().num_rows,
        )
    width = fitting_batch(size, rooms)
    claims = None if identity.pool is None else issued_claims(identity.pool, request.runs)
    issuers = Issuers() if claims is None else claims.issuers
    require_failures(plan, scenarios.name, None if claims is None else issuers.names[1:])
    if claims is not None:
        for one in plan.scenarios:
            claims.kept(one.collateral)
    counted = counted_assets(book.assets(), run.manifest["index"], methodology.collateral)
    return StressWork(
        identity=identity,
        scenarios=scenarios,
        ground=Ground(
            instruments=instruments,
            market=market,
            tenor=methodology.volatility_tenor.tenor(),
            delta=np.where(notional > 0.0, cash_delta(instruments, market) / unit, 0.0),
            volume=np.array([depth[coin].daily_volume for coin in scenarios.underlyings]),
            volatility=np.array([depth[coin].daily_volatility for coin in scenarios.underlyings]),
        ),
        notional=notional,
        lot_size=table["lot_size"].to_numpy(),
        table=table,
        shards=shards,
        batches=cut(len(scenarios), width),
        issuers=issuers,
        claims=claims,
        layout=Layout(
            sizes={
                "scenario": len(scenarios),
                "round": plan.cascade.rounds + 1,
                "coin": len(scenarios.underlyings),
                "instrument": len(instruments),
                "member": book.members().num_rows,
                "issuer": len(issuers),
                "upon": len(issuers),
                "place": LARGEST,
            },
            chunks={"scenario": width},
            labels={
                "scenario": scenarios.name,
                "coin": scenarios.underlyings,
                "instrument": table["instrument"].to_pylist(),
                "member": book.members()["member"].to_pylist(),
                "issuer": issuers.names,
            },
        ),
        size=replace(size, batch=width),
        projection=project_stress(replace(size, batch=width), rooms),
        owner=owner_rows(
            book.members()["member"].to_pylist(), [one.members for one in plan.owners]
        ),
        disruptions=disruptions_of(plan, book, counted.value, scenarios.underlyings),
    )
