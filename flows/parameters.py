"""What runs can be asked for: the parameters of the flows, their deployments and commands."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from flows.settings import EngineName, FoldName, Settings
from workers.methodologies import DEFAULT_METHODOLOGY
from workers.plan import RunRequest
from workers.pool.request import DEFAULT_RULES, PoolRequest
from workers.stress.request import DEFAULT_PLAN, StressRequest

NettingName = Literal["isolated", "cross", "portfolio"]

OVERRIDES = (
    *("runs", "engine", "fold", "workers", "threads", "ray_address"),
    *("most_held_back", "most_money_held_back"),
)
"""Parameters that stand in for a setting of the process that runs the flow."""


class Work(BaseModel):
    """Where and how any run is computed; anything left out is taken from the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: Annotated[
        str | None,
        Field(description="Folder of the runs, or s3://bucket/prefix; that of the settings"),
    ] = None
    shards: Annotated[
        int | None, Field(ge=1, description="Into how many shards to cut the accounts")
    ] = None
    engine: Annotated[EngineName | None, Field(description="What runs the wide stages")] = None
    fold: Annotated[FoldName | None, Field(description="Where Dask folds")] = None
    workers: Annotated[int | None, Field(ge=1, description="Cores to use")] = None
    ray_address: Annotated[
        str | None, Field(description="Address of a Ray cluster; a local Ray when left out")
    ] = None

    unapproved: Annotated[
        bool, Field(description="Run a model that is not approved on the day; every page says so")
    ] = False
    reason: Annotated[
        str | None, Field(description="Why it is run, for the manifest and the audit log")
    ] = None

    def settings(self) -> Settings:
        """Return the settings of this process with what the parameters override."""
        return Settings.given(**self.model_dump(include=set(OVERRIDES)))


class RunParameters(Work):
    """What to run; anything left out is taken from the settings of the process that runs it."""

    threads: Annotated[int | None, Field(ge=1, description="Threads inside one task")] = None
    book: Annotated[str, Field(description="Name, folder or s3:// address of the book")]
    market: Annotated[
        str | None,
        Field(description="Name or folder of a market; the shipped sample when left out"),
    ] = None
    methodology: Annotated[
        str, Field(description="Name of a shipped methodology, or the path of a TOML file")
    ] = DEFAULT_METHODOLOGY
    events: Annotated[
        str | None, Field(description="TOML file of hypothetical events; the shipped when left out")
    ] = None
    netting: Annotated[
        NettingName | None,
        Field(description="Margin mode of every account; what each chose when left out"),
    ] = None
    since: Annotated[
        str | None,
        Field(description="A published run; what depends on nothing that changed is kept from it"),
    ] = None
    most_held_back: Annotated[
        float | None,
        Field(ge=0.0, le=1.0, description="Part of accounts above which a run is not published"),
    ] = None
    most_money_held_back: Annotated[
        float | None,
        Field(ge=0.0, le=1.0, description="Part of collateral above which a run is not published"),
    ] = None

    def request(self, settings: Settings) -> RunRequest:
        """Return the run that is asked for."""
        return RunRequest(
            book=settings.book_path(self.book),
            market=None if self.market is None else settings.market_path(self.market),
            methodology=self.methodology,
            events=self.events,
            netting=self.netting,
            since=self.since,
            runs=settings.runs,
            shards=self.shards,
            threads=settings.threads,
            workers=settings.workers,
            unapproved=self.unapproved,
            reason=self.reason,
            most_held_back=settings.most_held_back,
            most_money_held_back=settings.most_money_held_back,
        )


class CollateralParameters(Work):
    """Which claims to pool with which margin run, and by which rules."""

    run: Annotated[
        str,
        Field(
            description="Name of a published margin run, a start of it, or latest: the newest of "
            "the claims' book"
        ),
    ]
    claims: Annotated[str, Field(description="Name or folder of the claims on the run's book")]
    rules: Annotated[
        str, Field(description="Name of shipped rules of a pool, or the path of a TOML file")
    ] = DEFAULT_RULES
    pools: Annotated[
        str | None,
        Field(description="Folder of the collateral runs, or s3://bucket/prefix"),
    ] = None

    def settings(self) -> Settings:
        """Return the settings of this process with what the parameters override."""
        return Settings.given(**self.model_dump(include={*OVERRIDES, "pools"}))

    def request(self, settings: Settings) -> PoolRequest:
        """Return the collateral run that is asked for."""
        return PoolRequest(
            run=self.run,
            claims=settings.claims_path(self.claims),
            rules=self.rules,
            runs=settings.runs,
            pools=settings.pools,
            shards=self.shards,
            unapproved=self.unapproved,
            reason=self.reason,
        )


class StressParameters(Work):
    """Which margin run to stress, and by which plan."""

    run: Annotated[str, Field(description="Name of a published margin run, or a start of it")]
    plan: Annotated[
        str, Field(description="Name of a shipped stress plan, or the path of a TOML file")
    ] = DEFAULT_PLAN
    stresses: Annotated[
        str | None, Field(description="Folder of the stress runs, or s3://bucket/prefix")
    ] = None
    pool: Annotated[
        str | None,
        Field(description="A collateral run of the margin run: where collateral lies"),
    ] = None
    pools: Annotated[
        str | None, Field(description="Folder of the collateral runs, or s3://bucket/prefix")
    ] = None
    batch: Annotated[
        int, Field(ge=1, description="Scenarios that go through the book together")
    ] = 32

    def settings(self) -> Settings:
        """Return the settings of this process with what the parameters override."""
        return Settings.given(**self.model_dump(include={*OVERRIDES, "stresses", "pools"}))

    def request(self, settings: Settings) -> StressRequest:
        """Return the stress run that is asked for."""
        return StressRequest(
            run=self.run,
            plan=self.plan,
            runs=settings.runs,
            stresses=settings.stresses,
            pool=self.pool,
            pools=settings.pools,
            shards=self.shards,
            batch=self.batch,
            unapproved=self.unapproved,
            reason=self.reason,
        )
