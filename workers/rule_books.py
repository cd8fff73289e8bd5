"""What a rule book says of itself: its kind, and whose number it may be called."""

from typing import Any

from risk.methodology import Methodology
from workers.methodologies import NETTING, ships

KINDS = {
    "measures": "measures of scenarios",
    "scan": "scan of scenarios",
    "standard": "rules by leg",
    "protocol": "weights of what is held and owed",
    "Greeks": "sensitivities",
}
"""Where base risk comes from, by the word for it, and what that means."""


def kind_of(methodology: Methodology) -> str:
    """Return the word for where a methodology's base risk comes from, one of ``KINDS``."""
    if methodology.scan is not None:
        return "scan"
    if methodology.standard is not None:
        return "protocol" if methodology.standard.protocol else "standard"
    return "measures" if methodology.sensitivities is None else "Greeks"


def venue_of(methodology: Methodology) -> str | None:
    """Return the venue whose own number this is: none while any parameter is not verified.

    What a file says of itself is believed of those that ship alone.
    """
    claimed = _claimed_venue(methodology)
    verified = claimed is not None and not methodology.not_verified and ships(methodology)
    return claimed if verified else None


def _claimed_venue(methodology: Methodology) -> str | None:
    standard = methodology.standard
    return standard.venue if standard and standard.venue_number else methodology.venue


def standing_of(methodology: Methodology) -> str:
    """Return what a number under a methodology may be called, as one clause.

    >>> from workers.methodologies import load_methodology
    >>> standing_of(load_methodology("span-scan-2026-01").methodology)
    "modelled on published rules; not a venue's number"
    """
    standard, venue = methodology.standard, venue_of(methodology)
    claimed = _claimed_venue(methodology)
    if claimed is not None and not ships(methodology):
        return f"said to be {claimed}'s by a file that does not ship; not called its number"
    if standard is not None and not standard.venue_number:
        return standard.label
    if venue is not None:
        return f"{venue}'s own number" if standard is None else standard.label
    if standard is not None:
        return f"{standard.label}; not called the venue's number while points are not verified"
    return "modelled on published rules; not a venue's number"


def binding_origins(methodology: Methodology) -> list[str]:
    """Return the origins of the scenarios that set a layer; the others are only reported.

    >>> from workers.methodologies import load_methodology
    >>> binding_origins(load_methodology("margincube-portfolio-2026-01").methodology)
    ['historical', 'grid']
    """
    if methodology.scan is not None:
        return ["scan", "basis"]
    named = (one.origins for one in methodology.measures if one.layer is not None)
    return list(dict.fromkeys(origin for origins in named for origin in origins))


def mode_of(methodology: Methodology, mode: str) -> str:
    """Return a margin mode, and what nets instead where a methodology says otherwise of it.

    >>> from workers.methodologies import load_methodology
    >>> forced = load_methodology("span-scan-2026-01", netting="portfolio").methodology
    >>> mode_of(forced, "isolated"), mode_of(forced, "portfolio")
    ('isolated (netted by account in this run)', 'portfolio')
    """
    key = getattr(methodology.netting, mode)
    return mode if key == NETTING[mode] else f"{mode} (netted by {key} in this run)"


def rule_book_of(methodology: Methodology) -> dict[str, Any]:
    """Return name, version, date, title, kind and standing of a methodology, for a manifest."""
    return {
        "name": methodology.name,
        "version": methodology.version,
        "effective": methodology.effective.isoformat(),
        "netting": methodology.netting.model_dump(),
        "title": methodology.title,
        "kind": kind_of(methodology),
        "binding_origins": binding_origins(methodology),
        "venue": venue_of(methodology),
        "standing": standing_of(methodology),
        "not_verified": list(methodology.not_verified),
    }


def extent_of(methodology: Methodology) -> str:
    """Return how many scenarios or rules a methodology has, in words.

    >>> from workers.methodologies import load_methodology
    >>> extent_of(load_methodology("derive-pmrm-2-2025-04").methodology)
    '33 scenarios, basis contingency'
    """
    if methodology.scan is not None:
        basis = ", basis contingency" if methodology.scan.basis is not None else ""
        return f"{len(methodology.scan.cells)} scenarios{basis}"
    if methodology.standard is not None:
        assets = len(methodology.collateral)
        return f"{len(methodology.standard.rules)} rules" + (f", {assets} of assets" * (assets > 0))
    if methodology.sensitivities is not None:
        return f"{len(methodology.sensitivities.buckets)} buckets"
    parts = []
    if methodology.historical is not None:
        window = methodology.historical
        years = f"{window.start:%Y} to {window.end:%Y}"
        parts.append(f"windows of {window.holding_period_hours} h, {years}")
    if methodology.grid is not None:
        grid = methodology.grid
        parts.append(f"grid of {3 * (2 * grid.buckets + 1) + len(grid.extreme_moves)}")
    return ", ".join(parts) or f"{len(methodology.events)} events"
