"""What ``explain`` prints of collateral: what it counts for, how it moves, what it covers."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from flows.tables import columns


def print_collateral(console: Console, collateral: list[dict[str, Any]]) -> None:
    """Print the assets of an account; their weights too where the rule book has rules for them."""
    weighed = any("rule" in row for row in collateral)
    table = columns(
        "Collateral: equity has quantity x price, the haircut of value x (1 - weight) is a layer"
        if weighed
        else "Collateral: value = quantity x price x (1 - haircut)",
        *("asset", "chain", "protocol", "quantity", "price"),
        *(
            ("value", "weight", "to keep", "haircut", "to keep")
            if weighed
            else ("haircut", "value")
        ),
        left=3,
    )
    if weighed:
        table.add_column("rule", overflow="fold")
    for row in collateral:
        price = "none" if row["price"] is None else f"{row['price']:,.2f}"
        cells: tuple[str, ...] = (f"{row['haircut']:.3f}", f"{row['value']:,.2f}")
        if weighed:
            cells = (
                *(f"{row['value']:,.2f}", f"{row['initial_weight']:.4f}"),
                *(f"{row['maintenance_weight']:.4f}", f"{row['initial_haircut']:,.2f}"),
                *(f"{row['maintenance_haircut']:,.2f}",),
                escape(row["rule"] or _without_rule(row["named_on"])),
            )
        names = (escape(row[name]) for name in ("asset", "chain", "protocol"))
        table.add_row(*names, f"{row['quantity']:,.6f}", price, *cells)
    console.print(table, highlight=False)


def _without_rule(named_on: list[str]) -> str:
    """Return why an asset counts for nothing."""
    if named_on:
        return f"named on {', '.join(named_on)} and not on this chain: it counts for nothing"
    return "none names it: it counts for nothing"


def print_protocol_health(console: Console, health: dict[str, Any]) -> None:
    """Print the health factor and the liquidation price of each coin, where there are any."""
    if not health:
        return
    factor = "infinite, nothing is owed" if health["factor"] is None else f"{health['factor']:.6f}"
    console.print(
        f"health factor: {factor} = {health['covered']:,.2f} that covers / "
        f"{health['owed']:,.2f} that is owed, at maintenance weights; liquidated below 1",
        highlight=False,
    )
    if not health["liquidation"]:
        return
    table = columns(
        "Price of one coin at which the health factor is 1, the others unchanged",
        *("coin", "price now", "liquidated", "at"),
    )
    for one in health["liquidation"]:
        at = one["liquidation_price"]
        table.add_row(
            *(escape(one["underlying"]), f"{one['price']:,.2f}"),
            *(("at no price", "") if at is None else (one["liquidated"], f"{at:,.2f}")),
        )
    console.print(table, highlight=False)


def print_wrong_way(console: Console, wrong_way: dict[str, Any]) -> None:
    """Print what moving collateral adds to base risk, measure by measure."""
    if not wrong_way:
        return
    console.print(
        f"layer wrong_way: {wrong_way['amount']:,.2f} = {wrong_way['share']:.0%} of what positions "
        f"and moving collateral together lose, {wrong_way['moving']:,.2f}, beyond the root of the "
        f"squares of positions, {wrong_way['still']:,.2f}, and collateral, "
        f"{wrong_way['collateral']:,.2f}; {wrong_way['maintenance_share']:.0%} in maintenance",
        highlight=False,
        soft_wrap=True,
    )
    table = columns(
        "Each measure, and the worst of its scenarios when collateral moves",
        *("measure", "positions", "collateral", "together"),
        *("scenario", "P&L of all", "of it collateral"),
    )
    for one in wrong_way["measures"]:
        worst = one["scenarios"][0] if one["scenarios"] else None
        cells = ("", "", "")
        if worst is not None:
            change = f"{worst['change']:,.2f}"
            cells = (escape(worst["scenario"]), f"{worst['pnl']:,.2f}", change)
        asked = (f"{one[name]:,.2f}" for name in ("still", "collateral", "moving"))
        table.add_row(one["measure"], *asked, *cells)
    console.print(table, highlight=False)
