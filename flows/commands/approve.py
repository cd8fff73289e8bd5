"""The command ``approve``: let a methodology, rules of a pool or a stress plan be used."""

from datetime import date, datetime
from pathlib import Path

from flows.commands.shared import CONSOLE, require_file
from flows.settings import Settings


def approve(
    file: Path,
    *,
    owner: str,
    by: str,
    until: datetime,
    reason: str | None = None,
) -> None:
    """Write an approval into the file of a model: of the content that it has now.

    Editing the file ends the approval. The audit log of the margin runs records it.

    Args:
        file: TOML file of a methodology, of rules of a pool or of a stress plan
        owner: who answers for the model
        by: who approves it
        until: the last day on which runs may be as of, such as 2026-12-31
        reason: why it is approved, for the audit log
    """
    from risk.approval import Approval, content_digest, with_approval
    from storage.audit import record

    require_file(file, "the TOML file of a model")
    text = file.read_text(encoding="utf-8")
    _require_model(text)
    day: date = until.date()
    approval = Approval(
        owner=owner, approved_by=by, approved_until=day, content=content_digest(text)
    )
    written = with_approval(text, approval)
    record(
        Settings.given().runs,
        "approve",
        {"file": str(file), **approval.model_dump(mode="json")},
        reason,
    )
    file.write_text(written, encoding="utf-8")
    CONSOLE.print(
        f"{file}: owned by {owner}, approved by {by} until {day.isoformat()}; content "
        f"{approval.content[:12]}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _require_model(text: str) -> None:
    """Refuse a text that is no model of any kind.

    Raises:
        ValueError: a field is missing, misspelt or out of its range.
    """
    import tomllib

    from risk.claims.rules import parse_pool_rules
    from risk.methodology import parse_methodology
    from risk.systemic.plan import parse_stress_plan

    document = tomllib.loads(text)
    if "policy" in document:
        parse_pool_rules(text)
    elif "cascade" in document:
        parse_stress_plan(text)
    else:
        parse_methodology(text)
