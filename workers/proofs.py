"""Many holdings judged at once, a few hundred to a task of an engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from risk.claims.tokens import Standing
from risk.proofs.anchors import Trusted
from risk.proofs.holding import Answer, Claimed, Holding, Verdict, check_answer, judge
from risk.proofs.outcome import ProofOutcome, ProofRefused
from risk.proofs.reading import read_holding
from risk.specification import read_toml
from storage.intake.proofs import (
    DocumentMalformed,
    DocumentTooLarge,
    proof_files,
    read_document,
)
from storage.rule_text import read_rule_text
from workers.engine import Engine

TASK_HOLDINGS = 256
"""Holdings of a task: some tenth of a second, against some milliseconds to send it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A file, what it came to, and what it claims on which chain where it could be read."""

    file: str
    verdict: Verdict
    chain: int | None = None
    claimed: Claimed | None = None


def load_trusted(path: Path) -> Trusted:
    """Return what a file of anchors, TOML or JSON by its ending, says a pool trusts.

    Raises:
        ValueError: it is neither, or a field of it is not allowed.
    """
    if path.suffix == ".json":
        return Trusted.model_validate(read_document(path))
    try:
        document = read_toml(read_rule_text(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; docs/proofs.md describes it") from None
    return Trusted.model_validate(document)


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer that holds: the outcome of its account, and that of each of its slots."""

    answer: Answer
    account: ProofOutcome
    slots: list[ProofOutcome]


def verify_file(
    path: Path, root: bytes | None, address: bytes | None = None, slot: int | None = None
) -> Shown:
    """Return what the answer in a file shows under a trusted state root.

    ``address`` and ``slot``, where they are given, are those that it must be of.

    Raises:
        ProofRefused: with the name of the reason; NO_ROOT without a root.
        OSError: the file cannot be read.
    """
    if root is None:
        raise ProofRefused(ProofOutcome.NO_ROOT, path.name)
    answer = _read(path).answer
    if answer is None:
        raise ProofRefused(ProofOutcome.MALFORMED, "answer is missing")
    if address is not None and answer.address != address:
        raise ProofRefused(
            ProofOutcome.ADDRESS_DIFFERS,
            f"it is of 0x{answer.address.hex()}, asked for is 0x{address.hex()}",
        )
    if slot is not None and slot not in [one.slot for one in answer.slots]:
        raise ProofRefused(ProofOutcome.KEY_DIFFERS, f"asked for is slot {slot:#x}")
    account, *slots = check_answer(root, answer)
    return Shown(answer, account, slots)


def judge_folder(folder: Path, trusted: Trusted, engine: Engine) -> list[Judged]:
    """Return the verdict on each JSON file of a folder, by name, whatever the engine."""
    files = proof_files(folder)
    tasks = [
        (start, tuple(files[start : start + TASK_HOLDINGS]))
        for start in range(0, len(files), TASK_HOLDINGS)
    ]
    found = dict(engine.map(_judge_files, trusted, tasks))
    return [one for start, _ in tasks for one in found[start]]


def judge_file(path: Path, trusted: Trusted) -> Judged:
    """Return what the holding in a file shows; a file that cannot be read has a name as well."""
    try:
        holding = _read(path)
    except OSError as error:
        verdict = Verdict(ProofOutcome.UNREADABLE, str(error), Standing.STATED)
    except ProofRefused as refused:
        verdict = Verdict(refused.outcome, refused.where, Standing.STATED)
    else:
        return Judged(path.name, judge(holding, trusted), holding.chain, holding.claimed)
    return Judged(path.name, verdict)


def _read(path: Path) -> Holding:
    try:
        return read_holding(read_document(path))
    except DocumentTooLarge as error:
        raise ProofRefused(ProofOutcome.TOO_LARGE, str(error)) from None
    except DocumentMalformed as error:
        raise ProofRefused(ProofOutcome.MALFORMED, str(error)) from None


def _judge_files(trusted: Trusted, task: tuple[int, Sequence[Path]]) -> tuple[int, list[Judged]]:
    start, files = task
    return start, [judge_file(path, trusted) for path in files]
