// Hands the figures of the page to plotly, in the colours of the reader's theme.
(() => {
  "use strict";

  const THEMES = {
    light: { ink: "#1c2128", grid: "#e4e7eb", surface: "#ffffff", edge: "#24292f",
             pruned: "#9aa1a9", infeasible: "#9aa1a9", undecided: "#737a83", dominated: "#a3a9b1", bar: "#6e7781" },
    dark: { ink: "#e6e9ed", grid: "#343a43", surface: "#1d2128", edge: "#e6e9ed",
            pruned: "#6d747d", infeasible: "#767d87", undecided: "#a0a9b4", dominated: "#6a727c", bar: "#a0a9b4" },
  };
  const CONFIG = {
    displaylogo: false, responsive: true, showSendToCloud: false, plotlyServerURL: "",
    modeBarButtonsToRemove: ["sendDataToCloud", "lasso2d", "select2d", "zoomIn2d", "zoomOut2d"],
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 44rem)");
  const figures = JSON.parse(document.getElementById("figures").textContent);

  function traces(figure, theme) {
    return figure.data.map((trace) => {
      const marker = { ...trace.marker };
      if (theme[trace.meta]) marker.color = theme[trace.meta];
      if (trace.meta === "front" || trace.meta === "baseline") marker.line = { width: 1, color: theme.edge };
      if (trace.meta === "dominated") marker.line = { width: 0 };
      if (marker.colorbar && narrow.matches) marker.colorbar = lyingBar(marker.colorbar);
      const themed = { ...trace, marker };
      for (const name of ["error_x", "error_y"]) {
        if (trace[name]) themed[name] = { ...trace[name], color: theme.bar };
      }
      return themed;
    });
  }

  // beside the chart there is no room for the colour scale on a phone: it lies above
  function lyingBar(bar) {
    return { ...bar, orientation: "h", y: 1.02, yanchor: "bottom", x: 0.5, title: { ...bar.title, side: "top" } };
  }

  function axis(given, theme) {
    return {
      ...given, gridcolor: theme.grid, linecolor: theme.grid, zeroline: false, ticks: "outside", tickcolor: theme.grid,
      automargin: true, title: { ...given.title, standoff: 10 },
    };
  }

  function layout(figure, theme) {
    const given = figure.layout;
    return {
      ...given,
      xaxis: axis(given.xaxis, theme),
      yaxis: axis(given.yaxis, theme),
      shapes: (given.shapes || []).map((shape) => ({ ...shape, line: { ...shape.line, color: theme.bar } })),
      font: { color: theme.ink, size: 12.5, family: getComputedStyle(document.body).fontFamily },
      paper_bgcolor: theme.surface,
      plot_bgcolor: theme.surface,
      margin: { l: 10, r: 10, t: 30, b: 10 },
      hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: theme.surface, bordercolor: theme.bar, font: { color: theme.ink } },
      showlegend: figure.data.some((trace) => trace.showlegend !== false),
      legend: { orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0, yanchor: "bottom" },
    };
  }

  function draw(theme) {
    for (const [name, figure] of Object.entries(figures)) {
      const place = document.getElementById(`${name}-chart`);
      if (figure && place) Plotly.react(place, traces(figure, theme), layout(figure, theme), CONFIG);
    }
  }

  const drawForReader = () => draw(dark.matches ? THEMES.dark : THEMES.light);
  drawForReader();
  for (const media of [dark, narrow]) media.addEventListener("change", drawForReader);
  addEventListener("beforeprint", () => draw(THEMES.light));
  addEventListener("afterprint", drawForReader);
})();
