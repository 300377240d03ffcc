// The recommendation in short, for the bounds and weights as they are: which candidate, what it has, what else.
(() => {
  "use strict";

  const { format, decide } = moo;
  const { make } = moo.dom;

  // What is gained and paid by going from one candidate to another: "31% less latency, for 0.4 points less accuracy".
  function trade(model, from, to) {
    const texts = { better: [], worse: [], same: [] };
    for (const { metric, sign } of model.objectives) {
      const [before, after] = [metric.value[from], metric.value[to]];
      const text = format.change(before, after, metric);
      const kind = text.startsWith("the same") ? "same" : (after - before) * sign < 0 ? "better" : "worse";
      texts[kind].push(text);
    }
    const [gained, paid] = [texts.better.join(" and "), texts.worse.join(" and ")];
    const whole = gained && paid ? `${gained}, for ${paid}` : gained || paid;
    return [whole, texts.same.join(", ")].filter(Boolean).join("; ");
  }

  const values = (model, i) => model.objectives.map(({ metric }) => `${metric.title} ${format.value(metric.value[i], metric)}`).join(", ");

  // With the intervals: how sure the numbers of the one that is chosen are.
  const surely = (model, i) => model.objectives.map(({ metric }) => [metric.title, format.value(metric.value[i], metric), format.ends(metric, i)].filter(Boolean).join(" ")).join(", ");

  // The bounds that a candidate keeps by its value, but not with its whole interval.
  function doubtful(model, i) {
    const found = model.bounds.filter(({ metric, sense, at, set }) => {
      const end = sense === "<=" ? metric.high && metric.high[i] : metric.low && metric.low[i], bound = at ?? set;
      return format.isKnown(end) && bound !== null && Number.isFinite(bound) && (sense === "<=" ? end > bound : end < bound);
    });
    return found.map(({ metric }) => `Not sure to keep its bound: ${metric.title} ${format.value(metric.value[i], metric)} ${format.ends(metric, i)}.`).join(" ");
  }

  function boundsText(model) {
    const set = model.bounds.filter((bound) => Number.isFinite(bound.at ?? bound.set ?? NaN));
    const texts = set.map((bound) => `${bound.metric.title} ${bound.sense === "<=" ? "at most" : "at least"} ${format.boundText(bound)}`);
    return texts.join(", ");
  }

  // Without anybody who keeps all bounds: the bound without which there would be most.
  function whatToLoosen(model) {
    const { n, broken, sorted, ruledOut } = model.problem;
    const freed = model.bounds.map((bound) => {
      const feasible = decide.feasibility(n, model.bounds, broken, bound);
      return { bound, freed: sorted.filter((i) => feasible[i] === decide.HELD && !ruledOut.has(i)) };
    });
    const most = freed.sort((one, two) => two.freed.length - one.freed.length)[0];
    if (!most || most.freed.length === 0) return "No single bound is the reason: loosen several.";
    const { bound } = most, { metric, sense } = bound;
    const text = `${bound.metric.title} ${bound.sense === "<=" ? "at most" : "at least"} ${format.boundText(bound)}`;
    const sign = sense === "<=" ? 1 : -1, known = most.freed.filter((i) => metric.value[i] !== null);
    const nearest = known.reduce((one, two) => (sign * metric.value[two] < sign * metric.value[one] ? two : one), known[0]);
    const end = known.length ? ` The ${sense === "<=" ? "least" : "most"} ${metric.title} among these is ${format.value(metric.value[nearest], metric)}: ${model.name(nearest)}.` : "";
    return `Without ${text}, ${format.count(most.freed.length, "candidate")} would.${end}`;
  }

  // The lines of the answer: { name, values, why, asSet }.
  function answer(model) {
    const { decision, asSet } = model;
    const isMoved = model.isMoved();
    const set = asSet.best === null ? "none" : model.name(asSet.best);
    const lines = { isMoved, isSame: decision.best === asSet.best, name: null, values: "", why: "", asSet: isMoved ? `As the ${model.what} was set: ${set}.` : "" };
    if (decision.best === null) {
      lines.why = model.problem.sorted.length ? `No candidate keeps ${isMoved ? "your bounds" : "the bounds"}. ${whatToLoosen(model)}` : "No candidate has a value for every objective.";
      return lines;
    }
    lines.name = model.name(decision.best);
    lines.values = surely(model, decision.best);
    lines.doubt = doubtful(model, decision.best);
    const bounds = boundsText(model);
    const verb = bounds ? ["keeps", "keep"] : ["is", "are"];
    const kept = `${format.count(decision.considered, "candidate")} ${verb[decision.considered === 1 ? 0 : 1]} ${bounds || "compared"}`;
    const nFront = decision.front.length;
    const balance = decision.isTossUp ? `this one and ${model.name(decision.runnerUp)} tie for the best balance: say what counts more` : "this is the best balance";
    const what = nFront === 1 ? "it is alone on the front" : `${nFront.toLocaleString("en")} of them are on the front, and ${balance}`;
    lines.why = `${kept}; ${what}.`;
    if (decision.runnerUp !== null) lines.runnerUp = `Next best: ${model.name(decision.runnerUp)}, with ${trade(model, decision.best, decision.runnerUp)}.`;
    return lines;
  }

  // Who is best in one objective alone under the bounds as they are: "Highest top1: levit_256, with top1 81.5, ms 7.2."
  function ends(model) {
    const { front, best } = model.decision;
    if (front.length < 2 || model.objectives.length < 2 || model.objectives.length > 3) return [];
    return model.objectives.map(({ metric, sign }) => {
      const i = front.reduce((one, two) => (sign * metric.value[two] < sign * metric.value[one] ? two : one));
      const which = `${sign > 0 ? "Lowest" : "Highest"} ${metric.title}`;
      return i === best ? `${which}: this one.` : `${which}: ${model.name(i)}, with ${values(model, i)}.`;
    });
  }

  function paint(model, place, below) {
    const lines = answer(model);
    const head = make("p", { class: "pick" }, make("span", { class: "quiet" }, lines.isMoved ? "With your settings" : `As the ${model.what} was set`), make("strong", {}, lines.name || "No candidate"), make("span", {}, lines.values));
    const why = make("p", { class: "why" }, ...[lines.doubt, lines.why, lines.runnerUp, lines.asSet].filter(Boolean).map((text) => make("span", {}, `${text} `)));
    place.replaceChildren(head, why);
    const only = ends(model);
    below.replaceChildren(...(only.length ? ["Within these bounds. ", ...only.map((text) => make("span", {}, `${text} `))] : []));
    return `${lines.isMoved ? "With your settings" : `As the ${model.what} was set`}: ${lines.name || "no candidate"}. ${[lines.values, lines.doubt, lines.asSet].filter(Boolean).join(". ")}`;
  }

  moo.answer = { answer, trade, paint };
})();
