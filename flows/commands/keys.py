"""The commands ``keys`` and ``verify-signature``: that a published number is of who holds a key."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from flows.commands.shared import CONSOLE, Json, print_json
from flows.settings import Place, Settings

if TYPE_CHECKING:
    from storage.arrays import RunKind

KindName = Literal["margin", "pool", "stress", "reverse"]

app = App(help="Keys that sign the manifests of runs.")


@app.command
def new(path: Path, *, json: Json = False) -> None:
    """Make a key: the private half for its owner alone, the public half beside it.

    Args:
        path: the file to write; the public half goes to the same name with .pub behind it
        json: print what was made as JSON
    """
    from storage.signature import new_key

    public, fingerprint = new_key(path)
    if json:
        print_json({"private": str(path), "public": str(public), "fingerprint": fingerprint})
        return
    CONSOLE.print(
        f"private key: {path}, which nobody but its owner may read\n"
        f"public key: {public}, for whoever checks signatures\n"
        f"fingerprint: {fingerprint}\n"
        f"next: export MARGINCUBE_SIGNING_KEY={path}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def verify_signature(
    run: str = "latest",
    *,
    key: Path,
    kind: KindName = "margin",
    runs: str | None = None,
    json: Json = False,
) -> None:
    """Check that the manifest of a run is what the holder of a key has signed.

    Args:
        run: name of the run, or an unambiguous start of it
        key: file of the public key
        kind: margin, pool, stress or reverse
        runs: folder of the runs of that kind, or s3://bucket/prefix; that of the settings
        json: print the result as JSON
    """
    from storage.objects import located
    from storage.runs import RunStore
    from storage.signature import verify_signature as verified

    place, run_kind = store_of(Settings.given(), kind)
    found = verified(RunStore(place if runs is None else located(runs), run_kind), run, key)
    assert found.signature is not None
    if json:
        print_json({"run_id": found.run_id, "valid": True, **found.signature})
        return
    CONSOLE.print(
        f"{found.run_id}: signed by the key {found.signature['key']}; its numbers have the digest "
        f"{found.manifest['digest'][:16]}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def store_of(settings: Settings, kind: KindName) -> "tuple[Place, RunKind]":
    """Return where the runs of a kind are kept, and the kind."""
    from storage.arrays import MARGIN, POOL, REVERSE, STRESS

    return {
        "margin": (settings.runs, MARGIN),
        "pool": (settings.pools, POOL),
        "stress": (settings.stresses, STRESS),
        "reverse": (settings.reverses, REVERSE),
    }[kind]
