"""The commands ``proofs``: holdings proven against the state of their chains."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich.markup import escape

from flows.commands.shared import CONSOLE, Json, print_json, require_file, require_folder
from flows.settings import EngineName, Settings
from flows.tables import columns

if TYPE_CHECKING:
    from risk.proofs.anchors import Trusted
    from risk.proofs.outcome import ProofOutcome
    from workers.engine import Engine
    from workers.proofs import Judged, Shown

EXIT_REFUSED = 3
REFUSED_SHOWN = 20

app = App(help="Prove holdings against a trusted state of their chain, offline.")


@app.command
def verify(
    file: Path,
    *,
    root: Annotated[str | None, Parameter(help="the trusted state root, 0x and 64 digits")] = None,
    address: Annotated[str | None, Parameter(help="what the proof must be of")] = None,
    slot: Annotated[str | None, Parameter(help="a storage slot that it must prove")] = None,
    json: Json = False,
) -> None:
    """Verify an answer of eth_getProof, and exit with 3 if it does not hold.

    Args:
        file: the answer as JSON
        root: the state root of a block that you trust, not one from whoever made the proof
        address: refuse a proof of any other address
        slot: refuse a proof without this storage slot
        json: print the outcome as JSON
    """
    from risk.proofs.hexadecimal import to_bytes, to_number
    from risk.proofs.outcome import ProofRefused
    from workers.proofs import verify_file

    require_file(file, "a JSON file of an answer of eth_getProof")
    given = (
        None if root is None else to_bytes(root, 32),
        None if address is None else to_bytes(address, 20),
        None if slot is None else to_number(slot),
    )
    try:
        shown = verify_file(file, *given)
    except ProofRefused as refused:
        if not json:
            raise
        print_json({"outcome": refused.outcome.name, "where": refused.where})
        sys.exit(EXIT_REFUSED)
    if json:
        print_json(_as_json(shown))
    else:
        _print_shown(shown)


@app.command
def batch(
    folder: Path,
    *,
    anchors: Path,
    engine: EngineName | None = None,
    workers: int | None = None,
    json: Json = False,
) -> None:
    """Judge each holding of a folder, and exit with 3 if any is refused.

    Args:
        folder: one JSON file for each holding, as docs/proofs.md describes
        anchors: the pool, its epoch, and the blocks, tokens and attestors that it trusts
        engine: ray, dask or serial; serial where one task does them all
        workers: processes or threads; all cores if none is given
        json: print every verdict as JSON
    """
    _, judged = judge_all(folder, anchors, engine, workers)
    if json:
        print_json([_verdict(one) for one in judged])
    else:
        _print_judged(judged)
    if _refused(judged):
        sys.exit(EXIT_REFUSED)


def judge_all(
    folder: Path, anchors: Path, engine: EngineName | None, workers: int | None
) -> "tuple[Trusted, list[Judged]]":
    """Return what a file says that a pool trusts, and the verdict on each holding of a folder."""
    require_folder(folder)
    require_file(anchors, "the TOML or JSON file of what the pool trusts, as in docs/proofs.md")
    from storage.intake.proofs import proof_files
    from workers.proofs import TASK_HOLDINGS, judge_folder, load_trusted

    trusted = load_trusted(anchors)
    if engine is None and len(proof_files(folder)) <= TASK_HOLDINGS:
        engine = "serial"
    running = _engine(Settings.given(engine=engine, workers=workers))
    try:
        return trusted, judge_folder(folder, trusted, running)
    finally:
        running.close()


def _engine(settings: Settings) -> "Engine":
    """Return an engine of its own: proofs need none of the compiled kernels."""
    if settings.engine == "ray":
        from workers.ray_engine import RayEngine

        return RayEngine(settings.workers, settings.ray_address)
    if settings.engine == "dask":
        from workers.dask_engine import DaskEngine

        return DaskEngine(settings.workers)
    from workers.engine import SerialEngine

    return SerialEngine()


def _refused(judged: "Sequence[Judged]") -> "list[Judged]":
    return [one for one in judged if one.verdict.outcome.refuses]


def _print_shown(shown: "Shown") -> None:
    account = shown.answer.account
    CONSOLE.print(
        f"[bold]0x{shown.answer.address.hex()}[/] {_said(shown.account)}", highlight=False
    )
    table = columns("In the state under this root", "", "", left=2)
    table.add_row("nonce", str(account.nonce))
    table.add_row("balance, wei", str(account.balance))
    table.add_row("storage root", f"0x{account.storage_root.hex()}")
    table.add_row("code hash", f"0x{account.code_hash.hex()}")
    for one, outcome in zip(shown.answer.slots, shown.slots, strict=True):
        table.add_row(f"slot {one.slot:#x}", f"{one.value:#x}, {outcome.name}")
    CONSOLE.print(table, highlight=False, soft_wrap=True)


def _print_judged(judged: "Sequence[Judged]") -> None:
    refused = _refused(judged)
    by_standing = Counter(one.verdict.standing for one in judged)
    # What is refused has no standing but that of its words, and is no holding that was stated.
    by_standing.subtract(one.verdict.standing for one in refused)
    table = columns("Holdings", "standing", "holdings")
    for standing, count in sorted(by_standing.items()):
        if count:
            table.add_row(standing.name.lower(), f"{count:,}")
    if refused:
        table.add_row("refused", f"{len(refused):,}")
    CONSOLE.print(table, highlight=False)
    by_outcome = Counter(one.verdict.outcome for one in judged)
    table = columns("Outcomes", "outcome", "what it says", "holdings", left=2)
    for outcome, count in sorted(by_outcome.items(), key=lambda one: (-one[1], one[0].name)):
        table.add_row(outcome.name, outcome.value, f"{count:,}")
    CONSOLE.print(table, highlight=False)
    for one in refused[:REFUSED_SHOWN]:
        CONSOLE.print(
            escape(f"{one.file}: {one.verdict.outcome.name}, {one.verdict.where}"),
            highlight=False,
            soft_wrap=True,
        )
    if len(refused) > REFUSED_SHOWN:
        CONSOLE.print(f"and {len(refused) - REFUSED_SHOWN:,} more; --json shows all of them")


def _said(outcome: "ProofOutcome") -> str:
    return f"{outcome.name}: {outcome.value}"


def _as_json(shown: "Shown") -> dict[str, Any]:
    answer = shown.answer
    return {
        "outcome": shown.account.name,
        "address": f"0x{answer.address.hex()}",
        "nonce": answer.account.nonce,
        "balance": str(answer.account.balance),
        "storage_root": f"0x{answer.account.storage_root.hex()}",
        "code_hash": f"0x{answer.account.code_hash.hex()}",
        "slots": [
            {"slot": f"{one.slot:#x}", "value": f"{one.value:#x}", "outcome": outcome.name}
            for one, outcome in zip(answer.slots, shown.slots, strict=True)
        ],
    }


def _verdict(judged: "Judged") -> dict[str, Any]:
    verdict = judged.verdict
    return {
        "file": judged.file,
        "outcome": verdict.outcome.name,
        "where": verdict.where,
        "standing": verdict.standing.name.lower(),
        "root": verdict.root.hex(),
        "proof": verdict.proof.hex(),
    }
