"""The page of a stress run, section by section."""

from pathlib import Path

from flows.approval import banner
from flows.report import running
from flows.report.document import Head, document
from flows.report.picture import Section
from flows.report.stress import (
    basis,
    contagion,
    depth,
    headline,
    network,
    reverse,
    rounds,
    scenarios,
    systems,
    volume,
    waterfall,
    winners,
)
from flows.report.stress.view import StressView

FOOTNOTE = (
    "Amounts are US dollars; k, m, bn and tn are thousand, million, billion and trillion. Times "
    "are UTC. Losses are positive numbers; what the vault gains is negative where it loses."
)


def write_stress_report(view: StressView, path: Path) -> None:
    """Write a stress run as one HTML page that needs no network and no other file."""
    path.write_text(render(view), encoding="utf-8")


def render(view: StressView) -> str:
    """Return the page of a stress run."""
    doubts = view.rules.not_verified
    head = Head(
        title=f"Stress run {view.run_id}",
        rules=view.rules.title,
        standing="Not verified of the plan:" if doubts else "",
        doubts=doubts,
        facts=headline.facts(view),
        summary=headline.summary(view),
        tiles=headline.tiles(view),
        banner=banner(view.manifest),
    )
    return document(head, sections(view), FOOTNOTE)


def sections(view: StressView) -> list[Section]:
    """Return the sections of the page in their order."""
    return [
        Section(
            "scenarios",
            "What each scenario costs",
            "Once at the scenario's own prices, as if nobody were closed, and once with everybody "
            "closed who is below maintenance and prices moved by that.",
            (scenarios.losses(view), *scenarios.scenario_tables(view)),
        ),
        Section(
            "rounds",
            "How it unfolds",
            "Every round revalues all accounts, closes who is below maintenance, and lets what "
            "was sold move the prices of the next.",
            (rounds.by_round(view), rounds.prices(view)),
        ),
        Section(
            "waterfall",
            "Who pays",
            "Accounts first, with all they had. What is left comes to the layers below.",
            (
                waterfall.layers(view),
                waterfall.layer_table(view),
                waterfall.members(view),
                *winners.winners(view),
            ),
        ),
        *systems.sections_of_systems(view),
        Section(
            "contagion",
            "Whom it takes along",
            "Who owes whom once a scenario has come: members, the venue and its vault, and where "
            "claims are known, the protocols, bridges and chains with which collateral lies.",
            (
                network.network(view),
                contagion.layer_table(view),
                contagion.kind_table(view),
                contagion.failed_table(view),
                contagion.scenario_table(view),
            ),
        ),
        Section(
            "volume",
            "What was sold, and what that did",
            "Positions are closed on the market of their coin; the vault sells nothing.",
            (
                volume.volume_table(view),
                volume.coin_table(view),
                volume.amplification(view),
                depth.by_depth(view),
            ),
        ),
        Section(
            "reverse",
            "What it would take",
            "The other way round: not what a shock costs, but which shock, of those that exhaust "
            "a resource, is the most plausible.",
            (reverse.frontier(view), reverse.shocks(view)),
        ),
        Section(
            "basis",
            "What is real, and what is assumed",
            f"{view.rules.name} {view.rules.version}, effective {view.rules.effective.day} "
            f"{view.rules.effective:%B %Y}.",
            (basis.basis(view), basis.sources(view)),
        ),
        Section(
            "run",
            "How the run was made",
            "",
            (running.stages(view.manifest), running.manifest_table(view.manifest)),
        ),
    ]
