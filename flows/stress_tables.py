"""A stress run in the terminal."""

from typing import Any

import xarray as xr
from rich.console import Console
from rich.markup import escape

from flows.format import percent, short
from flows.report.stress.failures import LEAST, Failures
from flows.stress_systems import print_systems
from flows.tables import columns, print_approval, print_stages
from risk.systemic.plan import parse_stress_plan
from storage.runs import StoredRun

SHOWN = 20
"""Scenarios in the table, those of the largest shortfall first."""


def print_stress(console: Console, stress: StoredRun) -> None:
    """Print what each scenario comes to, worst first, and where the time went."""
    manifest = stress.manifest
    console.print(
        f"[bold]{stress.run_id}[/], as of {manifest['as_of']}, published {manifest['created']}",
        highlight=False,
    )
    plan = manifest["inputs"]["plan"]
    console.print(
        f"margin run {manifest['inputs']['run']['run_id']} by {plan['name']} {plan['version']}: "
        f"{plan['title']}",
        highlight=False,
        markup=False,
    )
    print_approval(console, manifest)
    found, totals = stress.groups["scenarios"].load(), stress.groups["totals"].load()
    given_up_by = ("winners, net",) if found["winners"].values.any() else ()
    table = columns(
        "Scenarios by shortfall: what nobody's equity covers, USD; alone is with nobody closed",
        *("scenario", "shortfall", "rounds", "closed", "sold", "lost", "alone"),
        *("vault", *given_up_by, "uncovered", "alone"),
    )
    order = (-totals["shortfall"].values).argsort(kind="stable")
    uncovered = found["uncovered"].values.sum(axis=1)
    alone = found["uncovered_alone"].values.sum(axis=1)
    for row in order[:SHOWN].tolist():
        table.add_row(
            escape(str(found["scenario"].values[row])),
            short(float(totals["shortfall"].values[row])),
            f"{int(found['rounds'].values[row]):,}",
            f"{int(found['touched'].values[row]):,}",
            short(float(totals["sold"].values[row])),
            short(float(found["lost"].values[row])),
            short(float(found["lost_alone"].values[row])),
            short(float(found["vault_pnl"].values[row])),
            *(short(float(found["given_up"].values[row].sum())) for _ in given_up_by),
            short(float(uncovered[row])),
            short(float(alone[row])),
        )
    console.print(table, highlight=False)
    left = len(order) - SHOWN
    if left > 0:
        console.print(f"and {left:,} more scenarios with smaller shortfalls", highlight=False)
    _print_bearers(console, str(found["scenario"].values[order[0]]), totals, int(order[0]))
    _print_winners(console, found, totals)
    _print_contagion(console, stress.groups["network"].load())
    _print_failures(console, manifest)
    print_systems(console, found.sizes["scenario"], totals)
    print_stages(console, manifest)


def _print_contagion(console: Console, network: xr.Dataset) -> None:
    """Print what contagion adds where those who fail owe most, and who bears that."""
    found = Failures(network)
    worst = int(found.vault.argmax())
    if found.vault[worst] > 0.0:
        console.print(
            f"The vault loses most in {network['scenario'].values[worst]}, "
            f"{short(float(found.vault[worst]))}, which the layers pay: no failure by itself",
            highlight=False,
            markup=False,
        )
    row = int(found.unpaid.argmax())
    if not found.unpaid[row] > 0.0:
        console.print(
            "Contagion: in every scenario members, venue and issuers pay all they owe",
            highlight=False,
        )
        return
    console.print(
        f"Contagion, {network['scenario'].values[row]}: {int((found.round[row] > 0).sum()):,} "
        f"fail, {int((found.round[row] > 1).sum()):,} of them after others; creditors lose "
        f"{short(float(found.unpaid[row]))}, {short(float(found.unpaid_directly[row]))} without "
        f"contagion; DebtRank {percent(float(network['debt_rank'].values[row]))}",
        highlight=False,
        markup=False,
    )
    borne, kinds = network["borne"].values[row], network["kind"].values
    sums = {kind: float(borne[kinds == kind].sum()) for kind in dict.fromkeys(kinds.tolist())}
    said = [f"{kind} {short(amount)}" for kind, amount in sums.items() if amount > LEAST]
    console.print(
        f"borne in the end, with what the vault lost, by {', '.join(said)}",
        highlight=False,
        markup=False,
    )


def _print_failures(console: Console, manifest: dict[str, Any]) -> None:
    """Say that failures of issuers change nothing where no claims are known."""
    failures = parse_stress_plan(manifest["inputs"]["plan"]["text"]).contagion.failures
    if failures and "pool" not in manifest["inputs"]:
        names = sorted({name for one in failures for name in one.lost})
        console.print(
            f"the plan lets {', '.join(names)} fail, which changes nothing here: without a "
            "collateral run nobody knows who holds what of them; give one with --pool",
            highlight=False,
            markup=False,
        )


def _print_bearers(console: Console, name: str, totals: xr.Dataset, row: int) -> None:
    """Print who bears the largest shortfall, layer after layer, and apart what Cover-n would be."""
    table = columns("Who bears it, USD", "layer", name)
    for layer, amount in zip(
        totals["layer"].values, totals["borne"].values[row].tolist(), strict=True
    ):
        table.add_row(escape(str(layer)).replace("_", " "), short(amount))
    table.add_row("nobody", short(float(totals["unborne"].values[row])))
    console.print(table, highlight=False)
    covers = columns("Cover-n, USD", "", name)
    for number in (1, 2):
        covers.add_row(f"Cover-{number}", short(float(totals[f"cover_{number}"].values[row])))
    console.print(covers, highlight=False)
    console.print(
        "Cover-n is what the n members with the most owe over their contributions: a measure of "
        "size, and no part of the layers",
        highlight=False,
    )


def _print_winners(console: Console, found: xr.Dataset, totals: xr.Dataset) -> None:
    """Print who gave up most, of the scenario in which winners gave up most, if any were hit."""
    nets, receipts = found["given_up"].values.sum(axis=1), found["received_by_winners"].values
    row = int((nets + receipts).argmax())
    name = str(found["scenario"].values[row])
    hit = int(found["winners"].values[row])
    if not hit:
        return
    table = columns("Gave up most, USD", "account", name)
    names, amounts = totals["winner_name"].values[row], found["winner_amount"].values[row]
    for account, amount in zip(names.tolist(), amounts.tolist(), strict=True):
        if account and amount > 0.0:
            table.add_row(escape(account), short(amount))
    net, received = float(nets[row]), float(receipts[row])
    console.print(
        f"{hit:,} winners close against who is bankrupt in {escape(name)}: they give up "
        f"{short(net + received)} and receive {short(received)}, {short(net)} net",
        highlight=False,
    )
    console.print(table, highlight=False)
