// The table of the candidates: sorted, filtered, a page of rows at a time.
(() => {
  "use strict";

  const { format } = moo;
  const { make } = moo.dom;
  const ROWS = 50;

  // Compares cells of a column: numbers before texts, what is not known last, whichever way it is sorted.
  function compare(one, two, up) {
    const [isOne, isTwo] = [format.isKnown(one), format.isKnown(two)];
    if (!isOne || !isTwo) return isTwo - isOne;
    const [isFirst, isSecond] = [typeof one === "number", typeof two === "number"];
    if (isFirst !== isSecond) return isFirst ? -1 : 1;
    const order = isFirst ? one - two : String(one).localeCompare(String(two), "en", { numeric: true });
    return up ? order : -order;
  }

  function table(model, view, room, events) {
    const { columns } = model;
    const shown = [...columns.values()].filter((column) => column.key !== "#" && column.isKnown);
    const hasTags = model.all.some((i) => model.tags(i) !== "");
    const texts = new Map();
    const made = new Map(); // by candidate: its row, and of which state it is
    let groups = [], rows = [], current = null, sortOf = null;

    const search = make("input", { type: "search", id: "filter", placeholder: "name, setting or tag", "aria-label": "Filter the table by text", input: () => set({ filter: search.value, page: 0 }) });
    const tabs = make("span", { class: "tabs", role: "group", "aria-label": "Which candidates" });
    const count = make("span", { class: "quiet", role: "status" });
    const [before, next] = [make("button", { type: "button", click: () => turn(-1) }, "Previous"), make("button", { type: "button", click: () => turn(1) }, "Next")];
    const head = make("thead"), body = make("tbody");
    const grid = make("table", { class: "candidates" }, make("caption", { class: "hidden" }, "Candidates, with 95% intervals"), head, body);
    room.replaceChildren(
      make("div", { class: "bar" }, tabs, search, count, make("span", { class: "pager" }, before, next)),
      make("div", { class: "scroll", role: "region", "aria-label": "Table of candidates", tabindex: 0 }, grid),
    );

    function set(changes) {
      Object.assign(view, changes);
      events.table();
    }

    function turn(by) {
      current = null;
      set({ page: Math.max(0, view.page + by) });
    }

    const names = { front: "On the front", feasible: "Feasible", all: "All" };
    for (const tab of view.tabs) {
      tabs.append(make("button", { type: "button", "data-tab": tab, click: () => set({ tab, page: 0 }) }, names[tab] || "Selected"));
    }

    function textOf(i) {
      if (!texts.has(i)) {
        const params = shown.filter((column) => column.kind === "param").map((column) => `${column.title}=${column.show(i)}`);
        texts.set(i, [model.name(i), `trial ${model.data.ids[i]}`, ...params, format.oneLine(model.tags(i))].join(" \u0000 ").toLowerCase());
      }
      return texts.get(i);
    }

    function filtered() {
      const inTab = {
        front: () => model.decision.front,
        feasible: () => model.all.filter((i) => ["front", "dominated", "incomplete"].includes(groups[i])),
        all: () => model.all,
        selected: () => [...view.selected],
      }[view.tab]();
      const words = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
      return words.length ? inTab.filter((i) => words.every((word) => textOf(i).includes(word))) : [...inTab];
    }

    function sorted(members) {
      const [way, key] = [view.sort.slice(0, 1), view.sort.slice(1)];
      if (key === "name") return members.sort((one, two) => compare(model.name(one), model.name(two), way !== "-"));
      const column = columns.get(key);
      if (!column) return members;
      const cell = column.cell || ((i) => column.value[i]);
      return members.sort((one, two) => compare(cell(one), cell(two), way !== "-") || one - two);
    }

    function heading(key, title, unit = "") {
      const isSorted = view.sort.slice(1) === key;
      const isUp = view.sort.startsWith("+");
      const button = make("button", { type: "button", click: () => set({ sort: `${isSorted && isUp ? "-" : "+"}${key}`, page: 0 }) }, title, make("span", { class: "arrow", "aria-hidden": "true" }, isSorted ? (isUp ? "\u25b2" : "\u25bc") : ""));
      return make("th", { scope: "col", "aria-sort": isSorted ? (isUp ? "ascending" : "descending") : null, title: unit || null }, button);
    }

    function refreshHead() {
      const boxes = make("th", { scope: "col", class: "boxes" }, make("span", { class: "hidden" }, "select and pin"));
      head.replaceChildren(make("tr", {}, boxes, heading("name", "candidate"), ...shown.map((column) => heading(column.key, column.title)), hasTags ? make("th", { scope: "col" }, "tags") : null));
    }

    // A candidate's row: the one that is there, unless something about it changed.
    function row(i) {
      const isPinned = view.pins.includes(i), isSelected = view.selected.has(i), isBest = i === model.decision.best;
      const state = [isPinned, isSelected, isBest, groups[i]].join();
      const before = made.get(i);
      if (before?.state === state) return before.element;
      const element = newRow(i, isPinned, isSelected, isBest);
      made.set(i, { state, element });
      return element;
    }

    function newRow(i, isPinned, isSelected, isBest) {
      const name = model.name(i);
      const box = make("input", { type: "checkbox", "aria-label": `Select ${name}`, tabindex: -1, checked: isSelected, change: () => events.toggle(i) });
      const pin = make("button", { type: "button", class: "pin", "aria-pressed": String(isPinned), "aria-label": `Pin ${name}`, title: "Pin, to compare side by side", tabindex: -1, click: () => events.pin(i) }, isPinned ? "pinned" : "pin");
      const roles = [isBest && "recommended", i === model.data.baseline && "baseline", groups[i] === "front" ? null : moo.looks[groups[i]]].filter(Boolean);
      const cells = shown.map((column) => {
        const isNumber = column.kind === "metric" || !column.values;
        const interval = column.kind === "metric" ? format.ends(column, i) : "";
        return make("td", { class: isNumber ? "number" : null }, column.show(i), interval ? make("small", {}, interval) : null);
      });
      return make(
        "tr",
        { "data-place": i, tabindex: -1, class: [isBest && "marked", isPinned && "pinned", isSelected && "selected"].filter(Boolean).join(" ") || null },
        make("td", { class: "boxes" }, box, pin),
        make("td", { class: "name" }, name, make("small", {}, roles.join(", "))),
        ...cells,
        hasTags ? make("td", { class: "tags" }, format.oneLine(model.tags(i)) || format.DASH) : null,
      );
    }

    // Puts rows in their order, and leaves alone those that stand so: a table laid out anew takes long.
    function place(elements) {
      const wanted = new Set(elements);
      for (const element of [...body.children]) if (!wanted.has(element)) element.remove();
      let next = body.firstElementChild;
      for (const element of elements) {
        if (element === next) next = next.nextElementSibling;
        else body.insertBefore(element, next);
      }
    }

    function draw(newGroups) {
      if (newGroups) groups = newGroups;
      rows = sorted(filtered());
      const last = Math.max(0, Math.ceil(rows.length / ROWS) - 1);
      view.page = Math.min(view.page, last);
      const page = rows.slice(view.page * ROWS, (view.page + 1) * ROWS);
      const hasFocus = body.contains(document.activeElement) && document.activeElement.tagName === "TR";
      if (!page.includes(current)) current = page[0] ?? null;
      if (search !== document.activeElement) search.value = view.filter;
      for (const button of tabs.children) {
        button.setAttribute("aria-pressed", String(button.dataset.tab === view.tab));
        if (button.dataset.tab === "selected") button.textContent = `Selected (${view.selected.size.toLocaleString("en")})`;
      }
      count.textContent = rows.length > ROWS ? `${view.page * ROWS + 1}\u2013${view.page * ROWS + page.length} of ${format.count(rows.length, "candidate")}` : format.count(rows.length, "candidate");
      before.disabled = view.page === 0;
      next.disabled = view.page >= last;
      before.parentElement.hidden = last === 0;
      if (sortOf !== view.sort) refreshHead();
      sortOf = view.sort;
      const elements = page.map(row);
      for (const element of elements) element.tabIndex = Number(element.dataset.place) === current ? 0 : -1;
      place(elements);
      for (const i of made.keys()) if (!page.includes(i)) made.delete(i);
      if (hasFocus) focus(current);
    }

    function focus(i) {
      const element = body.querySelector(`[data-place="${Number(i)}"]`);
      if (!element) return;
      body.querySelector("tr[tabindex='0']")?.setAttribute("tabindex", -1);
      element.setAttribute("tabindex", 0);
      current = i;
      element.focus();
    }

    const rowOf = (event) => {
      const element = event.target.closest("tr[data-place]");
      return element ? Number(element.dataset.place) : null;
    };
    body.addEventListener("pointerover", (event) => events.hover(rowOf(event)));
    body.addEventListener("pointerleave", () => events.hover(null));
    body.addEventListener("focusin", (event) => events.hover(rowOf(event)));
    body.addEventListener("click", (event) => {
      if (event.target.closest("input, button")) return;
      const i = rowOf(event);
      if (i !== null) focus(i);
    });
    body.addEventListener("keydown", (event) => {
      if (event.target.tagName !== "TR") return;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const places = [...body.children].map((element) => Number(element.dataset.place));
      const i = rowOf(event);
      if (step) focus(places[places.indexOf(i) + step]);
      else if (event.key === "Enter") events.pin(i);
      else if (event.key === " ") events.toggle(i);
      else return;
      event.preventDefault();
    });

    function hover(i) {
      for (const element of body.querySelectorAll("tr.hovered")) element.classList.remove("hovered");
      if (i !== null) body.querySelector(`[data-place="${i}"]`)?.classList.add("hovered");
    }

    return { draw, hover, rows: () => rows };
  }

  moo.table = { table, compare };
})();
