// The chart of the front: any two columns against each other, a third as colour.
(() => {
  "use strict";

  const { format } = moo;
  const MOST_DRAWN = 800; // elements off the front, on paper; on a screen these are a cloud
  const MOST_RINGS = 60; // around selected ones
  const VIEW_SHARE = 0.4; // how far beyond front and baseline the first view goes, as a share of their range
  const ORDER = ["pruned", "infeasible", "ruledOut", "undecided", "incomplete", "dominated"];

  // Plotly reads a small HTML of its own in texts, links included, and mathematics between dollars.
  const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", $: "&#36;" };
  const escaped = (text) => format.oneLine(text).replace(/[&<>$]/g, (each) => ENTITIES[each]);
  const cut = (text, most = 60) => (text.length <= most ? text : `${text.slice(0, most - 1)}\u2026`);

  function axisTitle(column) {
    const better = { minimize: "lower is better", maximize: "higher is better" }[column.direction];
    const notes = [column.unit.trim(), better].filter(Boolean).join(", ");
    return escaped(cut(notes ? `${cut(column.title)} (${notes})` : column.title, 80));
  }

  // A column as an axis shows it: values and ends in its unit; null where the scale has no place for them.
  function scaleOf(column, isLog) {
    const place = (x) => (x === null || x === undefined || typeof x !== "number" || (isLog && x <= 0) ? null : x / column.factor);
    const known = column.value.map(place).filter((x) => x !== null);
    return {
      column, isLog, extent: known.length ? extent(known) : null,
      at: (i) => place(column.value[i]),
      low: (i) => (column.low ? place(column.low[i]) : null),
      high: (i) => (column.high ? place(column.high[i]) : null),
      along: Float64Array.from(column.value, (x) => (place(x) === null ? NaN : isLog ? Math.log10(place(x)) : place(x))),
    };
  }

  function widened([low, high], isLog, share) {
    if (isLog) return widened([Math.log10(low), Math.log10(high)], false, share).map((x) => 10 ** x);
    const width = high - low || 0.1 * Math.abs(high) || 1;
    return [low - share * width, high + share * width];
  }

  const extent = (numbers) => numbers.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);

  // The first view: all of the key points, of the others as far as these leave detail.
  function viewOf(scale, keys) {
    const values = scale.extent;
    if (!values) return null;
    const ends = keys.flatMap((i) => [scale.at(i), scale.low(i), scale.high(i)]).filter((x) => x !== null);
    let view = values;
    if (ends.length && scale.column.key !== "#") {
      const key = extent(ends), limits = widened(key, scale.isLog, VIEW_SHARE);
      view = [Math.min(key[0], Math.max(limits[0], values[0])), Math.max(key[1], Math.min(limits[1], values[1]))];
    }
    return widened(view, scale.isLog, 0.05);
  }

  function axisLayout(scale, view) {
    const shape = { title: { text: axisTitle(scale.column) } };
    if (scale.isLog) {
      Object.assign(shape, { type: "log", tickformat: "~g" });
      if (view) shape.dtick = view[1] / view[0] < (moo.theme.isNarrow() ? 300 : 5000) ? "D2" : 1;
    }
    if (view) shape.range = scale.isLog ? view.map(Math.log10) : view;
    if (scale.column.isCount) shape.tickformat = "~s";
    return shape;
  }

  function logTicks(low, high) {
    const ticks = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
      for (const factor of high / low < 300 ? [1, 2, 5] : [1]) {
        const tick = factor * 10 ** e;
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    }
    return ticks;
  }

  function suffixed(x) {
    const [factor, suffix] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([least]) => x >= least) || [1, ""];
    return `${Number((x / factor).toPrecision(4))}${suffix}`;
  }

  // Colours on a scale; of a logarithmic one plotly gets the exponents, and labelled ticks.
  function colouring(model, column, members) {
    const shades = members.map((i) => (typeof column.value[i] === "number" ? column.value[i] / column.factor : null));
    const known = shades.filter((x) => x !== null);
    const [low, high] = extent(known);
    const isLog = column.isLog && low > 0 && high > 10 * low;
    const bar = { title: { text: axisTitle(column), side: "right" }, thickness: 10, outlinewidth: 0, len: 0.9 };
    if (moo.theme.isNarrow()) Object.assign(bar, { orientation: "h", y: 1.02, yanchor: "bottom", x: 0.5, title: { ...bar.title, side: "top" } });
    if (isLog) {
      const ticks = logTicks(low, high);
      Object.assign(bar, { tickvals: ticks.map(Math.log10), ticktext: ticks.map(suffixed) });
    } else if (column.isCount) bar.tickformat = "~s";
    return {
      color: shades.map((x) => (x === null || !isLog ? x : Math.log10(x))), colorscale: model.data.colours.scale, showscale: known.length > 0, colorbar: bar,
    };
  }

  function intervals(scale, members) {
    const { bar } = moo.theme.theme();
    const gap = (end, i) => (end(i) === null ? 0 : Math.abs(end(i) - scale.at(i)));
    return {
      type: "data", symmetric: false, width: 0, thickness: 1.2, color: bar,
      array: members.map((i) => gap(scale.high, i)), arrayminus: members.map((i) => gap(scale.low, i)),
    };
  }

  // The border of what the front attains: between neighbours, the worse of both values.
  function border(x, y, members) {
    const places = members.map((i) => [x.at(i), y.at(i)]);
    const sign = x.column.direction === "maximize" ? -1 : 1, up = y.column.direction === "maximize" ? -1 : 1;
    places.sort((one, two) => sign * (one[0] - two[0]) || up * (one[1] - two[1]));
    const best = [];
    for (const place of places) if (!best.length || up * (place[1] - best[best.length - 1][1]) < 0) best.push(place);
    return best.flatMap((place, k) => (k ? [[place[0], best[k - 1][1]], place] : [place]));
  }

  function boundLines(model, x, y) {
    const shapes = [], annotations = [];
    for (const bound of model.bounds) {
      const at = bound.at ?? bound.set;
      if (at === null || !Number.isFinite(at)) continue;
      for (const [name, scale, other] of [["x", x, "y"], ["y", y, "x"]]) {
        if (scale.column.key !== bound.metric.name || (scale.isLog && at <= 0)) continue;
        const place = at / bound.metric.factor;
        const line = { type: "line", line: { width: 1.2, dash: "dash" }, [`${other}ref`]: "paper", [`${other}0`]: 0, [`${other}1`]: 1 };
        shapes.push({ ...line, [`${name}0`]: place, [`${name}1`]: place });
        annotations.push({
          text: escaped(cut(`${bound.metric.title} ${bound.sense === "<=" ? "\u2264" : "\u2265"} ${format.boundText(bound)}`)), showarrow: false, font: { size: 11 },
          [name]: scale.isLog ? Math.log10(place) : place, [`${other}ref`]: "paper", [other]: 1,
          ...(name === "x" ? { yanchor: "bottom" } : { xanchor: "right", yanchor: "bottom" }),
        });
      }
    }
    return { shapes, annotations };
  }

  const isOn = (x, y) => (i) => x.at(i) !== null && y.at(i) !== null;

  // The candidates off the front that are shown, by group, in the order in which they are drawn.
  function others(model, view, groups, x, y) {
    const isPlaced = isOn(x, y), { baseline } = model.data;
    const members = Object.fromEntries(ORDER.map((group) => [group, []]));
    for (const i of model.all) if (members[groups[i]] && i !== baseline && isPlaced(i)) members[groups[i]].push(i);
    return ORDER.filter((group) => !view.hidden.has(group)).map((group) => ({ group, members: members[group] }));
  }

  // `marks` are those of `others` that are elements too: none on a screen, where the cloud has them.
  function traces(model, view, marks, x, y) {
    const theme = moo.theme.theme(), { looks } = model.data;
    const isPlaced = isOn(x, y);
    const trace = (name, members, marker, more = {}) => ({
      type: "scatter", mode: "markers", name, uid: name, customdata: members, x: members.map(x.at), y: members.map(y.at), hoverinfo: "none", marker, ...more,
    });
    const baseline = model.data.baseline;
    const found = marks.map(({ group, members }) => trace(group, members, { symbol: looks[group].symbol, size: looks[group].size, color: theme[group], line: { width: group === "dominated" ? 0 : 1.5, color: theme[group] } }));
    const front = model.decision.front.filter(isPlaced);
    const isJudged = model.objectives.length === 2;
    const areObjectives = [x, y].every((scale) => model.objectives.some(({ metric }) => metric.name === scale.column.key));
    if (areObjectives && front.length > 1 && x.column !== y.column) {
      const corners = border(x, y, front);
      found.push({ type: "scatter", mode: "lines", uid: "line", x: corners.map((c) => c[0]), y: corners.map((c) => c[1]), hoverinfo: "skip", line: { color: theme.accent, width: 1.5, dash: isJudged ? "solid" : "dot" }, opacity: 0.55 });
    }
    const colour = model.columns.get(view.colour);
    const marker = { symbol: looks.front.symbol, size: looks.front.size, line: { width: 1, color: theme.edge }, color: theme.accent };
    if (colour && front.length) Object.assign(marker, colouring(model, colour, front));
    const bars = (members) => (view.hidden.has("intervals") ? {} : { error_x: intervals(x, members), error_y: intervals(y, members) });
    found.push(trace("front", front, marker, front.length <= 400 ? bars(front) : {}));
    if (baseline !== null && isPlaced(baseline) && !view.hidden.has("baseline")) {
      found.push(trace("baseline", [baseline], { symbol: looks.baseline.symbol, size: looks.baseline.size, color: looks.baseline.colour, line: { width: 1, color: theme.edge } }, bars([baseline])));
    }
    const ring = (name, members, size, color, width, symbol = "circle-open") => {
      const placed = members.filter(isPlaced);
      if (placed.length) found.push({ ...trace(name, placed, { symbol, size, color, line: { width, color } }), hoverinfo: "skip" });
    };
    const selected = [...view.selected]; // many rings would hide what they mark: then off the front the marks are dark
    ring("selected", selected.length > MOST_RINGS ? front.filter((i) => view.selected.has(i)) : selected, 14, theme.ink, 1.5);
    ring("pinned", view.pins, 18, theme.ink, 2, "square-open");
    if (model.decision.best !== null) ring("chosen", [model.decision.best], 20, theme.chosen, 3);
    return found;
  }

  function scatter(model, view, place, events) {
    const chart = place.querySelector(".plot"), cloud = moo.cloud.cloud(model, place);
    const scales = new Map();
    let keys = new Set(), keysOf = "", wasNarrow = null, whole = null, pressed = null, isAdding = false, nDrawn = 0;

    function scale(name) {
      const column = model.columns.get(view[name]);
      const isLog = (view[name === "x" ? "logX" : "logY"] ?? column.isLog) && canBeLog(column);
      const key = `${column.key}|${isLog}`;
      if (!scales.has(key)) scales.set(key, scaleOf(column, isLog));
      return scales.get(key);
    }

    function draw(groups) {
      const [x, y] = [scale("x"), scale("y")];
      const axes = [view.x, view.y, x.isLog, y.isLog].join();
      if (axes !== keysOf) [keys, keysOf] = [new Set(model.asSet.front), axes];
      for (const i of [...model.decision.front, ...view.pins, model.data.baseline]) if (i !== null) keys.add(i);
      const framing = keys.size > 2 ? [...keys] : model.all;
      const lines = boundLines(model, x, y);
      const layout = moo.theme.layout({
        xaxis: axisLayout(x, viewOf(x, framing)), yaxis: axisLayout(y, viewOf(y, framing)),
        ...lines, ...moo.theme.size(chart), showlegend: false, uirevision: axes, dragmode: "zoom",
        selections: [], selectionrevision: ++nDrawn, // what is selected is told by its marks, also when it was elsewhere
      });
      if (wasNarrow !== null && wasNarrow !== moo.theme.isNarrow()) {
        Plotly.purge(chart); // a colour bar that turns leaves its old half behind, and the room it took
        delete chart.dataset.listening;
      }
      wasNarrow = moo.theme.isNarrow();
      const marks = others(model, view, groups, x, y);
      whole = () => ({ data: traces(model, view, thinned(marks), x, y), layout });
      const isPrinting = moo.theme.isPrinting();
      const seen = isPrinting ? whole() : { data: traces(model, view, [], x, y), layout: { ...layout, ...moo.theme.CLEAR } };
      Plotly.react(chart, seen.data, seen.layout, CONFIG);
      const front = model.decision.front.filter(isOn(x, y)), { baseline } = model.data;
      if (baseline !== null && !front.includes(baseline) && !view.hidden.has("baseline") && isOn(x, y)(baseline)) front.push(baseline);
      const dark = view.selected.size > MOST_RINGS ? view.selected : new Set();
      cloud.draw(chart, { marks: isPrinting ? [] : marks, front, dark, x: x.along, y: y.along });
      if (!chart.dataset.listening) listen();
    }

    function thinned(marks) {
      const drawn = new Set(moo.model.spread(model.all, MOST_DRAWN));
      return marks.map(({ group, members }) => ({ group, members: members.filter((i) => drawn.has(i)) }));
    }

    // The picture that a reader saves has the candidates off the front as elements: it is drawn anew, as far as is seen.
    function picture() {
      const { data, layout } = whole();
      const seen = (name) => ({ ...layout[name], range: [...chart.layout[name].range] });
      return { data, layout: { ...layout, xaxis: seen("xaxis"), yaxis: seen("yaxis") }, config: moo.theme.CONFIG };
    }

    const save = {
      name: "toImage", title: "Save the chart as a PNG", icon: Plotly.Icons.camera,
      click: () => Plotly.downloadImage(picture(), { format: "png", filename: "front", width: chart.clientWidth, height: chart.clientHeight, scale: 2 }),
    };
    const CONFIG = { ...moo.theme.CONFIG, modeBarButtonsToRemove: [...moo.theme.CONFIG.modeBarButtonsToRemove, "toImage"], modeBarButtonsToAdd: [save] };

    function listen() {
      chart.dataset.listening = "yes";
      for (const name of ["plotly_afterplot", "plotly_relayouting"]) chart.on(name, () => cloud.draw(chart));
      chart.on("plotly_selected", (event) => {
        const corners = event && cornersOf(event);
        if (corners) events.select([...(isAdding ? view.selected : []), ...cloud.within(corners)]);
      });
    }

    // The line around what was selected, along the axes.
    function cornersOf({ range, lassoPoints }) {
      const [x, y] = [scale("x"), scale("y")];
      const along = ({ isLog }, at) => (isLog ? Math.log10(at) : at);
      if (lassoPoints) return lassoPoints.x.map((at, k) => [along(x, at), along(y, lassoPoints.y[k])]);
      if (!range) return null;
      const [[left, right], [low, high]] = [range.x.map((at) => along(x, at)), range.y.map((at) => along(y, at))];
      return [[left, low], [right, low], [right, high], [left, high]];
    }

    chart.addEventListener("pointermove", (event) => event.buttons || events.hover(cloud.at(event.clientX, event.clientY)));
    chart.addEventListener("pointerleave", () => events.hover(null));
    chart.addEventListener("pointerdown", (event) => {
      pressed = [event.clientX, event.clientY];
      isAdding = event.shiftKey;
    }, true);
    addEventListener("pointerup", (event) => { // on the window: plotly covers all while a button is down
      const isClick = pressed && event.button === 0 && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 4;
      const i = isClick ? cloud.at(event.clientX, event.clientY) : null;
      pressed = null;
      if (i !== null) events.pin(i);
    }, true);

    return { draw, whereIs: cloud.whereIs, marks: cloud.members };
  }

  const canBeLog = (column) => column.value.every((x) => x === null || (typeof x === "number" && x > 0)) && column.key !== "#";

  moo.scatter = { scatter, canBeLog, escaped };
})();
