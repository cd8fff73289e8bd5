"""Approval of a model: who owns it, who let it be used, until when, and which content of it."""

import hashlib
import json
import tomllib
from datetime import date
from typing import Annotated, Any

from pydantic import Field

from risk.specification import Specification, read_toml

Person = Annotated[str, Field(min_length=1, max_length=200)]

TABLE = "approval"
"""The table of a file that states its approval; whatever else the file says is its content."""


class Approval(Specification):
    """Who answers for a model, who approved it, the last day on which that holds, and of what.

    ``content`` is the digest of all that the file says beside this table, so that an approval ends
    when a number is edited.
    """

    owner: Person
    approved_by: Person
    approved_until: date
    content: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def content_digest(text: str) -> str:
    """Return the SHA-256 of what a TOML text says beside its approval, however it is laid out.

    >>> content_digest("level = 0.99  # of ten days") == content_digest("level=0.990")
    True
    >>> content_digest("level = 0.99") == content_digest("level = 0.975")
    False
    """
    document: dict[str, Any] = read_toml(text)
    document.pop(TABLE, None)
    # Dates and times are the only values of TOML that JSON has no form for.
    plain = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


def why_not_approved(approval: Approval | None, text: str, day: date) -> str | None:
    """Return why a text is not approved on a day, as one clause; None where it is.

    >>> why_not_approved(None, "level = 0.99", date(2026, 1, 1))
    'it has no [approval]'
    """
    if approval is None:
        return f"it has no [{TABLE}]"
    if approval.content != (found := content_digest(text)):
        return (
            f"its approval is of content {approval.content[:12]}, and this is {found[:12]}: it was "
            "edited since"
        )
    if day > approval.approved_until:
        return (
            f"its approval ended on {approval.approved_until.isoformat()}, and the run is as of "
            f"{day.isoformat()}"
        )
    return None


def with_approval(text: str, approval: Approval) -> str:
    """Return a text with its approval at the end, in the place of the one that it had.

    Raises:
        ValueError: the text states its approval in another form than a table of its own.
    """
    lines, kept, inside = text.rstrip().splitlines(), [], False
    for line in lines:
        if line.lstrip().startswith("["):
            inside = line.split("#")[0].strip() == f"[{TABLE}]"
        if not inside:
            kept.append(line)
    body = "\n".join(kept).rstrip()
    try:
        there = TABLE in tomllib.loads(body)
    except tomllib.TOMLDecodeError:  # the lines that were left out were no table
        there = True
    if there:
        raise ValueError(f"the approval is not a table of its own; write it as [{TABLE}]")
    written = (
        f"{body}\n\n[{TABLE}]\n"
        f"owner = {json.dumps(approval.owner, ensure_ascii=False)}\n"
        f"approved_by = {json.dumps(approval.approved_by, ensure_ascii=False)}\n"
        f"approved_until = {approval.approved_until.isoformat()}\n"
        f'content = "{approval.content}"\n'
    )
    if content_digest(written) != content_digest(text):
        raise ValueError(f"the text cannot be told from its approval; write [{TABLE}] at its end")
    return written
