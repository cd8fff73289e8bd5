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

  const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

  // Makes the axes readable on a phone: fewer or upright words below, shorter ones beside.
  const squeeze = ({ xaxis, yaxis }, traces) => {
    const below = xaxis.ticktext || [];
    if (below.some((text) => text.includes("<br>"))) {
      xaxis.tickangle = -90;
      xaxis.ticktext = below.map((text) => cut(text.replaceAll("<br>", " "), 22));
    } else if (below.length > 7 && below.join("").length > 30) {
      xaxis.ticktext = below.map((text, n) => (n % 2 ? "" : text));
    }
    // An escaped name must not be cut inside a character reference.
    const beside = (text) => (text.includes("&") || text.length <= 18
      ? text : `${text.slice(0, 10)}…${text.slice(-7)}`);
    if (yaxis.ticktext) yaxis.ticktext = yaxis.ticktext.map(beside);
    if (traces.some((trace) => trace.mode === "text")) {
      xaxis.range = [xaxis.range[0], xaxis.range[1] * 1.35];
    }
  };

  const layoutOf = (choice, colour, narrow) => {
    const layout = dressed(choice.layout, colour);
    const axis = {
      automargin: true, gridcolor: colour("--grid"), zerolinecolor: colour("--line"),
      linecolor: colour("--line"), tickcolor: colour("--line"), zeroline: false,
      separatethousands: true,
    };
    for (const name of ["xaxis", "yaxis"]) layout[name] = { ...axis, ...layout[name] };
    for (const name of ["xaxis", "yaxis"]) {
      if (layout[name].title) {
        layout[name].title = {
          standoff: 10, ...layout[name].title, font: { size: 12, color: colour("--soft") },
        };
      }
    }
    if (narrow) squeeze(layout, choice.traces);
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

  // Where there is no room, words at the end of a bar give the amount alone and scales go.
  const tracesOf = (choice, colour, narrow) => dressed(choice.traces, colour).map((trace) => {
    if (!narrow) return trace;
    if (trace.mode === "text") {
      return { ...trace, text: trace.text.map((words) => words.split(" · ")[0]) };
    }
    return trace.colorbar ? { ...trace, showscale: false } : trace;
  });

  const draw = (name) => {
    const place = document.getElementById(`picture-${name}`);
    const choice = pictures[name][chosen[name] || 0];
    const colour = colours();
    const narrow = place.clientWidth < NARROW && innerWidth < 860;
    const layout = layoutOf(choice, colour, narrow);
    return Plotly.react(place, tracesOf(choice, colour, narrow), layout, {
      responsive: true, displayModeBar: false,
    });
  };

  for (const name of Object.keys(pictures)) {
    const place = document.getElementById(`picture-${name}`);
    const buttons = [...place.closest(".block").querySelectorAll(".switch button")];
    buttons.forEach((button, n) => button.addEventListener("click", () => {
      chosen[name] = n;
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      draw(name);
    }));
  }
  // Says where a table goes on beyond its box; after the frame, for the words change its height.
  const watch = new ResizeObserver((seen) => requestAnimationFrame(() => seen.forEach(
    ({ target }) => target.classList.toggle("more", target.scrollWidth > target.clientWidth + 1),
  )));
  document.querySelectorAll(".scroll").forEach((box) => watch.observe(box));
  const drawAll = () => Promise.all(Object.keys(pictures).map(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  matchMedia("(max-width: 860px)").addEventListener("change", drawAll);
  drawAll().then(() => { document.body.dataset.drawn = String(Object.keys(pictures).length); });
})();
