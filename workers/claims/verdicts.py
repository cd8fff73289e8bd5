"""Holdings that were judged, in the words of the claims that they show."""

from collections.abc import Sequence
from pathlib import Path

from risk.proofs.anchors import Trusted
from storage.digest import file_digest
from storage.intake.verdicts import JudgedHolding, Verdicts
from workers.proofs import Judged


def verdicts_of(judged: Sequence[Judged], trusted: Trusted, anchors: Path) -> Verdicts:
    """Return verdicts to be joined to claims; ``anchors`` is the file that they were judged by."""
    source = {
        "pool": trusted.pool,
        "epoch": trusted.epoch,
        "holdings": len(judged),
        "anchors": {"file": anchors.name, "sha256": file_digest(anchors)},
    }
    return Verdicts([_in_words(one, trusted) for one in judged], source)


def _in_words(judged: Judged, trusted: Trusted) -> JudgedHolding:
    verdict, claimed = judged.verdict, judged.claimed
    token = None
    if claimed is not None and judged.chain is not None:
        token = trusted.name_of(judged.chain, claimed.token)
    return JudgedHolding(
        file=judged.file,
        key=None if claimed is None or token is None else (claimed.account, *token),
        owner="" if claimed is None else f"0x{claimed.owner.hex()}",
        outcome=verdict.outcome.name,
        where=verdict.where,
        refused=verdict.outcome.refuses,
        standing=int(verdict.standing),
        digits=0 if claimed is None else claimed.quantity.digits,
        places=0 if claimed is None else claimed.quantity.places,
        root=verdict.root,
        proof=verdict.proof,
        height=verdict.height,
    )
