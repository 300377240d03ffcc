// The other charts of the page, as the report made them, in the colours of the reader's theme.
(() => {
  "use strict";

  // Colours that depend on the theme: a trace says with `meta` which one it takes.
  function themed(trace) {
    const theme = moo.theme.theme();
    const color = theme[trace.meta];
    const found = { ...trace };
    if (color && trace.marker) found.marker = { ...trace.marker, color };
    if (color && trace.line) found.line = { ...trace.line, color };
    for (const name of ["error_x", "error_y"]) if (trace[name]) found[name] = { color: theme.bar, ...trace[name] };
    return found;
  }

  function draw(place, figure) {
    if (figure.layout.height) place.style.height = `${figure.layout.height}px`;
    if (place.matches(".panels") && !place.parentElement.matches(".sideways")) {
      const scroller = moo.dom.make("div", { class: "sideways" }); // on a phone small panels are looked at one by one
      place.replaceWith(scroller);
      scroller.append(place);
    }
    const layout = { ...figure.layout, showlegend: figure.layout.showlegend ?? figure.data.some((trace) => trace.showlegend !== false) };
    Plotly.react(place, figure.data.map(themed), moo.theme.layout({ ...layout, ...moo.theme.size(place) }), { ...moo.theme.CONFIG, displayModeBar: "hover" });
  }

  // Draws each chart when it comes near, all of them before printing; again when the theme changes.
  function figures(all) {
    const places = new Map();
    for (const [name, figure] of Object.entries(all)) {
      const place = document.getElementById(`${name}-chart`);
      if (figure && place) places.set(place, figure);
    }
    const seen = new Set();
    const watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting || seen.has(target)) continue;
        seen.add(target);
        draw(target, places.get(target));
      }
    }, { rootMargin: "600px" });
    for (const place of places.keys()) {
      watcher.observe(place);
      place.closest("details")?.addEventListener("toggle", () => seen.has(place) && Plotly.Plots.resize(place));
    }
    addEventListener("beforeprint", () => {
      for (const place of places.keys()) seen.add(place);
    });
    moo.theme.onChange(() => {
      for (const place of seen) {
        draw(place, places.get(place));
        if (!moo.theme.isPrinting()) Plotly.Plots.resize(place);
      }
    });
  }

  moo.figures = figures;
})();
