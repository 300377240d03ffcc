// The state of the page in the address after the #, so that a link shows what its sender saw. What it says is
// checked against this report: what does not fit is passed over.
(() => {
  "use strict";

  const MOST_LISTED = 300; // selected candidates; a longer list is no address any more
  const MOST_PINNED = 4;

  function write(model, view) {
    const parts = new URLSearchParams();
    const put = (name, value, usual) => value !== usual && parts.set(name, value);
    const bounds = model.bounds.filter((bound) => bound.at !== null);
    put("bounds", bounds.map((bound) => `${bound.key}${Number.isFinite(bound.at) ? bound.at : "any"}`).join(","), "");
    if (model.weights !== model.equalWeights) put("weights", model.weights.map((w) => Number(w.toPrecision(8))).join(","));
    for (const name of ["x", "y", "colour"]) put(name, view[name], view.usual[name]);
    for (const name of ["logX", "logY"]) if (view[name] !== null) put(name, view[name] ? "1" : "0");
    put("hide", [...view.hidden].join(","), "");
    put("axes", view.axes.map(encodeURIComponent).join(","), view.usual.axes.map(encodeURIComponent).join(","));
    put("pins", view.pins.map((i) => model.data.ids[i]).join(","), "");
    if (view.selected.size <= MOST_LISTED) put("selected", [...view.selected].map((i) => model.data.ids[i]).join(","), "");
    for (const name of ["tab", "filter", "sort", "page"]) put(name, String(view[name]), String(view.usual[name]));
    return parts.toString();
  }

  function list(parts, name) {
    return (parts.get(name) || "").split(",").filter(Boolean);
  }

  function places(model, parts, name) {
    const found = list(parts, name).map((id) => (/^\d{1,9}$/.test(id) ? model.placeOf.get(Number(id)) : undefined));
    return [...new Set(found.filter((i) => i !== undefined))];
  }

  function readBounds(model, parts) {
    for (const bound of model.bounds) bound.at = null;
    for (const part of list(parts, "bounds")) {
      const bound = model.bounds
        .filter((each) => part.startsWith(each.key))
        .sort((one, two) => two.key.length - one.key.length)[0];
      if (!bound) continue;
      const text = part.slice(bound.key.length);
      if (text === "any") bound.at = bound.sense === "<=" ? Infinity : -Infinity;
      else if (text !== "" && Number.isFinite(Number(text))) bound.at = Number(text);
    }
  }

  function readWeights(model, parts) {
    model.weights = model.equalWeights;
    const given = list(parts, "weights").map(Number);
    const sum = given.reduce((a, b) => a + b, 0);
    const fits = given.length === model.objectives.length && given.every((w) => Number.isFinite(w) && w >= 0);
    if (fits && sum > 0 && Number.isFinite(sum)) model.weights = given.map((w) => w / sum);
  }

  function read(text, model, view) {
    const parts = new URLSearchParams(text.replace(/^#/, ""));
    readBounds(model, parts);
    readWeights(model, parts);
    for (const name of ["x", "y", "colour"]) {
      const key = parts.get(name);
      const column = model.columns.get(key);
      const fits = (column && column.isKnown && !column.values) || (name === "colour" && key === "none");
      view[name] = fits ? key : view.usual[name];
    }
    for (const name of ["logX", "logY"]) view[name] = { 0: false, 1: true }[parts.get(name)] ?? null;
    view.hidden = new Set(list(parts, "hide").filter((name) => view.switches.includes(name)));
    const axes = list(parts, "axes").map(decoded).filter((key) => model.columns.has(key));
    view.axes = axes.length > 1 ? [...new Set(axes)] : view.usual.axes;
    view.pins = places(model, parts, "pins").slice(0, MOST_PINNED);
    view.selected = new Set(places(model, parts, "selected"));
    view.tab = view.tabs.includes(parts.get("tab")) ? parts.get("tab") : view.usual.tab;
    view.filter = (parts.get("filter") || "").slice(0, 200);
    view.sort = parts.get("sort") || "";
    view.page = /^\d{1,6}$/.test(parts.get("page") || "") ? Number(parts.get("page")) : 0;
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return "";
    }
  }

  moo.address = { MOST_PINNED, read, write };
})();
