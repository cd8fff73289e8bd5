"""In whose custody the collateral of a stressed book lies: claims at the prices of the end."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from risk.claims.credit import unit_credit
from risk.claims.issuers import TokenIssuers, token_issuers
from risk.claims.scenarios import scenario_moves
from risk.claims.tokens import TokenKind
from risk.systemic.custody import ClaimWorth, Custody, HeldClaims, share_out
from risk.systemic.disruptions import CollateralMove, token_factors
from risk.systemic.exposures import Issuers
from storage.claims import Claims
from storage.objects import S3Folder
from storage.runs import StoredRun
from workers.engine import Engine
from workers.memory import process_peak_bytes
from workers.pool.source import PoolSource, pool_source
from workers.stress.tasks import StressInputs, StressItem, accounts_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class IssuedClaims:
    """The claims of a collateral run, who issued what they are of, and what they come to."""

    source: PoolSource
    tokens: TokenIssuers
    lender: NDArray[np.int64]

    @property
    def issuers(self) -> Issuers:
        """Who may owe holders of claims."""
        return Issuers(self.tokens.names, self.tokens.kinds)

    def kept(self, moves: tuple[CollateralMove, ...]) -> Floats:
        """Return what each token keeps of what it stands for where collateral moves, ``(token,)``.

        Raises:
            ValueError: a move means no token of the claims.
        """
        references = self.source.plan.references
        return token_factors(moves, references.tokens, references.names, self.source.plan.found)


@dataclass(frozen=True, slots=True)
class CustodyInputs:
    """What every task shares; ``held`` and ``owed`` are ``(claim,)`` over the whole dataset."""

    stress: StressInputs
    claims: Path | S3Folder
    claims_digest: str
    held: Floats
    owed: Floats
    worth: ClaimWorth


@dataclass(frozen=True, slots=True)
class CustodyResult:
    """What a shard's accounts pay and hold."""

    custody: Custody
    peak_bytes: int


def issued_claims(pool: StoredRun, runs: Path | S3Folder) -> IssuedClaims:
    """Return the claims of a collateral run as it counted them.

    Raises:
        ValueError: the inputs of the collateral run are not those that it used.
    """
    source = pool_source(pool, runs)
    references = source.plan.references
    tokens = token_issuers(references.tokens, references.names, source.plan.found)
    protocols = source.plan.tables.markets["protocol"].to_pylist()
    lender = [int(tokens.protocol[references.names.protocol.index(one)]) for one in protocols]
    return IssuedClaims(source, tokens, np.array(lender, dtype=np.int64))


def share_custody(
    engine: Engine,
    inputs: StressInputs,
    items: list[StressItem],
    price: Floats,
    issued: IssuedClaims,
    collateral: tuple[CollateralMove, ...] = (),
) -> Custody:
    """Return where what accounts pay with lies; ``price`` ``(coin, scenario)`` over first prices.

    Assets follow their coins as the rules of the pool say; nothing of the pool's own befalls them.
    ``collateral`` moves beside, in all of the scenarios.
    """
    source = issued.source
    shared = CustodyInputs(
        stress=inputs,
        claims=source.plan.claims.location,
        claims_digest=source.plan.claims.digest,
        held=source.counted.present,
        owed=source.counted.units,
        worth=ClaimWorth(
            value=_values(source, price.T - 1.0, issued.kept(collateral)),
            is_debt=source.plan.references.tokens.kind == TokenKind.DEBT,
            part=issued.tokens.part,
            lender=issued.lender,
        ),
    )
    found: Custody | None = None
    for one in engine.map(custody_shard, shared, items):
        found = one.custody if found is None else found + one.custody
    if found is None:
        raise ValueError("a book without accounts cannot be stressed")
    return found


def custody_shard(inputs: CustodyInputs, item: StressItem) -> CustodyResult:
    """Share out what a shard's accounts pay and hold."""
    shard, claims = item.shard, _claims(inputs.claims, inputs.claims_digest)
    written = claims.claim_slice(shard.start, shard.stop)
    rows = slice(written.first, written.first + len(written.token))
    held = HeldClaims(
        offsets=written.offsets,
        token=written.token,
        held=inputs.held[rows],
        owed=inputs.owed[rows],
        market=written.market,
    )
    accounts = accounts_of(inputs.stress, shard)
    custody = share_out(
        accounts, item.state, inputs.stress.cube, held, inputs.worth, inputs.stress.groups
    )
    return CustodyResult(custody, process_peak_bytes())


def _values(source: PoolSource, moves: Floats, kept: Floats) -> Floats:
    """Return USD of a unit of each token now and in each scenario, ``(token, 1 + scenario)``.

    ``kept`` ``(token,)`` is what each keeps by itself in all of the scenarios.
    """
    references, plan = source.plan.references, source.plan
    rules = plan.rules.model_copy(update={"scenarios": ()})
    names = [f"scenario {row}" for row in range(len(moves))]
    moved = scenario_moves(
        references.tokens,
        references.names,
        plan.found,
        rules,
        names,
        plan.scenarios.coins,
        moves,
        np.ones(len(moves)),
    )
    left = moved.kept.copy()
    left[:, 1:] *= kept[:, np.newaxis]
    return unit_credit(
        references.tokens,
        references.names,
        references.feeds,
        rules,
        source.counted.totals,
        replace(moved, kept=left),
        plan.found,
    ).value


@lru_cache(maxsize=1)
def _claims(path: Path | S3Folder, digest: str) -> Claims:
    claims = Claims.open(path)
    if claims.digest != digest:
        raise ValueError(
            f"claims {path} have digest {claims.digest[:12]}, the run was planned on "
            f"{digest[:12]}; claims must not change under a run"
        )
    return claims
