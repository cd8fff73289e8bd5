"""The command ``collateral explain``: one account of a pool, claim by claim."""

from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from flows.commands.shared import CONSOLE, Json, Runs, print_json
from flows.settings import Settings
from flows.tables import columns

SCENARIOS_SHOWN = 5
"""The worst."""

CLAIMS_SHOWN = 30

NONE, COUNTED = "none", "COUNTED"

KEPT_FOR = {
    "size": "{asset} at its size in the pool",
    "token": "the token itself",
    "chain": "chain {chain}",
    "bridge": "bridge {bridge}",
    "protocol": "protocol {protocol}",
    "bridge cap": "the cap of bridge {bridge}",
    "asset cap": "the cap of an asset on bridge {bridge}",
}
"""What a haircut or a cap is for, by the rule that takes it."""


def explain(
    pool: str,
    account: str,
    *,
    whole: Annotated[bool, Parameter(negative=())] = False,
    runs: Runs = None,
    pools: str | None = None,
    json: Json = False,
) -> None:
    """Explain what an account's claims count for, and what its requirement comes from.

    Args:
        pool: name of a published collateral run, or an unambiguous start of it, or latest
        account: name of the account
        whole: show every claim and every scenario, however many there are
        runs: folder of the margin runs, or s3://bucket/prefix; runs of the data folder
        pools: folder of the collateral runs, or s3://bucket/prefix; pools of the data folder
        json: print everything as JSON, every claim and scenario included
    """
    from storage.arrays import POOL
    from storage.book import AccountUnknown
    from storage.runs import RunStore
    from workers.pool.explain import explain_pooled

    settings = Settings.given(runs=runs, pools=pools)
    opened = RunStore(settings.pools, POOL).read(pool)
    try:
        explained = explain_pooled(opened, account, settings.runs)
    except AccountUnknown as error:
        raise ValueError(f"{error}; collateral run {opened.run_id} was asked") from None
    if json:
        print_json(explained)
        return
    print_pooled_account(CONSOLE, explained, whole=whole)


def print_pooled_account(
    console: Console, explained: dict[str, Any], *, whole: bool = False
) -> None:
    """Print the statement of an account: from what is claimed to what is required."""
    rules = explained["rules"]
    _say(
        console,
        f"[bold]{escape(explained['account'])}[/] of {escape(explained['member'])} in collateral "
        f"run {explained['run_id']}, on margin run {explained['margin_run']}, by {rules['name']} "
        f"{rules['version']}; money in USD",
    )
    shown = None if whole else CLAIMS_SHOWN
    claims = explained["claims"]
    _print_claims(console, claims[:shown])
    if shown is not None and len(claims) > shown:
        more = len(claims) - shown
        _say(console, f"... and {more:,} more claims; --whole shows them, --json lists them")
    _print_tokens(console, claims[:shown])
    if explained["status"] != "pooled":
        _say(console, f"[bold yellow]held back[/]: {escape('; '.join(explained['held_because']))}")
        return
    for one in explained["lending"]:
        _print_lending(console, one, explained["binding"])
    _print_scenarios(console, explained, None if whole else SCENARIOS_SHOWN)
    _print_requirement(console, explained)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


def _print_claims(console: Console, claims: list[dict[str, Any]]) -> None:
    table = columns(
        "Claims: credit = what counts x unit value x what is kept of it; debts cost",
        *("claim", "token", "chain", "protocol", "bridge", "standing"),
        *("quantity", "encumbered", "counts", "unit value", "kept", "credit"),
        left=6,
    )
    for one in claims:
        table.add_row(
            *(f"{one['claim']}", escape(one["token"]), escape(one["chain"])),
            *(escape(one["protocol"]), escape(one["bridge"]), one["standing"]),
            *(f"{one['quantity']:,.6f}", f"{one['encumbered']:,.6f}", f"{one['units']:,.6f}"),
            f"{one['unit_value']:,.4f}",
            "owed" if one["kind"] == "debt" else f"{one['ratio']:.4f}",
            "in a market" if one["market"] else f"{one['credit']:,.2f}",
        )
    console.print(table, highlight=False)
    for one in claims:
        others = [f"claim {other['claim']} of {other['account']}" for other in one["shares_with"]]
        with_whom = f" ({', '.join(others)})" if others else ""
        if one["outcome"] != COUNTED:
            why = escape(f"{one['reason']}{with_whom}")
            _say(console, f"claim {one['claim']} does not count, {one['outcome']}: {why}")
        elif one["final_part"] != 1.0:
            part, height = one["final_part"], one["height"]
            _say(console, f"claim {one['claim']} counts {part:.0%}: block {height:,} is not final")


def _print_tokens(console: Console, claims: list[dict[str, Any]]) -> None:
    """Print what each token that is claimed stands for, down to base assets, and what it keeps."""
    _say(console, "\n[bold]What one unit stands for, and what each rule keeps of it[/]")
    seen = set()
    for one in claims:
        if (unit := _where(one)) in seen:
            continue
        seen.add(unit)
        for step in one["way"]:
            stands = f"{'  ' * step['depth']}= {step['units']:g} " if step["depth"] else ""
            prices = [
                f"at {asset['price']:,.6g}, oracle {asset['oracle']:,.6g} and market "
                f"{asset['market']:,.6g}"
                for asset in one["assets"]
                if asset["asset"] == step["asset"]
            ]
            keeps = [
                f"keeps {part:.4f} for {KEPT_FOR[what].format(**step)}"
                for what, part in step["keeps"].items()
            ]
            said = "; ".join([*prices, *keeps])
            _say(console, escape(f"{stands}{_where(step)}{': ' if said else ''}{said}"))


def _where(step: dict[str, Any]) -> str:
    """Return a token with its chain, and with protocol and bridge where it has them."""
    return " ".join(
        [
            step["token"],
            *(
                f"{word} {step[what]}"
                for word, what in (("on", "chain"), ("of", "protocol"), ("over", "bridge"))
                if step[what] != NONE
            ),
        ]
    )


def _print_lending(console: Console, one: dict[str, Any], binding: dict[str, Any]) -> None:
    """Print a position in a lending market, and by which rule the pool counts what of it."""
    table = columns(f"Lending position, {escape(one['market'])}", "", "", left=1)
    table.add_row("claims", ", ".join(str(row) for row in one["claims"]))
    for name, text in (
        ("what is there, at its value", f"{one['worth']:,.2f}"),
        ("cover, at liquidation thresholds", f"{one['cover']:,.2f}"),
        ("debt", f"{one['debt']:,.2f}"),
        ("health = cover / debt", _factor(one["health"])),
        ("leverage", _factor(one["leverage"])),
        ("collateral, what counts after haircuts", f"{one['collateral']:,.2f}"),
        (
            f"after liquidation = collateral - debt x {1.0 + one['bonus']:g}",
            f"{one['after_liquidation']:,.2f}",
        ),
        (
            f"what may leave = collateral x (1 - {one['target_health']:g} / health)",
            f"{one['withdrawable']:,.2f}",
        ),
        (f"[bold]left for the pool[/]: {one['stricter']} is stricter", f"{one['left']:,.2f}"),
    ):
        table.add_row(name, text)
    if one["unbacked"] > 0.0:
        table.add_row(
            "debt beyond what backs it, which the account owes", f"{one['unbacked']:,.2f}"
        )
    if binding:
        table.add_row(f"health in {escape(binding['scenario'])}", _factor(one["health_then"]))
        table.add_row(f"left in {escape(binding['scenario'])}", f"{one['left_then']:,.2f}")
    console.print(table, highlight=False)


def _factor(number: float | None) -> str:
    return "infinite" if number is None else f"{number:,.4f}"


def _print_scenarios(console: Console, explained: dict[str, Any], shown: int | None) -> None:
    scenarios = explained["scenarios"]
    table = columns(
        "Worst scenarios: together = weight x (P&L + change of credit)",
        *("scenario", "title", "weight", "P&L of positions", "change of credit", "together"),
        left=2,
    )
    for one in scenarios[:shown]:
        table.add_row(
            *(escape(one["scenario"]), escape(one["title"]), f"{one['weight']:g}"),
            *(f"{one['pnl']:,.2f}", f"{one['change_of_credit']:,.2f}"),
            f"{one['together']:,.2f}",
        )
    console.print(table, highlight=False)
    if shown is not None and len(scenarios) > shown:
        more = len(scenarios) - shown
        _say(console, f"... and {more:,} more scenarios; --whole shows them, --json lists them")


def _print_requirement(console: Console, explained: dict[str, Any]) -> None:
    """Print the statement: collateral at a fixed haircut against collateral in the scenarios."""
    table = columns("Requirement", "", "fixed haircut", "in the scenarios", left=1)
    bound = [explained[name].get("scenario", NONE) for name in ("binding_alone", "binding")]
    now, value = explained["credit"], explained["position_value"]
    table.add_row("scenario that binds", *(escape(name) for name in bound))
    table.add_row("credit now", *[f"{now:,.2f}"] * 2)
    table.add_row("credit then", f"{now:,.2f}", f"{explained['credit_then']:,.2f}")
    table.add_row("value of options and spot", *[f"{value:,.2f}"] * 2)
    for name in ("requirement", "excess"):
        table.add_row(
            f"[bold]{name}[/]", *(f"{explained[one]:,.2f}" for one in (f"{name}_alone", name))
        )
    console.print(table, highlight=False)
    asked = explained["requirement"] - explained["requirement_alone"]
    _say(
        console,
        f"collateral inside the scenarios asks {abs(asked):,.2f} {'more' if asked >= 0 else 'less'}"
        "; excess = credit now + value - requirement",
    )
