"""How well the market is known: the fit of the volatility surface by expiry."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from flows.report.format import day, exact, percent
from flows.report.picture import Choice, Layout, Picture, Sentence, Table, Trace, hover, plain, safe
from flows.report.view import RunView

COLUMNS = {
    "underlying": "Underlying",
    "expiry": "Expiry",
    "forward": "Forward, USD",
    "quotes": "Quotes",
    "rmse_volatility": "Volatility error",
    "butterfly_free": "Butterfly",
    "calendar_free": "Calendar",
}
WORDS = ("Underlying", "Expiry", "Butterfly", "Calendar")
QUANTILE_COLOURS = ("--layer-1", "--layer-2", "--alarm", "--layer-4")


def surface_error(view: RunView) -> Picture | Sentence:
    """Return how far prices from the surface are from the venue's marks, by expiry."""
    title = "Prices from the surface against the venue's marks"
    quality = view.mark_error
    if quality is None or (error := _error(quality)) is None:
        return Sentence(title, "This run did not report how well its surface reprices the marks.")
    rows, quantile = (str(dim) for dim in error.dims)
    names = _expiry_names(quality, rows)
    values = np.asarray(error.values, dtype=np.float64)
    scaled = 100.0 * values
    traces: list[Trace] = []
    for at, level in enumerate(_levels(error, quantile)):
        texts = [
            hover(name, (f"{level} of quotes are within", f"{percent(value)} of the forward"))
            for name, value in zip(names, values[:, at], strict=True)
        ]
        colour = QUANTILE_COLOURS[at % len(QUANTILE_COLOURS)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"{level} of quotes",
                "x": list(range(len(names))),
                "y": plain(scaled[:, at]),
                "line": {"color": colour, "width": 1.5},
                "marker": {"color": colour, "size": 7},
                "customdata": texts,
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    positive = scaled[np.isfinite(scaled) & (scaled > 0.0)]
    ticks = [10.0**power for power in range(-6, 3)]
    layout: Layout = {
        "xaxis": {
            "tickmode": "array",
            "tickvals": list(range(len(names))),
            "ticktext": [safe(name) for name in names],
            "showgrid": False,
        },
        "yaxis": {
            "type": "log" if positive.size else "linear",
            "title": {"text": "Error, % of the forward"},
            "tickvals": ticks,
            "ticktext": [percent(tick / 100.0) for tick in ticks],
        },
    }
    return Picture(
        name="surface",
        title=title,
        caption=(
            "Size of the difference between the option price of our volatility surface and the "
            "mark that the venue published, as a fraction of the forward, by expiry. Each line is "
            "the error that the named part of the quotes does not exceed; lower is better and the "
            "axis is logarithmic. An error of 0.1 % of the forward is the most that the median "
            "should show."
        ),
        choices=(Choice("Error", traces, layout),),
        wide=True,
    )


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
        ),
        columns=[COLUMNS[name] for name in columns],
        rows=list(zip(*cells, strict=True)),
        text_columns=[at for at, name in enumerate(columns) if COLUMNS[name] in WORDS],
        wide=True,
    )


def _row_dimension(quality: xr.Dataset) -> str | None:
    for name in ("rmse_volatility", "quotes", "forward"):
        if name in quality.variables and quality[name].ndim == 1:
            return str(quality[name].dims[0])
    return None


def _error(quality: xr.Dataset) -> xr.DataArray | None:
    """Return the quantiles of the error of prices, ``(expiry, quantile)``, under any name."""
    row = _row_dimension(quality)
    for variable in quality.data_vars.values():
        dims = [str(dim) for dim in variable.dims]
        if row in dims and len(dims) == 2 and any("quantile" in dim for dim in dims):
            return variable.transpose(row, ...)
    return None


def _levels(error: xr.DataArray, quantile: str) -> list[str]:
    if quantile not in error.coords:
        return [f"{at + 1}" for at in range(error.sizes[quantile])]
    levels = error[quantile].values
    try:
        return ["Half" if float(x) == 0.5 else percent(float(x)) for x in levels]
    except ValueError:
        return [str(level) for level in levels]


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
