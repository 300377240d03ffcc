// Starts the page: reads its data, and keeps sliders, charts, table and address at one state.
(() => {
  "use strict";

  const { byId, make, option, onceAFrame, download } = moo.dom;
  const { format } = moo;
  const SWITCHES = ["front", "dominated", "infeasible", "undecided", "incomplete", "pruned", "ruledOut", "baseline", "intervals"];
  const QUIET_MS = 500; // until what changed is read out, so that a moving slider is not

  const read = (id) => JSON.parse(byId(id).textContent);

  moo.figures(read("figures"));
  const model = moo.model.build(read("data"));
  moo.looks = Object.fromEntries(Object.entries(model.data.looks).map(([group, look]) => [group, look.name]));
  if (model.n === 0) return;

  const view = startingView();
  let tell = 0, written = null;
  const events = { hover, pin, select, toggle, table: () => changed("table") };
  const places = { answer: byId("answer"), spoken: byId("spoken"), moved: byId("moved"), front: byId("front-chart"), pins: byId("pins"), switches: byId("switches") };

  moo.address.read(location.hash, model, view);
  const showSliders = moo.sliders(model, { bounds: byId("bounds"), weights: byId("weights") }, () => changed("decision"));
  const chart = moo.scatter.scatter(model, view, places.front, events);
  const lines = moo.parallel.parallel(model, view, byId("parallel-chart"), events);
  const table = moo.table.table(model, view, byId("candidates"), events);
  const showAxes = axisChoices();
  const showSwitches = switches();
  const showLines = lineChoices();
  const ring = make("span", { class: "ring", hidden: true, "aria-hidden": "true" });
  const tip = make("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  places.front.append(ring, tip);

  const due = new Set();
  const paint = onceAFrame(() => {
    const kinds = new Set(due);
    due.clear();
    const isAll = kinds.has("all");
    if (isAll || kinds.has("decision")) {
      model.decision = model.decide();
      moo.groups = moo.model.groups(model);
      showSliders();
      speak(moo.answer.paint(model, places.answer, byId("ends")));
      showMoved();
    }
    if (isAll || kinds.has("axes")) {
      showAxes();
      showLines();
    }
    if (isAll || kinds.has("axes") || kinds.has("decision")) showSwitches();
    if (!(kinds.size === 1 && kinds.has("table"))) {
      moo.pins.paint(model, view, places.pins, events);
      areChartsDue = true;
    }
    table.draw(moo.groups);
    showExport();
    keepAddress();
    drawCharts();
  });

  // In the frame after the answer and the table, which a reader waits for; these take most of the time.
  let areChartsDue = false;
  const drawCharts = onceAFrame(() => {
    if (areChartsDue) {
      chart.draw(moo.groups);
      lines.draw(moo.groups);
    }
    areChartsDue = false;
    dispatchEvent(new Event("moo:painted"));
  });

  function changed(kind) {
    due.add(kind);
    paint();
  }

  function startingView() {
    const { data, columns, objectives } = model;
    const known = (name) => name !== null && columns.get(name) && columns.get(name).isKnown;
    const problem = [...new Set([...objectives.map(({ metric }) => metric.name), ...model.bounds.map((bound) => bound.metric.name)])].filter(known);
    const more = [...columns.values()].filter((column) => column.kind !== "number" && moo.parallel.canBeAxis(column)).map((column) => column.key);
    const axes = [...new Set([...problem.slice(0, 8), ...more])].slice(0, Math.max(5, Math.min(8, problem.length)));
    if (axes.length < 2) axes.push("#");
    const x = known(data.axes.x) ? data.axes.x : "#";
    const usual = { x, y: known(data.axes.y) ? data.axes.y : "#", colour: known(data.axes.colour) ? data.axes.colour : "none", axes, tab: "front", filter: "", sort: "", page: 0 };
    return {
      ...usual, usual, logX: null, logY: null, hidden: new Set(), pins: [], selected: new Set(),
      tabs: ["front", "feasible", "all", "selected"], switches: SWITCHES,
    };
  }

  // what a person does

  function pin(i) {
    if (view.pins.includes(i)) view.pins = view.pins.filter((each) => each !== i);
    else view.pins = [...view.pins, i].slice(-moo.address.MOST_PINNED);
    speak(`${model.name(i)} ${view.pins.includes(i) ? "pinned" : "unpinned"}.`);
    changed("marks");
  }

  function select(members) {
    view.selected = new Set(members);
    changed("marks");
  }

  function toggle(i) {
    if (!view.selected.delete(i)) view.selected.add(i);
    changed("marks");
  }

  let hovered = null;
  function hover(i) {
    if (i === hovered) return;
    hovered = i;
    lines.hover(i);
    table.hover(i);
    const spot = i === null ? null : chart.whereIs(i);
    ring.hidden = tip.hidden = spot === null;
    if (spot === null) return;
    ring.style.left = `${spot.x}px`;
    ring.style.top = `${spot.y}px`;
    const wide = places.front.clientWidth;
    tip.replaceChildren(...tipLines(i));
    tip.style.left = spot.x < wide / 2 ? `${spot.x + 16}px` : "auto";
    tip.style.right = spot.x < wide / 2 ? "auto" : `${wide - spot.x + 16}px`;
    tip.style.top = `${Math.max(4, spot.y - 30)}px`;
  }

  function tipLines(i) {
    const columns = [...model.columns.values()];
    const used = new Set([...model.objectives.map(({ metric }) => metric.name), ...model.bounds.map((bound) => bound.metric.name), view.x, view.y]);
    const row = (column) => make("div", {}, make("span", {}, column.title), make("span", {}, `${column.show(i)} ${column.kind === "metric" ? format.ends(column, i) : ""}`));
    const params = columns.filter((column) => column.kind === "param" && format.isKnown(column.cell(i)));
    const more = params.length > 6 ? [make("div", { class: "quiet" }, `and ${params.length - 6} more settings`)] : [];
    return [make("strong", {}, model.name(i)), make("div", { class: "quiet" }, moo.looks[moo.groups[i]] + reason(i)), ...columns.filter((column) => used.has(column.key)).map(row), ...params.slice(0, 6).map(row), ...more];
  }

  function reason(i) {
    const p = model.pOnFront.get(i);
    return p === undefined ? "" : `, P(on the front) ${p.toFixed(2)}`;
  }

  // what is shown

  function speak(text) {
    clearTimeout(tell);
    tell = setTimeout(() => {
      places.spoken.textContent = text;
    }, QUIET_MS);
  }

  function showMoved() {
    const isMoved = model.isMoved();
    for (const button of document.querySelectorAll("[data-do=reset]")) button.hidden = !isMoved;
    places.moved.hidden = !isMoved;
    if (!isMoved) return;
    const { best } = model.decision;
    const now = best === null ? "no candidate" : model.name(best);
    places.moved.querySelector("span").textContent = `With your settings: ${now}. What stands here is for the ${model.what} as it was set.`;
  }

  function axisChoices() {
    const all = [...model.columns.values()].filter((column) => column.isKnown && !column.values);
    const selects = ["x", "y", "colour"].map((name) => {
      const select = byId(`axis-${name}`);
      if (name === "colour") select.append(option("none", "none", false));
      select.append(...all.map((column) => option(column.key, column.title, false)));
      select.addEventListener("change", () => {
        view[name] = select.value;
        if (name !== "colour") view[name === "x" ? "logX" : "logY"] = null;
        changed("axes");
      });
      return [name, select];
    });
    const logs = ["x", "y"].map((name) => {
      const box = byId(`log-${name}`);
      box.addEventListener("change", () => {
        view[name === "x" ? "logX" : "logY"] = box.checked;
        changed("axes");
      });
      return [name, box];
    });
    return () => {
      for (const [name, select] of selects) select.value = view[name];
      for (const [name, box] of logs) {
        const column = model.columns.get(view[name]);
        box.disabled = !moo.scatter.canBeLog(column);
        box.checked = !box.disabled && (view[name === "x" ? "logX" : "logY"] ?? column.isLog);
      }
    };
  }

  // The legend is the switches: a shape, a name, how many, on or off.
  function switches() {
    return () => {
      const counts = {};
      for (const group of moo.groups) counts[group] = (counts[group] || 0) + 1;
      if (model.data.baseline !== null) counts.baseline = 1;
      if (model.metrics.some((metric) => metric.low !== null)) counts.intervals = 1;
      const names = view.switches.filter((name) => counts[name]);
      const focused = document.activeElement?.dataset?.group;
      places.switches.replaceChildren(...names.map((name) => {
        const isFixed = name === "front";
        const box = make("input", { type: "checkbox", checked: !view.hidden.has(name), disabled: isFixed, "data-group": name, change: () => {
          if (!view.hidden.delete(name)) view.hidden.add(name);
          changed("axes");
        } });
        const text = { intervals: "intervals", baseline: "baseline" }[name] || `${moo.looks[name]} (${counts[name].toLocaleString("en")})`;
        return make("label", { class: `switch ${name}` }, box, make("span", { class: "shape", "aria-hidden": "true" }), text);
      }));
      if (model.decision.best !== null) places.switches.append(make("span", { class: "switch chosen" }, make("span", { class: "shape", "aria-hidden": "true" }), "recommended"));
      if (focused) places.switches.querySelector(`[data-group=${focused}]`)?.focus();
    };
  }

  function lineChoices() {
    const place = byId("line-choices");
    const boxes = [...model.columns.values()].filter((column) => column.kind !== "number" && moo.parallel.canBeAxis(column)).map((column) => {
      const box = make("input", { type: "checkbox", change: () => {
        const axes = box.checked ? [...view.axes, column.key] : view.axes.filter((key) => key !== column.key);
        if (axes.length >= 2) view.axes = axes;
        changed("axes");
      } });
      place.append(make("label", { class: "switch" }, box, column.title));
      return [column.key, box];
    });
    return () => {
      for (const [key, box] of boxes) box.checked = view.axes.includes(key);
    };
  }

  // what is taken along

  const taken = () => (view.selected.size ? [...view.selected] : table.rows());

  function showExport() {
    const n = taken().length;
    byId("export-what").textContent = view.selected.size ? `${format.count(n, "candidate")} selected` : `no selection: the ${format.count(n, "candidate")} of the table`;
    byId("clear").hidden = view.selected.size === 0;
  }

  byId("export-csv").addEventListener("click", () => download("selection.csv", "text/csv", moo.pins.csvOf(model, taken())));
  byId("export-json").addEventListener("click", () => download("selection.json", "application/json", moo.pins.jsonOf(model, taken())));
  byId("clear").addEventListener("click", () => select([]));
  for (const button of document.querySelectorAll("[data-do=reset]")) {
    button.addEventListener("click", () => {
      model.reset();
      changed("decision");
    });
  }

  for (const button of document.querySelectorAll("[data-do=bounds]")) {
    button.addEventListener("click", () => {
      byId("front").scrollIntoView();
      byId("bounds").querySelector("input[type=number]")?.focus({ preventScroll: true });
    });
  }

  // the address

  function keepAddress() {
    const text = moo.address.write(model, view);
    if (text === written) return;
    written = text;
    try {
      history.replaceState(null, "", `${location.href.split("#")[0]}${text ? `#${text}` : ""}`);
    } catch {
      // a browser that refuses it for a file, or so often: the page works all the same
    }
  }

  addEventListener("hashchange", () => {
    moo.address.read(location.hash, model, view);
    written = null;
    changed("all");
  });
  moo.theme.onChange(() => {
    if (!moo.theme.isPrinting()) {
      changed("axes");
      Plotly.Plots.resize(places.front.querySelector(".plot"));
      return;
    }
    chart.draw(moo.groups); // at once: before the paper there is no further frame
    lines.draw(moo.groups);
  });
  document.documentElement.classList.add("live");
  moo.page = { model, view, chart };
  changed("all");
})();
