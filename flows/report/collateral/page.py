"""The page of a collateral run, section by section."""

from pathlib import Path

from flows.approval import banner
from flows.report import running
from flows.report.collateral import accounts, counted, failures, headline, known, rules
from flows.report.collateral.flow import flow
from flows.report.collateral.groups import groups
from flows.report.collateral.view import PoolView
from flows.report.document import Head, document
from flows.report.picture import Section

FOOTNOTE = (
    "Amounts are US dollars; k, m, bn and tn are thousand, million, billion and trillion. Times "
    "are UTC. Value, debt, credit, requirement, credit lost and shortfall are positive numbers; a "
    "credit is negative where an account owes more than it has."
)


def write_collateral_report(view: PoolView, path: Path) -> None:
    """Write a collateral run as one HTML page that needs no network and no other file."""
    path.write_text(render(view), encoding="utf-8")


def render(view: PoolView) -> str:
    """Return the page of a collateral run."""
    doubts = view.rules.not_verified
    head = Head(
        title=f"Collateral run {view.run_id}",
        rules=view.rules.title,
        standing="Not verified of the rules:" if doubts else "",
        doubts=doubts,
        facts=headline.facts(view),
        summary=headline.summary(view),
        tiles=headline.tiles(view),
        banner=banner(view.manifest),
    )
    return document(head, sections(view), FOOTNOTE)


def sections(view: PoolView) -> list[Section]:
    """Return the sections of the page in their order."""
    return [
        Section(
            "pool",
            "What the pool is worth",
            "Claims of all accounts together, US dollars, all positive. Credit is what counts now, "
            "value what it would fetch, debt what is owed. Lost at worst is the credit that goes "
            "in the named failure that hurts most; the words name it.",
            groups(view),
        ),
        Section(
            "flow",
            "Where it lies and what it backs",
            "Only what positions need must be there when it is needed; the rest may leave.",
            (flow(view),),
        ),
        Section(
            "failures",
            "What rests on one thing",
            "Each failure is taken by itself, at once and without warning: a bridge or a protocol "
            "pays in part, a chain or an oracle stops, a token loses its peg.",
            (
                failures.concentration(view),
                failures.failures(view),
                failures.failure_table(view),
                failures.caps(view),
            ),
        ),
        Section(
            "counted",
            "What counts, and what was counted twice",
            "A claim counts if nothing is wrong with it. What rests on the same thing as another "
            "claim is found and named, never added up.",
            (
                counted.outcomes(view),
                counted.double_counts(view),
                counted.named_groups(view),
                counted.recipe_circles(view),
            ),
        ),
        Section(
            "known",
            "How well it is known",
            "Credit rests on balances that somebody shows, at prices that somebody quotes, on "
            "chains that must not take them back.",
            (known.coverage(view), known.feeds(view), known.chains(view)),
        ),
        Section(
            "accounts",
            "How it falls on accounts",
            "One account's excess never pays for another's shortfall.",
            (
                accounts.health(view),
                accounts.largest_shortfalls(view),
                accounts.largest_changes(view),
            ),
        ),
        Section(
            "rules",
            "The rules and their sources",
            f"{view.rules.name} {view.rules.version}, effective {view.rules.effective.day} "
            f"{view.rules.effective:%B %Y}. What no rule names counts for nothing.",
            (rules.sources(view), rules.rule_table(view)),
        ),
        Section(
            "run",
            "How the run was made",
            "",
            (running.stages(view.manifest), running.manifest_table(view.manifest)),
        ),
    ]
