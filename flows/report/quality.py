"""How well the market is known: the fit of the volatility surface by expiry."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from flows.format import day, exact, percent
from flows.report.picture import Choice, Layout, Picture, Sentence, Table, Trace, hover, plain, safe
from flows.report.view import RunView

COLUMNS = {
    "underlying": "Underlying",
    "expiry": "Expiry",
    "forward": "Forward, USD",
    "quotes": "Quotes",
    "method": "Curve",
    "rmse_volatility": "Volatility error",
    "butterfly_free": "Butterfly",
    "calendar_free": "Calendar",
}
WORDS = ("Underlying", "Expiry", "Curve", "Butterfly", "Calendar")
QUANTILE_COLOURS = ("--layer-1", "--layer-2", "--alarm", "--layer-4")


def surface_error(view: RunView) -> Picture | Sentence:
    """Return how far prices from the surface are from the venue's marks."""
    title = "Prices from the surface against the venue's marks"
    quality = view.mark_error
    row = None if quality is None else _row_dimension(quality)
    if quality is None or row is None:
        return Sentence(title, "This run did not report how well its surface reprices the marks.")
    choices = []
    for label, dimension in (("By expiry", row), ("By moneyness", "moneyness")):
        error = _error(quality, dimension)
        if error is not None:
            names = _expiry_names(quality, row) if dimension == row else _texts(quality[dimension])
            axis = "" if dimension == row else "ln(strike/forward) in standard deviations"
            choices.append(_errors(label, names, error, axis))
    if not choices:
        return Sentence(title, "This run did not report how well its surface reprices the marks.")
    return Picture(
        name="surface",
        title=title,
        caption=(
            "Size of the difference between the option price of our volatility surface and the "
            "mark that the venue published, as a fraction of the forward. Each line is the error "
            "that the named part of the quotes does not exceed; lower is better."
            + _overall(quality)
        ),
        choices=choices,
        wide=True,
    )


def _overall(quality: xr.Dataset) -> str:
    if "mark_error_all" not in quality.variables or "quantile" not in quality.coords:
        return ""
    levels = [float(level) for level in quality["quantile"].values]
    errors = [float(error) for error in quality["mark_error_all"].values]
    told = [
        f"{_level_words(level).lower()} are within {percent(error)}"
        for level, error in zip(levels, errors, strict=True)
        if level < 1.0
    ]
    return f" Over all quotes, {', '.join(told)}." if told else ""


def _errors(label: str, names: list[str], error: xr.DataArray, axis: str) -> Choice:
    values = np.asarray(error.values, dtype=np.float64)
    traces: list[Trace] = []
    for at, level in enumerate(error["quantile"].values.tolist()):
        words = _level_words(float(level))
        texts = [
            hover(name, (f"{words} within", f"{percent(value)} of the forward"))
            for name, value in zip(names, values[:, at], strict=True)
        ]
        colour = QUANTILE_COLOURS[at % len(QUANTILE_COLOURS)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": words,
                "x": list(range(len(names))),
                # An axis of logarithms has no place for an error of nothing.
                "y": plain(np.where(values[:, at] > 0.0, 100.0 * values[:, at], np.nan)),
                "line": {"color": colour, "width": 1.5},
                "marker": {"color": colour, "size": 7},
                "customdata": texts,
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    ticks = [10.0**power for power in range(-6, 3)]
    layout: Layout = {
        "xaxis": {
            "title": {"text": axis},
            "tickmode": "array",
            "tickvals": list(range(len(names))),
            "ticktext": [safe(name) for name in names],
            "showgrid": False,
        },
        "yaxis": {
            "type": "log",
            "title": {"text": "Error, % of the forward, logarithmic"},
            "tickvals": ticks,
            "ticktext": [percent(tick / 100.0) for tick in ticks],
        },
    }
    return Choice(label, traces, layout)


def _level_words(level: float) -> str:
    if level == 0.5:
        return "Half of the quotes"
    return "All quotes" if level == 1.0 else f"{percent(level)} of the quotes"


def surface_table(view: RunView) -> Table | Sentence:
    """Return the fit of the surface by expiry as a table."""
    title = "The volatility surface by expiry"
    quality = view.mark_error
    row = None if quality is None else _row_dimension(quality)
    if quality is None or row is None:
        return Sentence(title, "This run fitted no volatility surface.")
    columns = [name for name in COLUMNS if name in quality.variables]
    columns = [name for name in columns if quality[name].dims == (row,)]
    cells = [_column(name, quality[name].values) for name in columns]
    return Table(
        title=title,
        caption=(
            "Volatility error: root mean square difference between the fitted and the quoted "
            "implied volatility, in points of volatility (1 point is 0.01 of a year's volatility). "
            "Butterfly and calendar say whether the fitted surface is free of prices that would "
            "let a trader earn without risk, across strikes and across expiries."
            f"{_findings(quality)}"
        ),
        columns=[COLUMNS[name] for name in columns],
        rows=list(zip(*cells, strict=True)),
        text_columns=[at for at, name in enumerate(columns) if COLUMNS[name] in WORDS],
        wide=True,
    )


def _findings(quality: xr.Dataset) -> str:
    found = [str(finding) for finding in quality.attrs.get("findings", [])]
    return f" Findings: {'; '.join(found)}." if found else ""


def _row_dimension(quality: xr.Dataset) -> str | None:
    for name in ("rmse_volatility", "quotes", "forward"):
        if name in quality.variables and quality[name].ndim == 1:
            return str(quality[name].dims[0])
    return None


def _error(quality: xr.Dataset, dimension: str) -> xr.DataArray | None:
    """Return the quantiles of the error of prices, ``(dimension, quantile)``."""
    for variable in quality.data_vars.values():
        if set(variable.dims) == {dimension, "quantile"} and "quantile" in quality.coords:
            return variable.transpose(dimension, "quantile")
    return None


def _texts(values: xr.DataArray) -> list[str]:
    return [str(value) for value in values.values.tolist()]


def _expiry_names(quality: xr.Dataset, row: str) -> list[str]:
    if "expiry" not in quality.variables:
        return [str(value) for value in quality[row].values]
    days = _column("expiry", quality["expiry"].values)
    if "underlying" not in quality.variables or quality["underlying"].dims != (row,):
        return days
    coins = [str(coin) for coin in quality["underlying"].values]
    if len(set(coins)) < 2:
        return days
    return [f"{coin} {date}" for coin, date in zip(coins, days, strict=True)]


def _column(name: str, values: NDArray[np.generic]) -> list[str]:
    if name in ("butterfly_free", "calendar_free"):
        return ["free" if value else "violated" for value in values.tolist()]
    if name == "rmse_volatility":
        return [f"{100.0 * value:.2f}" if np.isfinite(value) else "–" for value in values.tolist()]
    if np.issubdtype(values.dtype, np.datetime64):
        return [day(value) for value in values]
    if np.issubdtype(values.dtype, np.floating) and name == "forward":
        return [f"{value:,.2f}" if np.isfinite(value) else "–" for value in values.tolist()]
    if np.issubdtype(values.dtype, np.number):
        return [exact(float(value)) for value in values.tolist()]
    return [str(value) for value in values]
