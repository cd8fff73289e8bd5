"""RLP, the encoding of trie nodes and headers, read strictly: one encoding for each value.

Source: Ethereum Yellow Paper, appendix B.
"""

from typing import TypeAlias

Item: TypeAlias = "bytes | list[Item]"

DEEPEST = 16
"""Lists within lists; a trie node has far fewer."""

EMPTY, HASH = 0x80, 0xA0
"""The first byte of an empty string, and of one of 32 bytes."""


class NotRlp(ValueError):
    """Bytes that are not the one encoding of a value."""


def decode(data: bytes) -> Item:
    """Return the value that all of ``data`` encodes.

    Raises:
        NotRlp: bytes are left out or left over, a length is not in its shortest form, or lists
            are nested more than ``DEEPEST`` deep.

    >>> decode(bytes.fromhex("c783636174c22a80"))
    [b'cat', [b'*', b'']]
    """
    item, end = _item(data, 0, len(data), DEEPEST)
    if end != len(data):
        raise NotRlp(f"{len(data) - end} bytes are left over")
    return item


def _item(data: bytes, at: int, limit: int, depth: int) -> tuple[Item, int]:
    """Return the item that begins at ``at`` and where it ends, at ``limit`` at most."""
    if at >= limit:
        raise NotRlp("an item is missing")
    first = data[at]
    if first < 0x80:
        return data[at : at + 1], at + 1
    if first < 0xC0:
        start, end = _span(data, at, limit, first - 0x80)
        if end - start == 1 and data[start] < 0x80:
            raise NotRlp(f"a single byte {data[start]} has a length before it")
        return data[start:end], end
    if not depth:
        raise NotRlp(f"lists are nested more than {DEEPEST} deep")
    start, end = _span(data, at, limit, first - 0xC0)
    items: list[Item] = []
    while start < end:
        # Nearly all items of a proof's nodes are hashes and empty.
        if data[start] == HASH and start + 33 <= end:
            items.append(data[start + 1 : start + 33])
            start += 33
        elif data[start] == EMPTY:
            items.append(b"")
            start += 1
        else:
            item, start = _item(data, start, end, depth - 1)
            items.append(item)
    return items, end


def _span(data: bytes, at: int, limit: int, length: int) -> tuple[int, int]:
    """Return where the content of an item starts and ends; a length over 55 is written after."""
    start = at + 1
    if length > 55:
        start += length - 55
        written = data[at + 1 : min(start, limit)]
        length = int.from_bytes(written, "big")
        if not written or written[0] == 0 or length <= 55:
            raise NotRlp("a length is not in its shortest form")
    if start + length > limit:
        raise NotRlp(f"{start + length - limit} bytes are missing")
    return start, start + length


def natural(data: Item) -> int:
    """Return the natural number that an item is, which has no zeros in front.

    Raises:
        NotRlp: it is a list, or begins with a zero.

    >>> natural(b""), natural(bytes([1, 0]))
    (0, 256)
    """
    if not isinstance(data, bytes) or data[:1] == b"\0":
        raise NotRlp(f"{data!r} is no natural number")
    return int.from_bytes(data, "big")
