"""The page of a margin run, section by section."""

from dataclasses import replace
from pathlib import Path

from flows.approval import banner
from flows.report import accounts, headline, quality, running
from flows.report.distribution import Tail, distribution, system_tail
from flows.report.document import Head, document
from flows.report.events import scenario_words, worst_told
from flows.report.groups import groups
from flows.report.heat import heat_map
from flows.report.losses import over_time, worst_scenarios
from flows.report.members import members
from flows.report.members_in_events import member_scenarios
from flows.report.picture import Picture, Section, Sentence
from flows.report.view import RunView

EVENTS_SHOWN = 10
FOOTNOTE = (
    "Amounts are US dollars; k, m, bn and tn are thousand, million, billion and trillion. Times "
    "are UTC. Margin, loss and shortfall are positive numbers; P&L is positive where it is a gain."
)


def write_report(view: RunView, path: Path) -> None:
    """Write a run as one HTML page that needs no network and no other file.

    Raises:
        ValueError: the scenarios of the view are not those of its folds.
    """
    path.write_text(render(view), encoding="utf-8")


def render(view: RunView) -> str:
    """Return the page of a run."""
    tail = system_tail(view)
    standing, doubts = headline.standing(view)
    head = Head(
        title=f"Margin run {view.run_id}",
        rules=str(view.rule_book.get("title") or ""),
        standing=standing,
        doubts=doubts,
        facts=headline.facts(view),
        summary=headline.summary(view),
        tiles=headline.tiles(view, tail),
        banner=banner(view.manifest),
    )
    return document(head, sections(view, tail), FOOTNOTE)


def sections(view: RunView, tail: Tail) -> list[Section]:
    """Return the sections of the page in their order."""
    kind, worst = worst_told(view, view.per_scenario("loss"), EVENTS_SHOWN)
    drawn = len(worst) and view.folds.sizes["member"]
    in_worst = [member_scenarios(view, kind, worst)] if drawn else []
    row = int(worst[0]) if len(worst) else None
    return [
        Section(
            "requirement",
            "Who must post the margin, and what for",
            _requirement_words(view, kind, row),
            (members(view), *groups(view, kind, row)),
        ),
        Section(
            "scenarios",
            "What the whole system would lose",
            "The loss of the system is what the accounts that lose would lose, each scenario "
            "taken by itself; somebody else gains as much.",
            (
                over_time(view),
                *_side_by_side(worst_scenarios(view), heat_map(view)),
                *distribution(view, tail),
                *in_worst,
            ),
        ),
        Section(
            "accounts",
            "How it falls on accounts",
            "Most accounts are small; what matters is the few that are large and the few that "
            "are close to their limit.",
            (
                accounts.requirement_distribution(view),
                accounts.utilisation_distribution(view),
                accounts.concentration(view),
                accounts.largest_shortfalls(view),
                accounts.largest_requirements(view),
            ),
        ),
        Section(
            "market",
            "How well the market is known",
            "Option prices in every scenario come from a volatility surface that is fitted to the "
            "venue's quotes.",
            (quality.surface_error(view), quality.surface_table(view)),
        ),
        Section(
            "run",
            "How the run was made",
            "",
            (running.stages(view.manifest), running.manifest_table(view.manifest)),
        ),
    ]


def _requirement_words(view: RunView, kind: str, row: int | None) -> str:
    """Return what the pictures of the first section are of."""
    split = (
        "it is the share of the scenario layers that positions there cause."
        if view.splits_requirement
        else "there is no such share: this rule book's requirement is not split over positions."
    )
    paid = "" if row is None else f" ({scenario_words(view, row)})"
    losing = (
        ""
        if row is None
        else f" Paid in the worst {kind}{paid} is what losing positions pay winning ones."
    )
    return (
        "The requirement of an account is the sum of its layers. By member it is the whole "
        f"requirement; by underlying, protocol, chain and venue {split}{losing} Open interest is "
        "one side of all open contracts at the index price."
    )


def _side_by_side(
    ranking: Picture | Sentence, heat: Picture | None
) -> tuple[Picture | Sentence, ...]:
    """Return the ranking beside the map, or over the whole width where there is no map."""
    return (replace(ranking, wide=True),) if heat is None else (ranking, heat)
