"""The command ``stress reverse``: the most plausible shock that exhausts a resource."""

from typing import Annotated, Any

from cyclopts import Parameter

from flows.commands.shared import CONSOLE, MESSAGES, Json, Runs, Unapproved, print_json
from flows.settings import EngineName, Settings


def reverse(
    run: str,
    *,
    plan: str | None = None,
    resource: Annotated[list[str] | None, Parameter(negative=())] = None,
    defaulters: str | None = None,
    sample: int | None = None,
    runs: Runs = None,
    reverses: str | None = None,
    engine: EngineName = "dask",
    workers: int | None = None,
    ray_address: str | None = None,
    unapproved: Unapproved = False,
    reason: str | None = None,
    json: Json = False,
) -> None:
    """Find the most plausible shock that exhausts a resource, and how few members it takes.

    Plausible is near in Mahalanobis distance, by the historical windows of the margin run. Every
    shock that is found is run to the end of its cascade as well.

    Args:
        run: name of a published margin run, or an unambiguous start of it
        plan: name of a shipped stress plan, or a TOML file
        resource: a layer of the plan with all before it, or an amount of USD; may be given many
            times, every layer that has an end when left out
        defaulters: numbers of members, with commas, that are to exhaust the first resource alone;
            1, 2, 4 and 8 of those that there are when left out
        sample: blocks of accounts that the search looks at; all of them when left out
        runs: folder of the margin runs, or s3://bucket/prefix; runs of the data folder
        reverses: folder of the reverse stresses, or s3://bucket/prefix; reverses of the data folder
        engine: dask, threads of this process that share the book; ray or serial
        workers: cores to use
        ray_address: address of a Ray cluster; a local Ray when left out
        unapproved: run a plan that is not approved on the day; every page says so
        reason: why it is run, for the manifest and the audit log
        json: print the manifest as JSON
    """
    from flows.reverse_tables import print_reverse
    from workers.reverse.request import reverse_store

    settings = Settings.given(
        runs=runs,
        reverses=reverses,
        engine=engine,
        fold="threads",
        workers=workers,
        ray_address=ray_address,
    )
    manifest = run_reverse(
        settings,
        run,
        plan,
        resource or [],
        defaulters,
        sample,
        unapproved=unapproved,
        reason=reason,
    )
    if json:
        print_json(manifest)
        return
    print_reverse(CONSOLE, reverse_store(settings.reverses).read(manifest["run_id"]))


def run_reverse(
    settings: Settings,
    run: str,
    plan: str | None,
    resources: list[str],
    defaulters: str | None,
    sample: int | None,
    *,
    unapproved: bool = False,
    reason: str | None = None,
) -> dict[str, Any]:
    """Search in this process; return what is published already as it is.

    Raises:
        KeyUnusable: the key that signs is no Ed25519 key, or others may read it.
        ValueError: defaulters are no numbers, or an input is not usable.
    """
    from flows.progress import TerminalProgress

    with TerminalProgress(MESSAGES) as progress:
        with progress.waiting("open the margin run"):
            from flows.commands.stress_plan import require_plan, require_plan_of
            from flows.engines import Engines
            from workers.memory import PeakMemory
            from workers.reverse.request import ReverseRequest, identify_reverse, reverse_store
            from workers.reverse.run import ReverseRun, exhaustions_of
            from workers.stages import StageTable
            from workers.stress.request import DEFAULT_PLAN, StressRequest

            request = ReverseRequest(
                run=run,
                plan=plan or DEFAULT_PLAN,
                resources=tuple(resources),
                defaulters=None if defaulters is None else _numbers(defaulters),
                sample=sample,
                unapproved=unapproved,
                reason=reason,
                runs=settings.runs,
                reverses=settings.reverses,
            )
            # A mistake in the inputs, or in the key, is known before an engine starts.
            signer, store = settings.signer(), reverse_store(request.reverses)
            require_plan(request.plan)
            identity = identify_reverse(request)
            if store.is_published(identity.run_id):
                return {**store.read(identity.run_id).manifest, "recognised": True}
            exhaustions_of(identity, request)
            require_plan_of(identity.stress, StressRequest(run, request.plan, request.runs))
        stages = StageTable(progress)
        with (
            Engines(settings) as engines,
            PeakMemory() as memory,
            ReverseRun(request, engines.engine, stages, engines.rooms) as made,
        ):
            if made.prepare():
                return {**store.read(made.run_id).manifest, "recognised": True}
            engines.wait(stages)
            made.search()
            return {**made.publish(lambda: memory.peak_bytes, signer), "recognised": False}


def _numbers(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if not word.isdecimal()]
    if wrong:
        raise ValueError(f"defaulters {text!r} has {wrong}; give whole numbers, such as 1,2,4")
    return tuple(int(word) for word in words)
