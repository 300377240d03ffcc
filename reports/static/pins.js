// The pinned candidates side by side, and what the reader takes along: the selection as CSV or JSON.
(() => {
  "use strict";

  const { format } = moo;
  const { make } = moo.dom;

  // A row of the comparison: one text a candidate; where they differ it is marked, and the best one of an objective.
  function comparison(model, pins, title, column, sign) {
    const texts = pins.map((i) => column.show(i));
    const differs = new Set(texts).size > 1;
    const known = pins.map((i) => (sign ? column.value[i] : null)).map((x) => (x === null ? Infinity : sign * x));
    const least = Math.min(...known);
    const cells = texts.map((text, k) => {
      const isBest = sign && differs && known[k] === least && Number.isFinite(least);
      const interval = column.kind === "metric" ? format.ends(column, pins[k]) : "";
      return make("td", { class: isBest ? "number best" : "number" }, text, isBest ? make("span", { class: "tick", title: "best of these" }, " \u2713") : null, interval ? make("small", {}, interval) : null);
    });
    const mark = make("span", { class: "mark", title: differs ? "they differ" : "" }, differs ? "\u2260" : "");
    return make("tr", { class: differs ? "differs" : null }, make("th", { scope: "row" }, mark, title), ...cells);
  }

  function paint(model, view, place, events) {
    place.hidden = view.pins.length === 0;
    if (place.hidden) return;
    const { pins } = view;
    const columns = [...model.columns.values()].filter((column) => column.key !== "#" && pins.some((i) => format.isKnown(column.value[i])));
    const signs = new Map(model.objectives.map(({ metric, sign }) => [metric.name, sign]));
    const sign = (column) => (column.kind !== "metric" ? 0 : signs.get(column.name) || { minimize: 1, maximize: -1 }[column.direction] || 0);
    const heads = pins.map((i) => make("th", { scope: "col" }, model.name(i), make("small", {}, i === model.decision.best ? "recommended" : moo.looks[moo.groups[i]]), make("button", { type: "button", class: "quiet", "aria-label": `Unpin ${model.name(i)}`, click: () => events.pin(i) }, "unpin")));
    const part = (name, kind) => {
      const rows = columns.filter((column) => column.kind === kind);
      if (!rows.length) return null;
      const head = make("tr", { class: "part" }, make("th", { scope: "rowgroup", colspan: pins.length + 1 }, name));
      return make("tbody", {}, head, ...rows.map((column) => comparison(model, pins, column.title, column, sign(column))));
    };
    const tags = { title: "tags", kind: "tags", show: (i) => format.oneLine(model.tags(i)) || format.DASH, value: [] };
    const grid = make(
      "table",
      { class: "compare" },
      make("caption", {}, pins.length < 2 ? "Pin up to three more to compare them" : "Side by side: \u2260 marks what differs, \u2713 the best; 95% intervals below"),
      make("thead", {}, make("tr", {}, make("td"), ...heads)),
      part("Metrics", "metric"), part("Configuration", "param"),
      make("tbody", {}, comparison(model, pins, "tags", tags, 0)),
    );
    place.replaceChildren(make("h3", {}, "Pinned"), make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Pinned candidates side by side" }, grid));
  }

  // Rows of a CSV file in SI units: as candidates.csv has them, and what the reader's settings make of them.
  function csvOf(model, members) {
    const { data } = model;
    const params = [...model.columns.values()].filter((column) => column.kind === "param");
    const head = ["trial", "label", "group", ...data.metrics.flatMap(({ name }) => [name, `${name}_low`, `${name}_high`]), ...params.map((column) => `param_${column.name}`), "tags"];
    const rows = members.map((i) => [
      data.ids[i], data.labels[i], moo.groups[i],
      ...data.metrics.flatMap((metric) => [metric.value[i], ...ends(metric, i)]),
      ...params.map((column) => column.cell(i)), model.tags(i) || null,
    ]);
    return format.csv([head, ...rows]);
  }

  const ends = (metric, i) => (metric.low ? [metric.low[i], metric.high[i]] : metric.isExact ? [metric.value[i], metric.value[i]] : [null, null]);

  function jsonOf(model, members) {
    const { data } = model;
    const bounds = model.bounds.map((bound) => ({ metric: bound.metric.name, sense: bound.sense, bound: finite(bound.at ?? bound.set) })).filter((each) => each.bound !== null);
    const weights = Object.fromEntries(model.objectives.map(({ metric }, k) => [metric.name, model.weights[k]]));
    const candidates = members.map((i) => ({
      id: data.ids[i], label: data.labels[i], group: moo.groups[i],
      params: Object.fromEntries([...model.columns.values()].filter((column) => column.kind === "param" && format.isKnown(column.cell(i))).map((column) => [column.name, column.cell(i)])),
      metrics: Object.fromEntries(data.metrics.map((metric) => [metric.name, { value: metric.value[i], low: ends(metric, i)[0], high: ends(metric, i)[1] }])),
      tags: model.tags(i) ? model.tags(i).split(" ") : [],
    }));
    const best = model.decision.best;
    return `${JSON.stringify({ schema: "moo.selection/1", study: data.study, bounds, weights, recommended: best === null ? null : data.ids[best], candidates }, null, 1)}\n`;
  }

  const finite = (x) => (x !== null && Number.isFinite(x) ? x : null);

  moo.pins = { paint, csvOf, jsonOf };
})();
