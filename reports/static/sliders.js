// Sliders with number fields: a bound for every constraint and objective, a weight for every objective.
(() => {
  "use strict";

  const { format, decide } = moo;
  const { make } = moo.dom;
  const STEPS = 200; // each at least one unit of the rounding, so that an arrow key always moves
  const REST = 5; // the last steps at the loose end, where there is no bound

  // From a place on the slider, 0 to STEPS, to a bound and back; the loose end is no bound at all.
  function scaleOf(bound) {
    const known = bound.metric.value.filter((x) => x !== null);
    if (bound.set !== null) known.push(bound.set);
    const low = known.reduce((a, b) => Math.min(a, b), Infinity), high = known.reduce((a, b) => Math.max(a, b), -Infinity);
    const isLog = bound.metric.isLog && low > 0;
    const [to, from] = isLog ? [Math.log, Math.exp] : [Number, Number];
    const loose = bound.sense === "<=" ? STEPS : 0;
    // a round number; at the tight end not tighter than the tightest candidate
    const linearStep = 10 ** Math.floor(Math.log10((high - low) / bound.metric.factor / STEPS));
    const rounded = (x, place) => {
      const shown = x / bound.metric.factor;
      const step = isLog ? 10 ** (Math.floor(Math.log10(shown)) - 2) : linearStep;
      const tightly = bound.sense === "<=" ? Math.ceil : Math.floor;
      const whole = (place === STEPS - loose ? tightly : Math.round)(shown / step);
      return format.toUnit(Number((whole * step).toPrecision(6)), bound.metric);
    };
    const first = bound.sense === "<=" ? 0 : REST; // the place of the smallest value
    return {
      isFlat: !(high > low),
      at: (place) => {
        const share = (place - first) / (STEPS - REST);
        if (share < 0 || share > 1) return bound.sense === "<=" ? Infinity : -Infinity;
        return rounded(from(to(low) + share * (to(high) - to(low))), place);
      },
      place: (x) => {
        if (!Number.isFinite(x)) return loose;
        const share = isLog && x <= 0 ? 0 : (to(x) - to(low)) / (to(high) - to(low));
        return Math.round(first + (STEPS - REST) * Math.min(1, Math.max(0, share)));
      },
    };
  }

  // One row: name, what it says now, slider, field.
  function row(id, title, attributes, onSlide, onType, spoken = title) {
    const slider = make("input", { type: "range", id: `${id}-slider`, "aria-label": spoken, ...attributes.slider, input: () => onSlide(Number(slider.value)) });
    const field = make("input", { type: "number", id: `${id}-field`, step: "any", "aria-label": `${spoken}, as a number`, ...attributes.field, change: () => onType(field) });
    const note = make("span", { class: "quiet note" });
    const unit = make("span", { class: "unit" }, attributes.unit || "");
    const label = make("label", { for: slider.id, class: "title" }, title);
    const track = make("span", { class: "track" }, slider);
    const element = make("div", { class: "slider" }, make("span", { class: "head" }, label, make("span", { class: "entry" }, field, unit)), track, note);
    return { element, slider, field, note, track };
  }

  function boundRow(model, bound, index, changed) {
    const scale = scaleOf(bound);
    const { metric, sense } = bound;
    const title = `${metric.title} ${sense === "<=" ? "at most" : "at least"}`;
    const set = (at) => {
      bound.at = at === bound.set && bound.held !== null ? null : at;
      if (bound.set === null && !Number.isFinite(bound.at)) bound.at = null;
      changed();
    };
    const parts = row(
      `bound-${index}`, title,
      { slider: { min: 0, max: STEPS, step: 1, disabled: scale.isFlat }, field: { placeholder: "any" }, unit: metric.unit.trim() },
      (place) => set(scale.at(place)),
      (field) => {
        const typed = field.value === "" ? NaN : format.toUnit(Number(field.value), metric);
        set(Number.isFinite(typed) ? typed : sense === "<=" ? Infinity : -Infinity);
      },
    );
    return {
      ...parts,
      refresh: () => {
        const at = bound.at === null ? (bound.set ?? (sense === "<=" ? Infinity : -Infinity)) : bound.at;
        if (scale.at(Number(parts.slider.value)) !== at) parts.slider.value = scale.place(at);
        const text = Number.isFinite(at) ? `${format.boundNow(bound)}` : "";
        if (parts.field !== document.activeElement || !isSame(parts.field.value, text)) parts.field.value = text;
        parts.slider.setAttribute("aria-valuetext", Number.isFinite(at) ? format.boundText(bound) : "any");
        parts.element.classList.toggle("changed", bound.at !== null);
        parts.note.textContent = bound.at === null ? (bound.text === null ? "" : `as the ${model.what} has it`) : bound.set === null ? "" : `the ${model.what}: ${format.boundText({ ...bound, at: null })}`;
        parts.note.title = bound.text || "";
      },
    };
  }

  const isSame = (one, two) => one === two || (one !== "" && two !== "" && Number(one) === Number(two));

  function weightRow(model, k, changed) {
    const objective = model.objectives[k];
    const set = (share) => {
      model.weights = decide.moved(model.weights, k, Math.min(1, Math.max(0, share)));
      changed();
    };
    const parts = row(
      `weight-${k}`, objective.metric.title,
      { slider: { min: 0, max: 100, step: 1 }, field: { min: 0, max: 100, required: true }, unit: "%" },
      (place) => set(place / 100),
      (field) => (field.value !== "" && Number.isFinite(Number(field.value)) ? set(Number(field.value) / 100) : changed()),
      `weight of ${objective.metric.title}`,
    );
    const band = make("span", { class: "band", "aria-hidden": "true" });
    parts.track.prepend(band);
    return {
      ...parts,
      refresh: () => {
        const share = model.weights[k], range = model.decision.ranges[k];
        parts.slider.value = Math.round(share * 100);
        parts.field.value = String(Number((share * 100).toFixed(1)));
        parts.slider.setAttribute("aria-valuetext", format.percent(share));
        parts.element.classList.toggle("changed", model.weights !== model.equalWeights);
        band.hidden = !range;
        parts.note.textContent = range ? `same choice from ${inwards(range, share)}` : "";
        if (range) {
          band.style.setProperty("--low", range.low);
          band.style.setProperty("--high", range.high);
        }
      },
    };
  }

  // A range in whole percent, never wider than it is; with a digit more where that would leave out the share itself.
  function inwards({ low, high }, share) {
    const [least, most] = [Math.ceil(100 * low - 1e-9), Math.floor(100 * high + 1e-9)];
    const isKept = least <= 100 * share + 1e-9 && most >= 100 * share - 1e-9;
    const fine = (end) => `${Number((100 * end).toFixed(1))}%`;
    return isKept ? `${least}% to ${most}%` : `${fine(low)} to ${fine(high)}`;
  }

  // Fills both groups of sliders; returns a function that shows the state as it is.
  function sliders(model, places, changed) {
    const bounds = model.bounds.filter((bound) => bound.metric.value.some((x) => x !== null)).map((bound, index) => boundRow(model, bound, index, changed));
    places.bounds.append(...bounds.map((each) => each.element));
    const weights = model.objectives.length > 1 ? model.objectives.map((_, k) => weightRow(model, k, changed)) : [];
    places.weights.append(...weights.map((each) => each.element));
    return () => {
      for (const each of [...bounds, ...weights]) each.refresh();
    };
  }

  moo.sliders = sliders;
})();
