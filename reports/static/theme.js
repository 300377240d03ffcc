// Colours of the reader's theme for what is drawn, and the parts of a plotly layout that all charts share.
(() => {
  "use strict";

  const THEMES = {
    light: { ink: "#1c2128", grid: "rgba(28,33,40,0.09)", surface: "#ffffff", edge: "#24292f", accent: "#0072b2", chosen: "#d55e00", quiet: "#57606a",
             pruned: "#9aa1a9", infeasible: "#9aa1a9", undecided: "#737a83", incomplete: "#737a83", ruledOut: "#737a83", dominated: "#a3a9b1", bar: "#6e7781" },
    dark: { ink: "#e6e9ed", grid: "rgba(230,233,237,0.09)", surface: "#1d2128", edge: "#e6e9ed", accent: "#56b4e9", chosen: "#f0894a", quiet: "#a0a9b4",
            pruned: "#6d747d", infeasible: "#767d87", undecided: "#a0a9b4", incomplete: "#a0a9b4", ruledOut: "#a0a9b4", dominated: "#6a727c", bar: "#a0a9b4" },
  };
  const CONFIG = {
    displaylogo: false, responsive: true, showSendToCloud: false, plotlyServerURL: "", displayModeBar: true,
    modeBarButtonsToRemove: ["sendDataToCloud", "zoomIn2d", "zoomOut2d", "autoScale2d"],
  };
  const CLEAR = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: false }; // of what has a canvas behind it
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 44rem)");
  let isPrinting = false;

  const theme = () => (dark.matches && !isPrinting ? THEMES.dark : THEMES.light);

  function axis(given) {
    const { grid } = theme();
    return {
      ...given, gridcolor: grid, linecolor: grid, zeroline: false, ticks: "outside", tickcolor: grid, automargin: true,
      title: { ...given.title, standoff: 10 },
    };
  }

  function layout(given) {
    const { ink, surface, bar } = theme();
    const axes = Object.keys(given).filter((name) => /^[xy]axis\d*$/.test(name));
    return {
      ...given,
      ...Object.fromEntries(axes.map((name) => [name, axis(given[name])])),
      shapes: (given.shapes || []).map((shape) => ({ ...shape, line: { color: bar, ...shape.line } })),
      font: { color: ink, size: 12.5, family: getComputedStyle(document.body).fontFamily },
      paper_bgcolor: surface, plot_bgcolor: surface,
      margin: { l: 10, r: 10, t: 30, b: 10, ...given.margin },
      hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: surface, bordercolor: bar, font: { color: ink } },
      legend: { orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0, yanchor: "bottom", ...given.legend },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: bar, activecolor: ink },
    };
  }

  // The size of a chart on paper, where it must be there at once; on a screen it follows its place.
  function size(place) {
    return isPrinting ? { width: place.clientWidth, height: place.clientHeight } : { autosize: true };
  }

  // Calls back whenever colours or room change; around printing in light colours, with the width of the paper.
  function onChange(call) {
    for (const media of [dark, narrow]) media.addEventListener("change", call);
    for (const [name, value] of [["beforeprint", true], ["afterprint", false]]) {
      addEventListener(name, () => {
        isPrinting = value;
        document.documentElement.classList.toggle("paper", value);
        call();
      });
    }
  }

  moo.theme = { CONFIG, CLEAR, theme, layout, size, onChange, isNarrow: () => narrow.matches && !isPrinting, isPrinting: () => isPrinting };
})();
