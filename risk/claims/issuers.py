"""Who owes what lies in a token: a protocol, bridge or chain, and what that rests on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.claims.lookthrough import LookThrough
from risk.claims.tokens import BASE_KINDS, TokenNames, Tokens

Floats = NDArray[np.float64]

CUSTODY = 0
"""The issuer of what lies with no protocol, over no bridge and on no chain."""


@dataclass(frozen=True, slots=True)
class TokenIssuers:
    """Issuers by name and kind, ``(issuer,)``, the first of which is none.

    ``part`` ``(token, issuer)``: the part of a token's value that each owes its holder. The rest
    are ``(link,)``: of a unit of value in ``token``, ``lower`` owes ``upper`` so much ``weight``.
    ``protocol`` ``(name,)`` is the issuer of each protocol of the names.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    part: Floats
    token: NDArray[np.int64]
    upper: NDArray[np.int64]
    lower: NDArray[np.int64]
    weight: Floats
    protocol: NDArray[np.int64]

    def resting(self, value: Floats) -> Floats:
        """Return what issuers owe each other, ``(token, scenario) -> (scenario, lower, upper)``."""
        found = np.zeros((len(self.names), len(self.names), value.shape[1]))
        np.add.at(found, (self.lower, self.upper), self.weight[:, np.newaxis] * value[self.token])
        return np.moveaxis(found, -1, 0)


def token_issuers(tokens: Tokens, names: TokenNames, found: LookThrough) -> TokenIssuers:
    """Return who owes holders of each token, and what issuers rest on.

    What came over a bridge is owed by the bridge, else by the token's protocol, else, of a coin, by
    its chain. A wrapper of none of these passes on to what it stands for. An issuer rests on those
    of what its tokens stand for; on itself it does not. Half of liquidity is of either part.
    """
    kinds = ["custody"]
    labels = ["custody"]
    row: dict[tuple[str, int], int] = {}
    for kind, known in (
        ("protocol", names.protocol), ("bridge", names.bridge), ("chain", names.chain),
    ):  # fmt: skip
        for at, name in enumerate(known[1:], 1):
            row[kind, at] = len(labels)
            kinds.append(kind)
            labels.append(name)
    part = np.zeros((len(tokens), len(labels)))
    rests: list[dict[tuple[int, int], float]] = [{} for _ in range(len(tokens))]
    part[found.on_cycle, CUSTODY] = 1.0
    for token in found.order.tolist():
        of, _ = tokens.parts(token)
        issuer = _issuer(tokens, token, row)
        beneath = part[of].mean(axis=0) if len(of) else np.zeros(len(labels))
        for under in of.tolist():
            for link, weight in rests[under].items():
                rests[token][link] = rests[token].get(link, 0.0) + weight / len(of)
        if issuer is None:
            part[token] = beneath
            continue
        part[token, issuer] = 1.0
        for lower in np.flatnonzero(beneath).tolist():
            if lower not in (CUSTODY, issuer):
                link = (issuer, lower)
                rests[token][link] = rests[token].get(link, 0.0) + float(beneath[lower])
    flat = [
        (token, upper, lower, weight)
        for token, links in enumerate(rests)
        for (upper, lower), weight in links.items()
    ]
    columns = list(zip(*flat, strict=True)) or [(), (), (), ()]
    return TokenIssuers(
        names=tuple(labels),
        kinds=tuple(kinds),
        part=part,
        token=np.array(columns[0], dtype=np.int64),
        upper=np.array(columns[1], dtype=np.int64),
        lower=np.array(columns[2], dtype=np.int64),
        weight=np.array(columns[3], dtype=np.float64),
        protocol=np.array(
            [CUSTODY, *(row["protocol", at] for at in range(1, len(names.protocol)))]
        ),
    )


def _issuer(tokens: Tokens, token: int, row: dict[tuple[str, int], int]) -> int | None:
    """Return the issuer of a token by itself, none where it passes on to what it stands for."""
    for kind, label in (("bridge", tokens.bridge), ("protocol", tokens.protocol)):
        if label[token] > 0:
            return row[kind, int(label[token])]
    if tokens.kind[token] in BASE_KINDS:
        return row.get(("chain", int(tokens.chain[token])), CUSTODY)
    return None
