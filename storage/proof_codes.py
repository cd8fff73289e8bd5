"""Names of what a proof of a holding can lack: a claim that it should show is set aside by it."""

from storage.code import Code

_MEANINGS = {
    "NO_ROOT": "no trusted state root is given; a proof without one proves nothing",
    "ROOT_UNTRUSTED": "the proof does not begin at the anchored state root",
    "HEADER_DIFFERS": "the header of the anchor is not the one that its block hash names",
    "NOT_FINAL": "the anchored block is not as final as the pool demands",
    "HEIGHT_SKEWED": "the block is not the anchored one, or is too far from the pool's moment",
    "NODE_MISSING": "the proof ends before its path does; ask the node for the whole proof",
    "NODE_TAMPERED": (
        "a node is not the one that the node above it names: altered, left out or moved"
    ),
    "NODE_SURPLUS": "the proof has nodes that are not on its path",
    "VALUE_DIFFERS": "the state holds another value than the one claimed",
    "ADDRESS_DIFFERS": "the proof is of another address than the holding's",
    "KEY_DIFFERS": "no storage proof is of the slot that holds this owner's balance",
    "TOKEN_UNKNOWN": "the pool lists no such token on this chain",
    "DECIMALS_DIFFER": "the holding counts in other decimals than its token",
    "SIGNATURE_MISSING": "the balance is proven, but no owner signed it over to this pool",
    "SIGNATURE_INVALID": "the signature is not a signature, or not in its low form",
    "SIGNATURE_OTHER_POOL": "the signature is for another pool",
    "SIGNATURE_OTHER_EPOCH": "the signature is for another epoch",
    "SIGNATURE_OTHER_CHAIN": "the signature is for another chain",
    "SIGNATURE_OTHER_ACCOUNT": "the signature is for another account",
    "SIGNER_DIFFERS": "the signature is not by the key that it should be by",
    "ATTESTOR_UNKNOWN": "the pool names no such attestor",
    "MALFORMED": "the document is not of the form that docs/proofs.md describes",
    "TOO_LARGE": "the document is larger than any honest one",
    "UNREADABLE": "the file cannot be read",
}

PROOF_CODES = tuple(
    Code(
        name,
        "quarantine",
        meaning,
        "a holding that shows the claim",
        "mend the holding, or leave it out and state the claim",
    )
    for name, meaning in _MEANINGS.items()
)
