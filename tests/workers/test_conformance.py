"""Other people's numbers through our methods, and the suite's own rules."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from workers.conformance.comparison import Tolerance, compare
from workers.conformance.registry import MODULES, methods
from workers.conformance.vector_file import BrokenVectorFile, parse_vectors, read_vectors
from workers.conformance.verdicts import count_by_method, judge, judge_file, total

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = (GOLDEN / "margin_vectors.json", GOLDEN / "margin_vectors_more.json")
VECTORS = [vector for file in FILES for vector in read_vectors(file).vectors]
NAMES = [vector.id for vector in VECTORS]


@pytest.fixture(scope="module")
def verdicts():
    return {one.vector.id: one for file in FILES for one in judge_file(file)}


def vector(**changes):
    return {
        "id": "one",
        "source": "here",
        "method": "okx_mr9",
        "inputs": {"hedged_usd": 3e6, "tiers": [[1e6, 0.01], [5e6, 0.02]]},
        "expected": {"mr9_usd": 50_000.0},
        "tolerance": {"rel": 1e-9},
        "verified": "recomputed",
    } | changes


def judged(*vectors, tables=()):
    return judge(parse_vectors({"tables": list(tables), "vectors": list(vectors)}, "mine.json"))


@pytest.mark.parametrize("name", NAMES)
def test_every_number_is_found_again(verdicts, name):
    verdict = verdicts[name]
    wrong = [one for one in verdict.comparisons if not one.within]
    assert verdict.status == "passed", verdict.message or wrong


@pytest.mark.parametrize("one", VECTORS, ids=NAMES)
def test_a_number_that_moves_beyond_its_tolerance_fails(verdicts, one):
    """The suite sees every single number: none of them can be wrong unnoticed."""
    verdict = verdicts[one.id]
    allowed = Tolerance.of(one.tolerance, one.expected)
    for number in verdict.comparisons:
        if isinstance(number.expected, str):
            moved = str(int(number.expected) + 2)
        else:
            step = max(allowed.absolute, allowed.relative * abs(number.expected))
            moved = number.expected + 3.0 * (step + allowed.rounding) + 1e-300
            moved += 1e-9 * abs(number.expected)
        (again,) = compare({"x": moved}, {"x": number.got}, one.tolerance)
        assert not again.within


def test_methods_come_from_all_modules_once():
    known = methods()
    assert len(MODULES) == len(set(MODULES))
    assert {"black76", "aave_health_factor", "okx_mr9", "lognormal_var_es"} <= known.keys()


def test_a_wrong_number_is_named_with_what_was_found():
    (verdict,) = judged(vector(expected={"mr9_usd": 60_000.0}))
    assert verdict.status == "failed"
    (number,) = verdict.comparisons
    assert (number.path, number.expected, number.got) == ("mr9_usd", 60_000.0, 50_000.0)
    assert number.relative_error == pytest.approx(1 / 6)


def test_a_key_that_no_method_returns_is_a_failure():
    (verdict,) = judged(vector(expected={"mr9_usd": 50_000.0, "mr10_usd": 1.0}))
    assert verdict.status == "failed"
    assert verdict.comparisons[1].reason == "not computed by this method"


def test_an_unknown_method_is_not_supported_and_never_passes():
    found = judged(vector(method="astrology"))
    assert found[0].status == "not supported"
    counts = total(count_by_method(found))
    assert (counts.passed, counts.failed, counts.not_supported) == (0, 0, 1)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"hedged_usd": 3e6}, "the inputs hold no 'tiers'"),
        ({"hedged_usd": -1.0, "tiers": [[1.0, 1.0]]}, "ValueError: amount is -1.0"),
        ({"hedged_usd": 1.0, "tiers": []}, "ValueError: not enough values"),
        ({"hedged_usd": "x", "tiers": [[1.0, 1.0]]}, "ValueError: could not convert"),
    ],
)
def test_a_method_that_cannot_compute_fails_with_its_sentence(inputs, sentence):
    (verdict,) = judged(vector(inputs=inputs))
    assert verdict.status == "failed"
    assert verdict.message.startswith(sentence)


def test_what_was_only_read_is_counted_apart():
    found = judged(
        vector(id="a"),
        vector(id="b", verified="read-only"),
        vector(id="c", verified="read-only", expected={"mr9_usd": 1.0}),
        vector(id="d", expected={"mr9_usd": 1.0}),
    )
    counts = total(count_by_method(found))
    assert (counts.passed, counts.failed) == (1, 1)
    assert (counts.read_only_passed, counts.read_only_failed) == (1, 1)


@pytest.mark.parametrize(
    ("expected", "got", "tolerance", "within"),
    [
        (100.0, 100.9, {"abs": 1.0}, True),
        (100.0, 101.1, {"abs": 1.0}, False),
        (100.0, 101.0, {"abs": 0.5, "rel": 0.01}, True),
        (0.0, 1e-13, {"rel": 1e-9}, False),
        (3, 3.0, {"abs": 0}, True),
        (3, np.float64(3.0), {"abs": 0}, True),
        (3, True, {"abs": 5}, False),
        (1.0, float("nan"), {"abs": 5}, False),
        (1.0, float("inf"), {"rel": 5}, False),
        (1.0, None, {"abs": 5}, False),
        (None, None, {"abs": 0}, True),
        (None, 0.0, {"abs": 0}, False),
        (True, True, {"abs": 0}, True),
        (True, 1, {"abs": 0}, False),
        ("long", "long", {"abs": 0}, True),
        ("long", "short", {"abs": 0}, False),
        ("10" * 14, "10" * 13 + "11", {"abs_ray": 1}, True),
        ("10" * 14, "10" * 13 + "12", {"abs_ray": 1}, False),
        ("10" * 14, "0.5", {"abs_ray": 1}, False),
        ([1.0, 2.0], [1.0, 2.0], {"abs": 0}, True),
        ([1.0, 2.0], np.array([1.0, 2.0]), {"abs": 0}, True),
        ([1.0, 2.0], (1.0, 2.5), {"abs": 0.1}, False),
        ([1.0, 2.0], [1.0], {"abs": 0}, False),
        ([1.0], 1.0, {"abs": 0}, False),
        ({"a": {"b": 1.0}}, {"a": {"b": 1.0, "c": 2.0}}, {"abs": 0}, True),
        ({"a": 1.0}, {}, {"abs": 0}, False),
        ({"a": 1.0}, 1.0, {"abs": 0}, False),
    ],
)
def test_values_are_compared_by_their_kind(expected, got, tolerance, within):
    found = compare({"x": expected}, {"x": got}, tolerance)
    assert all(one.within for one in found) is within
    json.dumps([one.got for one in found], default=str)


def test_the_rounding_of_large_numbers_is_no_difference():
    found = compare({"im": 1e4, "rest": -1e-12}, {"im": 1e4, "rest": 0.0}, {"rel": 1e-9})
    assert [one.within for one in found] == [True, True]
    assert [one.relative_error for one in found] == [0.0, 0.0]


BROKEN = [
    ("no json", "is not JSON"),
    ('{"vectors": [], "x": NaN}', "holds NaN"),
    ('{"vectors": [], "x": 1e999}', "holds 1e999"),
    ("[]", "must be an object"),
    ('{"vectors": {}}', "must be an object that holds a list 'vectors'"),
    ('{"vectors": [], "tables": 3}', "'tables' must be a list, got int"),
    ('{"vectors": [3]}', "vector number 1 must be an object, got int"),
    ('{"vectors": [], "tables": [{"id": "t"}]}', "table 't' has no field 'inputs'"),
]


@pytest.mark.parametrize(("text", "sentence"), BROKEN)
def test_a_broken_file_is_refused_in_a_sentence(tmp_path, text, sentence):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(BrokenVectorFile, match=r"mine\.json") as refused:
        read_vectors(path)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id": ""}, "'id' must be a text"),
        ({"method": 3}, "'method' must be a text"),
        ({"inputs": []}, "'inputs' must be an object, got list"),
        ({"expected": {}}, "'expected' must be an object with at least one number"),
        ({"tolerance": {}}, "'tolerance' must map"),
        ({"tolerance": {"absolute": 1}}, "'tolerance' must map"),
        ({"tolerance": {"abs": -1}}, "0 or more"),
        ({"tolerance": {"abs": "1"}}, "0 or more"),
        ({"verified": "maybe"}, "'verified' must be one of"),
        ({"inputs": {"leg": [{"params_ref": "p"}]}}, "params_ref names table 'p'"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(BrokenVectorFile) as refused:
        judged(vector(**changes))
    assert sentence in str(refused.value)


@pytest.mark.parametrize("field", ["id", "method", "inputs", "expected", "tolerance", "verified"])
def test_a_missing_field_is_named(field):
    row = vector()
    del row[field]
    with pytest.raises(BrokenVectorFile, match=f"has no field '{field}'"):
        judged(row)


def test_every_problem_of_a_file_is_told_at_once():
    rows = [vector(id="same"), vector(id="same"), *({"id": f"v{row}"} for row in range(20))]
    with pytest.raises(BrokenVectorFile) as refused:
        judged(*rows)
    lines = str(refused.value).splitlines()
    assert lines[1] == "id 'same' stands there twice; ids are unique in a file"
    assert lines[-1] == "and 11 more"


def test_tables_are_found_by_the_vectors_that_name_them():
    weights = copy.deepcopy(read_vectors(FILES[0]).tables["shared.mango.weights"])
    table = {"id": "w", "inputs": weights}
    row = vector(
        method="mango_v4_health",
        inputs={"token1": 100, "weights_ref": "w"},
        expected={"init_health": 80.0},
    )
    (verdict,) = judged(row, tables=[table])
    assert verdict.status == "passed"
