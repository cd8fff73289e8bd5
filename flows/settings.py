"""Settings: read once from the environment, overridden on the command line, then passed down."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from storage.objects import SCHEME, S3Folder, located
from storage.signature import Signer

EngineName = Literal["ray", "dask", "serial"]
FoldName = Literal["threads", "ray", "serial"]

Place = Annotated[Path | S3Folder, BeforeValidator(located), NoDecode]
"""A folder on a file system, or one in an object store, given as ``s3://bucket/prefix``."""

OFFLINE_PREFECT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
# In the foreground an error is raised to the person who asked; a log would say it again, longer.
QUIET_PREFECT = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}


class NotThere(ValueError):
    """No book, market or claims of that name."""


class Settings(BaseSettings):
    """Where things are kept and what computes them; each field is ``MARGINCUBE_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="MARGINCUBE_", frozen=True, extra="ignore")

    home: Path = Path("margincube-data")
    runs: Place = Field(default_factory=lambda given: given["home"] / "runs")
    pools: Place = Field(default_factory=lambda given: given["home"] / "pools")
    stresses: Place = Field(default_factory=lambda given: given["home"] / "stresses")
    reverses: Place = Field(default_factory=lambda given: given["home"] / "reverses")
    engine: EngineName = "ray"
    fold: FoldName = "threads"
    workers: Annotated[int, Field(ge=1)] = os.cpu_count() or 1
    threads: Annotated[int, Field(ge=1)] = 1
    ray_address: str | None = None
    signing_key: Path | None = None
    most_held_back: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    most_money_held_back: Annotated[float, Field(ge=0.0, le=1.0)] | None = None

    @model_validator(mode="after")
    def _fold_where_ray_is(self) -> Self:
        if self.fold == "ray" and self.engine != "ray":
            raise ValueError(
                f"fold 'ray' needs the engine 'ray', the engine is {self.engine!r}; "
                "use --fold threads"
            )
        return self

    @classmethod
    def given(cls, **chosen: Any) -> Self:
        """Return the settings of this process with those that were chosen; None chooses nothing."""
        return cls(**{name: value for name, value in chosen.items() if value is not None})

    def signer(self) -> Signer | None:
        """Return what signs the manifests of runs, where there is a key.

        Raises:
            KeyUnusable: the file is no Ed25519 key, or others may read it.
        """
        return None if self.signing_key is None else Signer(self.signing_key)

    @property
    def books(self) -> Path:
        """Folder of the books."""
        return self.home / "books"

    @property
    def markets(self) -> Path:
        """Folder of the markets."""
        return self.home / "markets"

    @property
    def claims(self) -> Path:
        """Folder of the claims."""
        return self.home / "claims"

    @property
    def reports(self) -> Path:
        """Folder of the reports."""
        return self.home / "reports"

    def book_path(self, name: str) -> Path | S3Folder:
        """Return the folder of a book given by name, by path, or by its address in a store.

        Raises:
            BadAddress: it begins with ``s3://`` and is no address.
            NotThere: neither name nor path is a folder.
        """
        if name.startswith(SCHEME):
            return S3Folder.parse(name)
        return _named(self.books, name)

    def claims_path(self, name: str) -> Path | S3Folder:
        """Return the folder of claims given by name, by path, or by their address in a store.

        Raises:
            BadAddress: it begins with ``s3://`` and is no address.
            NotThere: neither name nor path is a folder.
        """
        if name.startswith(SCHEME):
            return S3Folder.parse(name)
        return _named(self.claims, name)

    def market_path(self, name: str) -> Path:
        """Return the folder of a market given by name, or by path.

        Raises:
            NotThere: neither is a folder.
        """
        return _named(self.markets, name)


def _named(folder: Path, name: str) -> Path:
    if (folder / name).is_dir() or Path(name).is_dir():
        return folder / name if (folder / name).is_dir() else Path(name)
    there = sorted(path.name for path in folder.glob("*") if path.is_dir())
    known = f"there are {there}" if there else "there are none yet"
    what = folder.name.removesuffix("s") if folder.name != "claims" else "claims"
    raise NotThere(f"no {what} {name!r} in {folder}: {known}; or give a folder's path")


def prepare_prefect(*, quiet: bool) -> None:
    """Set what Prefect reads from the environment, where the user has not set it already.

    It reads these once, so this comes before its first import. A ``quiet`` one keeps no log.
    """
    for name, value in (OFFLINE_PREFECT | (QUIET_PREFECT if quiet else {})).items():
        os.environ.setdefault(name, value)
