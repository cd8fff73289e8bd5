"""Double counts and circles, against a twin that looks at every pair of claims."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.claims.findings import bit, outcomes
from risk.claims.graph import follow_backings, groups_of, shared_findings
from risk.claims.tokens import Outcome

MOST = 12


@st.composite
def drawn_claims(draw):
    size = draw(st.integers(0, MOST))

    def column(values):
        return draw(st.lists(values, min_size=size, max_size=size))

    words = st.tuples(st.integers(0, 2), st.integers(0, 2))
    return {
        "root": np.array(column(words), np.uint64).reshape(-1, 2),
        "proof": np.array(column(words), np.uint64).reshape(-1, 2),
        "backing": np.array(column(st.integers(-1, max(size - 1, -1))), np.int64),
        "free": np.array(column(st.booleans()), np.bool_),
        "standing": np.array(column(st.integers(0, 2)), np.int8),
        "seconds": np.array(column(st.integers(0, 3)), np.float64),
        "chain": np.array(column(st.integers(0, 2)), np.int32),
    }


def end_of(backing, row):
    """The slow twin: take as many steps as there are claims."""
    for _ in range(len(backing) + 1):
        if backing[row] < 0:
            return row
        row = backing[row]
    return -1


def twin(root, proof, backing, free, standing, seconds, chain, skew, policy):
    size = len(backing)
    found = [set() for _ in range(size)]
    ends = [end_of(backing, row) for row in range(size)]
    keys = {
        Outcome.ROOT_TWICE: [tuple(word) if any(word) else None for word in root.tolist()],
        Outcome.PROOF_TWICE: [tuple(word) if any(word) else None for word in proof.tolist()],
        Outcome.BACKING_TWICE: [end if end >= 0 else None for end in ends],
    }
    for outcome, key in keys.items():
        for one in range(size):
            others = [
                other
                for other in range(size)
                if other != one and free[other] and free[one] and key[one] == key[other]
            ]
            if key[one] is None or not others:
                continue
            best = min(standing[[one, *others]])
            leads = [row for row in sorted([one, *others]) if standing[row] == best]
            if policy == "first":
                leads = leads[:1]
            if leads != [one]:
                found[one].add(outcome)
            if outcome == Outcome.ROOT_TWICE:
                group = [one, *others]
                apart = max(seconds[group]) - min(seconds[group])
                several = len(set(chain[group].tolist())) > 1
                if several and apart > skew and Outcome.ROOT_TWICE in found[one]:
                    found[one].add(Outcome.HEIGHT_SKEWED)
    for row in range(size):
        if ends[row] < 0:
            found[row].add(Outcome.BACKING_CYCLE)
    return [sum(map(bit, some)) for some in found]


@settings(deadline=None)  # the first call compiles
@given(drawn_claims(), st.integers(0, 3), st.sampled_from(["none", "first"]))
def test_findings_are_those_of_every_pair(claims, skew, policy):
    shared = shared_findings(**claims, skew_seconds=float(skew), double_count=policy)
    assert shared.found.tolist() == twin(**claims, skew=skew, policy=policy)


@settings(deadline=None)  # the first call compiles
@given(drawn_claims(), st.randoms(use_true_random=False))
def test_the_order_of_the_claims_changes_nothing(claims, random):
    size = len(claims["backing"])
    order = np.array(random.sample(range(size), size), np.int64)
    place = np.argsort(order)
    moved = {name: column[order] for name, column in claims.items()}
    behind = moved["backing"]
    moved["backing"] = np.where(behind >= 0, place[behind] if size else behind, -1)
    here = shared_findings(**claims, skew_seconds=1.0)
    there = shared_findings(**moved, skew_seconds=1.0)
    assert there.found.tolist() == here.found[order].tolist()


@settings(deadline=None)  # the first call compiles
@given(drawn_claims())
def test_circles_are_named_from_their_smallest_row(claims):
    backing = claims["backing"]
    circles = follow_backings(backing).circles(backing)
    for circle in circles:
        assert circle[0] == min(circle)
        assert [int(backing[row]) for row in circle] == [*circle[1:], circle[0]]
    named = {row for circle in circles for row in circle}
    assert named == {row for row in range(len(backing)) if returns(backing, row)}


def returns(backing, row):
    """The slow twin: whether the backings lead back to where they began."""
    at = row
    for _ in backing:
        at = backing[at]
        if at in (row, -1):
            break
    return at == row


@pytest.mark.parametrize("length", [1, 2, 3, 7, 100_000])
def test_a_circle_of_backings_of_any_length_is_found(length):
    backing = np.concatenate([(np.arange(length) + 1) % length, [0, length, -1, length + 2]])
    found = follow_backings(backing)
    assert found.circular.sum() == length
    assert found.circles(backing) == [list(range(length))]
    assert (found.end[: length + 2] == -1).all()  # both that lead into it
    assert found.end[length + 2 :].tolist() == [length + 2, length + 2]


def test_a_long_chain_of_receipts_is_followed_to_its_end():
    backing = np.arange(-1, 99_999)
    assert (follow_backings(backing).end == 0).all()


def test_a_receipt_for_what_is_pledged_in_whole_counts_alone():
    columns = {
        "root": np.array([[1, 0], [2, 0]], np.uint64),
        "proof": np.zeros((2, 2), np.uint64),
        "backing": np.array([1, -1]),
        "standing": np.zeros(2, np.int8),
        "seconds": np.zeros(2),
        "chain": np.zeros(2, np.int32),
        "skew_seconds": 0.0,
    }
    pledged = shared_findings(**columns, free=np.array([True, False]))
    assert outcomes(pledged.found).tolist() == [Outcome.COUNTED, Outcome.COUNTED]
    both = shared_findings(**columns, free=np.array([True, True]))
    assert outcomes(both.found).tolist() == [Outcome.BACKING_TWICE, Outcome.BACKING_TWICE]
    assert both.ends.named() == [[0, 1]]


def test_words_that_share_only_their_first_half_are_not_equal():
    generator = np.random.default_rng(5)
    words = generator.integers(0, 3, (1_000, 2)).astype(np.uint64)
    chosen = generator.random(1_000) < 0.5
    by_word = defaultdict(list)
    for row in np.flatnonzero(chosen).tolist():
        by_word[tuple(words[row])].append(row)
    wanted = sorted(rows for word, rows in by_word.items() if any(word))
    assert sorted(groups_of(words, chosen).named()) == wanted


def test_a_backing_outside_of_the_claims_is_refused():
    with pytest.raises(ValueError, match="claim 1 is a receipt for claim 2"):
        follow_backings(np.array([-1, 2]))


def test_nobody_spoils_what_is_known_better():
    columns = {
        "root": np.array([[1, 0], [1, 0], [1, 0]], np.uint64),
        "proof": np.zeros((3, 2), np.uint64),
        "backing": np.full(3, -1),
        "free": np.ones(3, np.bool_),
        "seconds": np.array([0.0, 9.0, 9.0]),
        "chain": np.array([1, 2, 2], np.int32),
        "skew_seconds": 1.0,
    }
    for standing, counted in (([0, 1, 1], [0]), ([1, 0, 1], [1]), ([1, 1, 1], []), ([2, 1, 1], [])):
        shared = shared_findings(**columns, standing=np.array(standing, np.int8))
        assert np.flatnonzero(shared.found == 0).tolist() == counted
        assert shared.roots.named() == [[0, 1, 2]]
