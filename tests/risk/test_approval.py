"""Approvals of models: of their content, until their day."""

from datetime import date
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.approval import Approval, content_digest, why_not_approved, with_approval
from risk.claims.rules import parse_pool_rules
from risk.methodology import parse_methodology
from risk.systemic.plan import parse_stress_plan

DAY = date(2026, 3, 31)


def shipped():
    """Every model that ships: its name, its text, what reads it."""
    root = resources.files("risk.methodologies")
    readers = {"pool": parse_pool_rules, "stress": parse_stress_plan}
    for folder in ("", "standard", "protocols", "sensitivities", "pool", "stress"):
        for entry in sorted((root / folder).iterdir(), key=str):
            if entry.name.endswith(".toml") and not entry.name.startswith("events-"):
                reader = readers.get(folder, parse_methodology)
                yield pytest.param(entry.read_text(), reader, id=entry.name)


def approve(text, until=DAY):
    approval = Approval(
        owner='the "desk"', approved_by="risk", approved_until=until, content=content_digest(text)
    )
    return with_approval(text, approval)


@pytest.mark.parametrize(("text", "read"), [*shipped()])
def test_what_ships_is_approved_as_it_stands_and_no_longer_when_a_number_is_edited(text, read):
    model = read(text)
    assert why_not_approved(model.approval, text, date(2024, 1, 8)) is None
    assert model.approval.owner == "margincube"
    edited = text.replace('title = "', 'title = "Another ', 1)
    assert "edited since" in why_not_approved(read(edited).approval, edited, date(2024, 1, 8))


@pytest.mark.parametrize(
    ("day", "why"),
    [
        (DAY, None),
        (date(2026, 4, 1), "its approval ended on 2026-03-31, and the run is as of 2026-04-01"),
    ],
)
def test_an_approval_holds_to_the_end_of_its_day(day, why):
    text = approve("level = 1\n")
    stated = Approval(
        owner="x", approved_by="y", approved_until=DAY, content=content_digest("level = 1")
    )
    assert why_not_approved(stated, text, day) == why


def test_a_second_approval_takes_the_place_of_the_first():
    text = approve(approve("level = 1\n[[rows]]\na = [\n  1,\n]\n"), date(2027, 1, 1))
    assert text.count("[approval]") == 1
    assert "approved_until = 2027-01-01" in text


@pytest.mark.parametrize(
    "text",
    [
        'approval = {owner = "x"}\nlevel = 1\n',
        'level = """\n[approval]\nowner\n"""\n',
    ],
)
def test_what_cannot_be_told_from_an_approval_is_refused(text):
    with pytest.raises(ValueError, match="not a table of its own"):
        approve(text)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_content_is_what_is_said_and_not_how(one, other):
    same = content_digest(f"level = {one!r}") == content_digest(f"level   = {other!r} # {other}")
    assert same == (one == other)


@pytest.mark.parametrize("content", ["", "abc", "A" * 64])
def test_a_content_that_is_no_digest_is_refused(content):
    with pytest.raises(ValueError, match="pattern"):
        Approval(owner="x", approved_by="y", approved_until=DAY, content=content)
