"""Who closed against what bankrupt accounts left, and what they gave up."""

from flows.format import exact, money
from flows.report.picture import Table
from flows.report.stress.view import StressView

SCENARIOS = 12
LARGEST = 3


def winners(view: StressView) -> list[Table]:
    """Return what winners gave up by scenario, nothing of a plan without deleveraging."""
    rules = view.rules.deleveraging
    if rules is None:
        return []
    net, received = view.values("given_up").sum(axis=1), view.values("received_by_winners")
    given = net + received
    hit, closed = view.values("winners"), view.values("closed_by_winners").sum(axis=1)
    order = [row for row in (-given).argsort(kind="stable").tolist() if hit[row] > 0][:SCENARIOS]
    return [
        Table(
            title="What winners gave up",
            caption=(
                f"Winners by the ranking {rules.ranking} close what was taken over, once at the "
                "end of a cascade; US dollars. Closed: notional at first prices. Given up "
                "and received: against the prices of the end, by those for whom the bankruptcy "
                "price was worse and better. Nobody gives up more than the account has, and all "
                "together no more, net, than what was taken over lacks in all."
            ),
            columns=(
                "Scenario",
                "Accounts",
                "Closed",
                "Given up",
                "Received",
                "Net",
                "Most given up by",
            ),
            rows=[
                (
                    view.names[row],
                    exact(float(hit[row])),
                    money(float(closed[row])),
                    money(float(given[row])),
                    money(float(received[row])),
                    money(float(net[row])),
                    _most(view, row),
                )
                for row in order
            ],
            text_columns=(0, 6),
            wide=True,
        )
    ]


def _most(view: StressView, row: int) -> str:
    names, amounts = view.totals["winner_name"].values[row], view.values("winner_amount")[row]
    said = [
        f"{name} {money(float(amount))}"
        for name, amount in zip(names, amounts, strict=True)
        if name and amount > 0.0
    ]
    return ", ".join(said[:LARGEST])
