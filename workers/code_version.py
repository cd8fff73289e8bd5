"""The version of the code that made a number: part of the key of every run."""

import functools
from importlib import metadata
from pathlib import Path

from storage.digest import text_digest

LIBRARIES = ("numpy", "numba", "scipy", "xarray", "zarr", "icechunk", "ray", "dask", "prefect")
SOURCES = ("risk", "storage", "workers")


@functools.cache
def code_version() -> str:
    """Return the package's version and the digest of the sources that results depend on.

    >>> code_version().startswith(metadata.version("margincube") + "+")
    True
    """
    root = Path(__file__).parent.parent
    files = sorted(path for folder in SOURCES for path in (root / folder).rglob("*.py"))
    texts = [text for path in files for text in (str(path.relative_to(root)), path.read_text())]
    return f"{metadata.version('margincube')}+{text_digest(*texts)[:12]}"


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that numbers or their storage depend on."""
    return {name: _version(name) for name in LIBRARIES}


@functools.cache
def _version(name: str) -> str:
    return metadata.version(name)
