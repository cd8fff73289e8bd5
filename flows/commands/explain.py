"""The command ``explain``: one account, down to the numbers it can be recomputed from."""

from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from flows.commands.explain_collateral import (
    print_collateral,
    print_protocol_health,
    print_wrong_way,
)
from flows.commands.explain_legs import print_legs, print_reported, print_sensitivities
from flows.commands.shared import CONSOLE, Json, Runs, print_json
from flows.settings import Settings
from flows.tables import columns, print_rule_book

SCENARIOS_SHOWN = 5
POSITIONS_SHOWN = 30


def explain(
    account: str,
    *,
    run: str = "latest",
    methodology: str | None = None,
    whole: Annotated[bool, Parameter(negative=())] = False,
    runs: Runs = None,
    json: Json = False,
) -> None:
    """Explain why an account needs what it needs.

    Args:
        account: name of the account
        run: name of the run, or an unambiguous start of it
        methodology: other rules than those of the run: a shipped name, or a TOML file
        whole: show every position and every scenario, however many there are
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print everything as JSON, every position and scenario included
    """
    from storage.book import AccountUnknown
    from storage.runs import RunStore
    from workers.explain import explain_account

    opened = RunStore(Settings.given(runs=runs).runs).open(run)
    try:
        explained = explain_account(opened, account, methodology)
    except AccountUnknown as error:
        raise ValueError(f"{error}; run {opened.run_id} was asked, --run asks another") from None
    if json:
        print_json(explained)
        return
    print_explanation(CONSOLE, explained, whole=whole)


def print_explanation(console: Console, explained: dict[str, Any], *, whole: bool) -> None:
    """Print an explanation from what is held to what is required."""
    account, member = escape(explained["account"]), escape(explained["member"])
    console.print(
        f"[bold]{account}[/] of {member}, {explained['margin_mode']} margin, "
        f"in run {explained['run_id']}; money in USD, gains positive",
        highlight=False,
    )
    print_rule_book(console, explained["rule_book"], explained["methodology"])
    print_collateral(console, explained["collateral"])
    shown = None if whole else POSITIONS_SHOWN
    _print_positions(console, explained["positions"], shown)
    if explained["status"] != "margined":
        console.print(f"[bold yellow]held back[/]: {escape('; '.join(explained['held_because']))}")
        return
    for number, unit in enumerate(explained.get("units", ()), 1):
        _print_unit(console, number, unit, whole=whole)
    _print_scan(console, explained.get("scan"))
    _print_sets(console, explained, shown, whole=whole)
    print_legs(console, explained, shown)
    _left_out(console, len(explained["legs"]), shown, "positions")
    _print_requirement(console, explained)


def _print_sets(
    console: Console, explained: dict[str, Any], shown: int | None, *, whole: bool
) -> None:
    """Print the netting sets: by scenarios where these set layers, or else by sensitivities."""
    netting_sets = explained.get("netting_sets", [])
    if any(measure["sets_a_layer"] for one in netting_sets for measure in one["measures"]):
        for number, netting_set in enumerate(netting_sets[:shown], 1):
            _print_netting_set(console, number, netting_set, whole=whole)
    else:
        if explained.get("sensitivities"):
            print_sensitivities(console, explained["sensitivities"], shown)
        print_reported(console, netting_sets, shown)
    _left_out(console, len(netting_sets), shown, "netting sets")


def _print_positions(console: Console, positions: list[dict[str, Any]], shown: int | None) -> None:
    table = columns("Positions", "instrument", "kind", "settlement", "contracts", "multiplier",
                    "forward", "volatility", "value of one", "value", left=3)  # fmt: skip
    for row in positions[:shown]:
        volatility = f"{row['volatility']:.4f}" if row["volatility"] else ""
        known = (
            *(f"{row['forward']:,.2f}", volatility),
            *(f"{row['value_of_one']:,.4f}", f"{row['value']:,.2f}"),
        )
        table.add_row(
            *(escape(row["instrument"]), row["kind"], row["settlement"], f"{row['quantity']:,g}"),
            f"{row['multiplier']:g}",
            *(known if row["priced"] else ("no price", "", "not known", "not known")),
        )
    console.print(table, highlight=False)
    _left_out(console, len(positions), shown, "positions")


def _print_unit(console: Console, number: int, unit: dict[str, Any], *, whole: bool) -> None:
    """Print a unit of a scan: the scenario that binds, and what each set makes of it."""
    held = sum(len(one["instruments"]) for one in unit["sets"])
    binding = unit["scenario"]
    what = unit["binds"] if binding is None else f"{binding['scenario']}: {binding['label']}"
    console.print(
        f"\n[bold]Unit {number}[/] ({escape(unit['underlying'])}, {held} positions): "
        f"{unit['loss']:,.2f} = the worst loss of {len(unit['pnl_by_scenario'])} scenarios, "
        f"{escape(what)}",
        highlight=False,
    )
    table = columns(
        "Sets: counted = ((value + P&L) x discount - value) x weight"
        if binding is not None
        else "Sets: each at its own worse basis move",
        *("set", "positions", "value", "discount of gain", "of loss", "P&L", "counted"),
    )
    shown = None if whole else POSITIONS_SHOWN
    for one in unit["sets"][:shown]:
        known = binding is not None
        table.add_row(
            escape(one["instruments"][0]),
            f"{len(one['instruments'])}",
            f"{one['value']:,.2f}",
            f"{one['discount_of_gain']:.4f}",
            f"{one['discount_of_loss']:.4f}",
            f"{one['pnl']:,.2f}" if known else "",
            f"{one['counted'] if known else -one['basis_contingency']:,.2f}",
        )
    console.print(table, highlight=False)
    _left_out(console, len(unit["sets"]), shown, "sets")
    if unit["dampened_by"]:
        console.print(f"the sum is pulled to zero by {unit['dampened_by']:,.2f}", highlight=False)


def _print_scan(console: Console, scan: dict[str, float] | None) -> None:
    """Print how the losses of units make the layer, where that is more than their sum."""
    if not scan or (scan["credit"] == 0.0 and scan["initial_factor"] == 1.0):
        return
    console.print(
        f"\nlayer of the scan = {scan['initial_factor']:g} x ({scan['loss']:,.2f} - "
        f"{scan['credit']:,.2f} credit between underlyings)",
        highlight=False,
    )


def _print_netting_set(
    console: Console, number: int, netting_set: dict[str, Any], *, whole: bool
) -> None:
    held = netting_set["instruments"]
    console.print(
        f"\n[bold]Netting set {number}[/] ({netting_set['netting']}): "
        f"{escape(held[0]) if len(held) == 1 else f'{len(held)} positions'}",
        highlight=False,
    )
    shown = None if whole else SCENARIOS_SHOWN
    for measure in netting_set["measures"]:
        scenarios = measure["scenarios"]
        level = f" at {measure['level']:.2%}" if measure["level"] else ""
        role = "" if measure["sets_a_layer"] else ", reported only"
        table = columns(
            f"{measure['kind']}{level} of {measure['scenarios_considered']:,} scenarios: "
            f"{measure['value']:,.2f} = - sum of weight x P&L over {len(scenarios)}{role}",
            *("scenario", "moves (price, volatility)", "weight", "P&L"),
            left=2,
        )
        for one in scenarios[:shown]:
            moves = ", ".join(
                f"{coin} {move:+.1%} {one['volatility'][coin]:+.0%}"
                for coin, move in one["price"].items()
            )
            table.add_row(
                escape(one["scenario"]), moves, f"{one['weight']:.6f}", f"{one['pnl']:,.2f}"
            )
        console.print(table, highlight=False)
        _left_out(console, len(scenarios), shown, "scenarios")
    _print_position_pnl(console, netting_set, whole=whole)


def _print_position_pnl(console: Console, netting_set: dict[str, Any], *, whole: bool) -> None:
    """Print what each position makes in the worst scenario of each measure that sets a layer."""
    worst = [one["scenarios"][0] for one in netting_set["measures"] if one["sets_a_layer"]]
    if not worst:
        return
    names = sorted(
        worst[0]["pnl_by_position"],
        key=lambda name: max(abs(one["pnl_by_position"][name]) for one in worst),
        reverse=True,
    )
    shown = names if whole else names[:POSITIONS_SHOWN]
    table = columns(
        "P&L by position in the worst scenario of each measure that sets a layer, largest first",
        *("instrument", *(one["scenario"] for one in worst)),
    )
    for name in shown:
        table.add_row(escape(name), *(f"{one['pnl_by_position'][name]:,.2f}" for one in worst))
    if len(names) > len(shown):
        rest = [sum(one["pnl_by_position"][name] for name in names[len(shown) :]) for one in worst]
        table.add_row(f"{len(names) - len(shown):,} more", *(f"{amount:,.2f}" for amount in rest))
    table.add_row("[bold]all[/]", *(f"{one['pnl']:,.2f}" for one in worst))
    console.print(table, highlight=False)


def _print_requirement(console: Console, explained: dict[str, Any]) -> None:
    table = columns("Requirement", "", "", left=1)
    for layer in explained["layers"]:
        table.add_row(f"layer {layer['layer']}", f"{layer['amount']:,.2f}")
    table.add_row("[bold]requirement = sum of layers[/]", f"{explained['requirement']:,.2f}")
    weighed = any("rule" in row for row in explained["collateral"])
    collateral = "collateral at its whole value" if weighed else "collateral after haircuts"
    table.add_row(collateral, f"{explained['collateral_value']:,.2f}")
    table.add_row("value of options and spot", f"{explained['position_value']:,.2f}")
    table.add_row("[bold]equity = collateral + value[/]", f"{explained['equity']:,.2f}")
    table.add_row("[bold]excess = equity - requirement[/]", f"{explained['excess']:,.2f}")
    table.add_row("maintenance, what keeping positions takes", f"{explained['maintenance']:,.2f}")
    table.add_row("health", explained["health"].replace("_", " "))
    console.print(table, highlight=False)
    _print_model_risk(console, explained["model_risk"])
    print_protocol_health(console, explained["protocol_health"])
    print_wrong_way(console, explained["wrong_way"])
    _print_charges(console, explained["charges"])
    for buffer in explained["buffers"]:
        console.print(
            f"layer {escape(buffer['layer'])}: {buffer['initial']:.0%} of all layers before it, "
            f"{buffer['maintenance']:.0%} in maintenance",
            highlight=False,
        )


def _print_model_risk(console: Console, models: dict[str, Any]) -> None:
    if not models:
        return
    table = columns(
        f"Layer {escape(models['layer'])}: a share of the spread of models", "", "", left=1
    )
    for name, estimate in models["estimates"].items():
        table.add_row(escape(name), f"{estimate:,.2f}")
    table.add_row(f"spread: {models['of'].replace('_', ' ')}", f"{models['spread']:,.2f}")
    table.add_row(f"initial: {models['initial_share']:.0%}", f"{models['initial']:,.2f}")
    table.add_row(
        f"maintenance: {models['maintenance_share']:.0%}", f"{models['maintenance']:,.2f}"
    )
    console.print(table, highlight=False)


def _print_charges(console: Console, charges: list[dict[str, Any]]) -> None:
    if not charges:
        return
    table = columns(
        "Charges: rate x what is charged on; a floor asks what it exceeds the layers above by",
        *("layer", "role", "charged on", "amount", "initial rate", "initial", "maintenance"),
        left=3,
    )
    for one in charges:
        table.add_row(
            *(escape(one["layer"]), one["role"], escape(one["of"])),
            *(f"{one['charged_on']:,.2f}", f"{one['initial_rate']:.4%}"),
            *(f"{one['initial']:,.2f}", f"{one['maintenance']:,.2f}"),
        )
    console.print(table, highlight=False)
    for one in charges:
        if one["scaled_by"]:
            words = " and ".join(one["scaled_by"])
            console.print(
                f"{escape(one['layer'])}: the amount has been multiplied by {words}",
                highlight=False,
            )


def _left_out(console: Console, total: int, shown: int | None, what: str) -> None:
    if shown is not None and total > shown:
        console.print(
            f"... and {total - shown:,} more {what}; --whole shows them, --json lists them",
            highlight=False,
        )
