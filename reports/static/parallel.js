// Parallel coordinates: one line a candidate, one axis a column; where a direction is better, it is up.
(() => {
  "use strict";

  const { make } = moo.dom;
  const MOST_DRAWN = 800;
  const TOP = 46, BOTTOM = 26, NEAR = 7, LEAST_GAP = 92, SIDE = 56, STEP = 0.05; // of an axis, for a key
  const SVG = "http://www.w3.org/2000/svg";

  function svg(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // The axis of a column: from its values to a height between 0 (below) and 1 (above).
  function axisOf(model, column) {
    const known = column.value.filter((x, i) => typeof x === "number" && (!model.isPruned[i] || column.kind !== "metric"));
    let low = known.reduce((a, b) => Math.min(a, b), Infinity), high = known.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!known.length) [low, high] = [0, 1];
    const isLog = column.isLog && low > 0;
    const to = isLog ? Math.log10 : Number;
    const isDown = column.direction === "minimize";
    const height = (x) => {
      if (typeof x !== "number" || (isLog && x <= 0)) return null;
      const share = high > low ? (to(x) - to(low)) / (to(high) - to(low)) : 0.5;
      return isDown ? 1 - share : share;
    };
    const at = (share) => {
      const along = to(low) + (isDown ? 1 - share : share) * (to(high) - to(low));
      return column.values ? Math.round(along) : isLog ? 10 ** along : along;
    };
    return { column, height, at, ticks: ticksOf(column, low, high, isLog), isDown };
  }

  function ticksOf(column, low, high, isLog) {
    if (column.values) return column.values.length <= 8 ? column.values.map((_, code) => code) : [];
    if (!(high > low)) return [low];
    if (isLog && high / low > 30) {
      const inner = [];
      for (let e = Math.ceil(Math.log10(low)); 10 ** e <= high; e++) inner.push(10 ** e);
      const gap = Math.log10(high / low) / 10;
      return [low, ...inner.filter((x) => Math.log10(x / low) > gap && Math.log10(high / x) > gap), high];
    }
    return isLog ? [low, Math.sqrt(low * high), high] : [low, (low + high) / 2, high];
  }

  function parallel(model, view, place, events) {
    const area = make("div", { class: "lines" });
    const [grey, base, above] = [make("canvas"), make("canvas"), make("canvas", { class: "above" })];
    const frame = svg("svg", {});
    area.append(grey, base, above, frame);
    const scroller = make("div", { class: "sideways" }, area);
    place.replaceChildren(scroller);
    const handles = new Map(); // by column: what the keyboard holds an axis by
    const known = new Map(); // axes, by column
    let axes = [], groups = [], drawn = [], brush = null, held = null, hovered = null, greyOf = "", axesOf = "";
    const size = { width: 0, height: 0 };

    const others = moo.model.spread(model.all.filter((i) => !model.isPruned[i]), MOST_DRAWN);

    const xOf = (k) => SIDE + (axes.length > 1 ? (k * (size.width - 2 * SIDE)) / (axes.length - 1) : 0);
    const yOf = (height) => TOP + (1 - height) * (size.height - TOP - BOTTOM);

    function pathOf(i) {
      return axes.map((axis, k) => {
        const height = axis.height(axis.column.value[i]);
        return height === null ? null : [xOf(k), yOf(height)];
      });
    }

    function stroke(context, i, color, width, alpha, withMarks = false) {
      context.strokeStyle = context.fillStyle = color;
      context.lineWidth = width;
      context.globalAlpha = alpha;
      context.beginPath();
      let isDown = false;
      const path = pathOf(i);
      for (const point of path) {
        if (point === null) isDown = false;
        else if (isDown) context.lineTo(...point);
        else {
          context.moveTo(...point);
          isDown = true;
        }
      }
      context.stroke();
      if (withMarks) for (const point of path) if (point) context.fillRect(point[0] - 3, point[1] - 3, 6, 6);
    }

    // Draws as a canvas does, into the frame: what a canvas gets just before printing does not reach the paper.
    function penOnPaper() {
      const group = svg("g", { class: "paths", fill: "none" });
      let path = "";
      return {
        group,
        beginPath: () => { path = ""; },
        moveTo: (x, y) => { path += `M${x.toFixed(1)} ${y.toFixed(1)}`; },
        lineTo: (x, y) => { path += `L${x.toFixed(1)} ${y.toFixed(1)}`; },
        stroke() { group.append(svg("path", { d: path, stroke: this.strokeStyle, "stroke-width": this.lineWidth, "stroke-opacity": this.globalAlpha })); },
        fillRect(x, y, width, height) { group.append(svg("rect", { x, y, width, height, fill: this.fillStyle })); },
      };
    }

    function fit(canvas) {
      const ratio = Math.min(2, devicePixelRatio || 1);
      const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      canvas.style.width = `${size.width}px`;
      canvas.style.height = `${size.height}px`;
      const context = canvas.getContext("2d");
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, size.width, size.height);
      return context;
    }

    function draw(newGroups) {
      if (newGroups) groups = newGroups;
      axes = view.axes.map((key) => {
        if (!known.has(key)) known.set(key, axisOf(model, model.columns.get(key)));
        return known.get(key);
      });
      size.height = moo.theme.isNarrow() ? 320 : 360;
      size.width = Math.max(scroller.clientWidth, 2 * SIDE + (axes.length - 1) * LEAST_GAP);
      area.style.height = `${size.height}px`;
      area.style.width = `${size.width}px`;
      const theme = moo.theme.theme();
      const paper = moo.theme.isPrinting() ? penOnPaper() : null;
      const front = new Set(model.decision.front);
      const greys = others.filter((i) => !front.has(i) && !view.hidden.has(groups[i]));
      drawGreys(paper, greys, theme);
      const context = paper || fit(base);
      const some = moo.model.spread(model.decision.front, MOST_DRAWN);
      for (const i of some) stroke(context, i, theme.accent, 1.3, some.length > 100 ? 0.4 : 0.75);
      const marked = [...view.selected].slice(0, MOST_DRAWN);
      for (const i of marked) stroke(context, i, theme.ink, 1.2, marked.length > 60 ? 0.35 : 0.7);
      for (const i of view.pins) stroke(context, i, theme.ink, 2.2, 1, true);
      if (model.decision.best !== null) stroke(context, model.decision.best, theme.chosen, 3, 1, true);
      drawn = [...new Set([...greys, ...some, ...marked, ...view.pins, ...(model.decision.best === null ? [] : [model.decision.best])])];
      const axesNow = JSON.stringify([size, theme.ink, axes.map((axis) => axis.column.key), held]);
      if (axesNow !== axesOf || paper) drawAxes(theme);
      axesOf = paper ? "" : axesNow;
      if (paper) frame.prepend(paper.group);
      placeHandles();
      hover(hovered);
    }

    // The lines off the front, in one grey whatever group they are of: a bound that moves leaves them as they are.
    function drawGreys(paper, greys, theme) {
      const shown = view.hidden.size ? greys : others; // under a line of the front its own grey is not seen
      const key = [size.width, size.height, theme.dominated, shown === others ? "" : shown.join(), ...axes.map((axis) => axis.column.key)].join();
      if (!paper && key === greyOf) return;
      greyOf = key;
      const canvas = fit(grey);
      for (const i of paper ? greys : shown) stroke(paper || canvas, i, theme.dominated, 1, shown.length > 300 ? 0.2 : 0.4);
    }

    function drawAxes(theme) {
      frame.replaceChildren();
      frame.setAttribute("width", size.width);
      frame.setAttribute("height", size.height);
      axes.forEach((axis, k) => {
        const x = xOf(k);
        frame.append(svg("line", { x1: x, x2: x, y1: yOf(1), y2: yOf(0), stroke: theme.quiet, "stroke-width": 1 }));
        const anchor = k === 0 ? "start" : k === axes.length - 1 ? "end" : "middle";
        const at = k === 0 ? x - SIDE + 6 : k === axes.length - 1 ? x + SIDE - 6 : x;
        const name = axis.column.title, most = Math.max(12, Math.floor(((size.width - 2 * SIDE) / Math.max(1, axes.length - 1)) / 7.6));
        const title = svg("text", { x: at, y: 16, "text-anchor": anchor, fill: theme.ink, class: "name" }, name.length > most ? `${name.slice(0, most - 1)}\u2026` : name);
        title.append(svg("title", {}, name));
        frame.append(title);
        if (axis.column.direction) frame.append(svg("text", { x: at, y: 32, "text-anchor": anchor, fill: theme.quiet }, axis.isDown ? "\u25b2 lower" : "\u25b2 higher"));
        const isLast = k === axes.length - 1;
        for (const tick of axis.ticks) {
          const y = yOf(axis.height(tick));
          frame.append(svg("line", { x1: x - 3, x2: x + 3, y1: y, y2: y, stroke: theme.quiet }));
          const text = axis.column.tell(tick);
          frame.append(svg("text", { x: isLast ? x - 7 : x + 7, y: y + 4, "text-anchor": isLast ? "end" : "start", fill: theme.quiet, stroke: theme.surface, class: "tick" }, text.length > 14 ? `${text.slice(0, 13)}\u2026` : text));
        }
        const range = brush || (held && { key: held.key, from: yOf(held.high), to: yOf(held.low) });
        if (range && range.key === axis.column.key) {
          const [top, bottom] = [Math.min(range.from, range.to), Math.max(range.from, range.to)];
          frame.append(svg("rect", { x: x - 7, y: top, width: 14, height: Math.max(2, bottom - top), fill: theme.accent, "fill-opacity": 0.25, stroke: theme.accent }));
        }
      });
    }

    // The candidates that are shown, with a place on an axis between two heights of the page.
    const between = (axis, top, bottom) => model.all.filter((i) => {
      const height = axis.height(axis.column.value[i]);
      return !model.isPruned[i] && height !== null && !view.hidden.has(groups[i]) && yOf(height) >= top - 1e-6 && yOf(height) <= bottom + 1e-6;
    });

    // By keyboard: the arrow keys move the lower end of a range along the axis in focus, with Shift the upper end.
    function onKey(event, key) {
      const step = { ArrowUp: STEP, ArrowDown: -STEP }[event.key];
      const axis = axes.find((each) => each.column.key === key);
      if (!axis || (!step && event.key !== "Escape")) return;
      event.preventDefault();
      if (!step) {
        held = null;
        events.select([]);
        return;
      }
      const { low, high } = held && held.key === key ? held : { low: 0, high: 1 };
      const within = (x, least, most) => Number(Math.min(most, Math.max(least, x)).toFixed(6));
      held = event.shiftKey ? { key, low, high: within(high + step, low, 1) } : { key, low: within(low + step, 0, high), high };
      events.select(between(axis, yOf(held.high), yOf(held.low)));
    }

    function placeHandles() {
      for (const [key, handle] of handles) if (!axes.some((axis) => axis.column.key === key)) {
        handle.remove();
        handles.delete(key);
      }
      axes.forEach((axis, k) => {
        const { key } = axis.column;
        if (!handles.has(key)) handles.set(key, make("div", {
          class: "handle", role: "slider", tabindex: 0, "aria-orientation": "vertical", "aria-valuemin": 0, "aria-valuemax": 100,
          "aria-label": `Range of ${axis.column.title}; arrow keys move its lower end, with Shift the upper, Escape clears`,
          keydown: (event) => onKey(event, key),
          blur: () => {
            held = null;
            drawAxes(moo.theme.theme());
          },
        }));
        const handle = handles.get(key), { low, high } = held && held.key === key ? held : { low: 0, high: 1 };
        const ends = [low, high].map((share) => axis.column.tell(axis.at(share)));
        handle.setAttribute("aria-valuenow", Math.round(100 * low));
        handle.setAttribute("aria-valuetext", `from ${ends[0]} to ${ends[1]}`);
        Object.assign(handle.style, { left: `${xOf(k) - 10}px`, top: `${TOP}px`, height: `${size.height - TOP - BOTTOM}px` });
      });
      const inTurn = axes.map((axis) => handles.get(axis.column.key));
      if (inTurn.some((handle, k) => area.querySelectorAll(".handle")[k] !== handle)) area.append(...inTurn);
    }

    function hover(i) {
      hovered = i;
      const context = fit(above);
      if (i !== null) stroke(context, i, moo.theme.theme().ink, 3, 1, true);
    }

    // The candidate whose line passes nearest to a place, or null.
    function nearest(x, y) {
      if (axes.length < 2) return null;
      const gap = xOf(1) - xOf(0), k = Math.min(axes.length - 2, Math.max(0, Math.floor((x - SIDE) / gap)));
      const share = (x - xOf(k)) / gap;
      if (share < -0.1 || share > 1.1) return null;
      let found = null, least = NEAR;
      for (const i of drawn) {
        const [one, two] = [axes[k], axes[k + 1]].map((axis) => axis.height(axis.column.value[i]));
        if (one === null || two === null) continue;
        const away = Math.abs(yOf(one + share * (two - one)) - y);
        if (away <= least) [found, least] = [i, away];
      }
      return found;
    }

    const spot = (event) => {
      const box = area.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };

    area.addEventListener("pointerdown", (event) => {
      const [x, y] = spot(event);
      const k = axes.findIndex((_, index) => Math.abs(xOf(index) - x) <= 9);
      if (k < 0 || event.pointerType === "touch") return;
      held = null;
      brush = { key: axes[k].column.key, k, from: y, to: y };
      area.setPointerCapture(event.pointerId);
    });
    area.addEventListener("pointermove", (event) => {
      const [x, y] = spot(event);
      if (brush && event.buttons) {
        brush.to = y;
        drawAxes(moo.theme.theme());
      } else events.hover(nearest(x, y));
    });
    area.addEventListener("pointerup", (event) => {
      const [x, y] = spot(event);
      const wasDragged = brush && Math.abs(brush.to - brush.from) > 4;
      if (wasDragged) {
        const axis = axes[brush.k];
        const [top, bottom] = [Math.min(brush.from, brush.to), Math.max(brush.from, brush.to)];
        events.select(between(axis, top, bottom));
      } else {
        const found = nearest(x, y);
        if (found !== null) events.pin(found);
      }
      brush = null;
      drawAxes(moo.theme.theme());
    });
    area.addEventListener("pointerleave", () => brush === null && events.hover(null));
    new ResizeObserver(moo.dom.onceAFrame(() => scroller.clientWidth && draw(null))).observe(scroller);

    return { draw, hover, whereIs: (i) => pathOf(i).find((point) => point !== null) || null };
  }

  // Numbers, settings and texts: an axis of texts has one place each, so not too many of them.
  const canBeAxis = (column) => column.isKnown && (!column.values || column.values.length <= 30);

  moo.parallel = { parallel, canBeAxis };
})();
