"""Whatever is in a file of rules or a document, reading it ends in rules or in a named error."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.fuzz.readers import READERS, SEEDS, refused

TABLES = [name for name in READERS if name.endswith(("-csv", "-parquet"))]
RULES = [name for name in READERS if name not in TABLES]

PIECES = [
    b"true", b"-1", b"0", b"1e400", b"nan", b"inf", b"99999999999999999999999", b"1" * 5_000,
    b"''", b"'\\'", b'"\\ud800"', b'"../../x"', b"[]", b"[[]]", b"{}", b"{a = {b = 1}}",
    b"\n[a.b.c]\n",
    b"\n[[grid]]\n", b"0001-01-01", b"9999-12-31T23:59:59-23:59", b"1979-05-27T07:32:00", b"null",
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"{" * 2_000, b"[" * 2_000, b"a." * 500,
    b"0x" + b"f" * 64,
]  # fmt: skip
"""What readers of rules, numbers, instants and hexadecimal stumble over."""


MINIMUM_SENTENCE = 10
"""Characters; less tells nobody anything."""


@cache
def seeds(reader: str) -> list[bytes]:
    return SEEDS[reader]()


def accepted(reader: str, content: bytes) -> bool:
    """Read a content; return whether it was accepted. An error that is no refusal goes on."""
    try:
        READERS[reader](content)
    except Exception as error:
        if not refused(error) or len(str(error)) < MINIMUM_SENTENCE:
            raise
        return False
    return True


@pytest.mark.parametrize("reader", READERS)
def test_files_that_ship_are_accepted(reader: str) -> None:
    assert all(accepted(reader, seed) for seed in seeds(reader)[:2])


@pytest.mark.parametrize("reader", RULES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_spoilt_rules_are_refused_by_name(reader: str, data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(seeds(reader)))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        stop = min(len(content), start + data.draw(st.integers(0, 40)))
        piece = data.draw(st.sampled_from(PIECES) | st.binary(max_size=20))
        content = content[:start] + piece + content[stop:]
    accepted(reader, content)


@pytest.mark.parametrize("reader", RULES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_values_of_other_kinds_are_refused_by_name(reader: str, data: st.DataObject) -> None:
    """One value is replaced by another piece: of rules a line's, of JSON that after a colon."""
    mark = b" = " if b" = " in seeds(reader)[0] else b":"
    head, *rest = data.draw(st.sampled_from(seeds(reader))).split(mark)
    place = data.draw(st.integers(0, len(rest) - 1))
    end = b"\n" if mark == b" = " else b","
    _, comma, tail = rest[place].partition(end)
    rest[place] = data.draw(st.sampled_from(PIECES)) + comma + tail
    accepted(reader, mark.join([head, *rest]))


@pytest.mark.parametrize("reader", ["claims-csv", "claims-parquet"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_spoilt_claims_are_set_aside_or_refused_by_name(reader: str, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(seeds(reader))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(1, len(content) - 1))] = data.draw(st.integers(0, 255))
    accepted(reader, bytes(content))
