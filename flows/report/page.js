"use strict";
// Draws every picture of the page from the data in it, in the colours of page.css.
(() => {
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const chosen = {};
  const NARROW = 600;

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(name).trim();
  };

  // A string such as "--ink" names a colour of the style sheet; a list of colours is a scale.
  const dressed = (value, colour) => {
    if (typeof value === "string" && value.startsWith("--")) {
      const found = colour(value);
      // Commas inside rgba() belong to one colour.
      const parts = found.split(/,\s*(?![^(]*\))/);
      return parts.length === 1 ? found : parts.map((part, n) => [n / (parts.length - 1), part]);
    }
    if (Array.isArray(value)) return value.map((part) => dressed(part, colour));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, dressed(v, colour)]));
    }
    return value;
  };

  const layoutOf = (choice, colour, narrow) => {
    const layout = dressed(choice.layout, colour);
    const axis = {
      automargin: true, gridcolor: colour("--grid"), zerolinecolor: colour("--line"),
      linecolor: colour("--line"), tickcolor: colour("--line"), zeroline: false,
    };
    for (const name of ["xaxis", "yaxis"]) layout[name] = { ...axis, ...layout[name] };
    for (const name of ["xaxis", "yaxis"]) {
      if (layout[name].title) {
        layout[name].title = {
          standoff: 10, ...layout[name].title, font: { size: 12, color: colour("--soft") },
        };
      }
    }
    layout.annotations = (layout.annotations || [])
      .filter((note) => !narrow || note.name !== "roomy")
      .map((note) => ({ arrowcolor: colour("--soft"), ...note }));
    return {
      font: {
        family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12,
        color: colour("--ink"),
      },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 8, r: narrow ? 8 : 16, t: choice.layout.showlegend === false ? 10 : 34, b: 36 },
      legend: {
        orientation: "h", x: 0, xanchor: "left", y: 1, yanchor: "bottom", traceorder: "normal",
        itemclick: "toggle", itemdoubleclick: "toggleothers",
      },
      hoverlabel: {
        align: "left", bgcolor: colour("--card"), bordercolor: colour("--line"),
        font: { color: colour("--ink"), size: 13 },
      },
      bargap: 0.28, hovermode: "closest",
      // On a touch screen a drag must scroll the page.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      ...layout,
    };
  };

  const draw = (name) => {
    const place = document.getElementById(`picture-${name}`);
    const choice = pictures[name][chosen[name] || 0];
    const colour = colours();
    const narrow = place.clientWidth < NARROW && innerWidth < 860;
    return Plotly.react(place, dressed(choice.traces, colour), layoutOf(choice, colour, narrow), {
      responsive: true, displayModeBar: false,
    });
  };

  for (const name of Object.keys(pictures)) {
    const place = document.getElementById(`picture-${name}`);
    const buttons = [...place.parentElement.querySelectorAll(".switch button")];
    buttons.forEach((button, n) => button.addEventListener("click", () => {
      chosen[name] = n;
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      draw(name);
    }));
  }
  const drawAll = () => Promise.all(Object.keys(pictures).map(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  matchMedia("(max-width: 860px)").addEventListener("change", drawAll);
  drawAll().then(() => { document.body.dataset.drawn = String(Object.keys(pictures).length); });
})();
