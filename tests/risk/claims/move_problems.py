"""Problems of moves of any size, and a plan that takes one cheap way after another."""

from decimal import Decimal

import numpy as np

from risk.claims.moves import MoveProblem


def random_problem(
    seed, sources, venues, routes, tokens=20, places=25, fixed=0.0, lots=False, tightness=0.3
):
    """Sources on chains, venues fed by routes; amounts are a part of all credit there is."""
    rng = np.random.default_rng(seed)
    chains = [f"chain{i}" for i in range(places)]
    names = [f"T{i}" for i in range(tokens)]
    price = {name: round(float(rng.lognormal(0.0, 2.0)) + 0.01, 4) for name in names}
    held = [
        {
            "token": names[rng.integers(tokens)],
            "place": chains[rng.integers(places)],
            "quantity": Decimal(int(rng.integers(1_000, 1_000_000))),
        }
        for _ in range(sources)
    ]
    ways = []
    for row in range(routes):
        origin = chains[row % places]
        between = rng.random() < 0.3
        to = chains[(row * 7 + 3) % places] if between else f"venue{rng.integers(venues)}"
        if to == origin:
            to = "venue0"
        carried = rng.choice(tokens, size=max(1, tokens // 2), replace=False)
        ways.append(
            {
                "name": f"route{row}",
                "origin": origin,
                "destination": to,
                "carries": {names[t]: names[t] for t in carried},
                "seconds": int(rng.choice([60, 900, 3_600, 43_200])),
                "fee": Decimal(str(round(fixed * float(rng.random()), 2))),
                "fee_share": Decimal(str(round(float(rng.random()) * 0.003, 5))),
                "capacity": Decimal(int(rng.integers(100_000, 5_000_000))),
                **({"lot": Decimal(10)} if lots and row % 5 == 0 else {}),
            }
        )
    capacity = {}
    for way in ways:
        capacity[way["destination"]] = capacity.get(way["destination"], 0) + way["capacity"]
    due = [
        {
            "venue": f"venue{v}",
            "amount": Decimal(int(float(capacity.get(f"venue{v}", 0)) * tightness)),
            "due": 86_400,
            "credit": {name: Decimal(str(round(price[name] * 0.9, 6))) for name in names},
        }
        for v in range(venues)
    ]
    return MoveProblem.model_validate(
        {
            "delay_cost": Decimal("0.05"),
            "tokens": [{"name": n, "decimals": 6, "price": Decimal(str(price[n]))} for n in names],
            "sources": held,
            "routes": ways,
            "requirements": due,
        }
    )
