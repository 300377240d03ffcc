// What the reader decides about: the candidates by column, the bounds, the weights, and the decision that follows.
(() => {
  "use strict";

  const { decide, format } = moo;
  const MOST = 1e307; // what is larger counts as infinite: differences of such numbers are

  // A list of [place, value] as a lookup.
  const lookup = (pairs) => new Map(pairs);

  // The bounds that have a slider: every constraint; every objective that has none of the same sense.
  function boundsOf(data, metrics) {
    const bounds = data.constraints.map((given) => ({
      metric: metrics[given.metric], sense: given.sense, set: given.bound, text: given.text, isRelative: given.isRelative,
      held: Int8Array.from(given.held, Number), at: null,
    }));
    for (const { metric, sign } of data.objectives) {
      const sense = sign > 0 ? "<=" : ">=";
      if (bounds.some((bound) => bound.metric === metrics[metric] && bound.sense === sense)) continue;
      bounds.push({ metric: metrics[metric], sense, set: null, text: null, held: null, at: null });
    }
    const seen = new Map();
    for (const bound of bounds) {
      const key = `${bound.metric.name}${bound.sense}`;
      seen.set(key, (seen.get(key) || 0) + 1);
      bound.key = seen.get(key) > 1 ? `${key}#${seen.get(key)}` : key;
    }
    return bounds;
  }

  // Everything that can stand on an axis or in a column, by key: metrics, parameters, the trial's number.
  function columnsOf(data, metrics) {
    const columns = metrics.map((metric) => ({
      ...metric, key: metric.name, kind: "metric", show: (i) => format.estimate(metric, i),
      tell: (x) => format.value(x, metric), isKnown: metric.value.some((x) => x !== null),
    }));
    for (const param of data.params) {
      const isNumeric = "numbers" in param;
      const cell = isNumeric ? (i) => param.numbers[i] : (i) => (param.codes[i] < 0 ? null : param.values[param.codes[i]]);
      columns.push({
        key: `param:${param.name}`, name: param.name, title: format.oneLine(param.name), kind: "param", direction: null,
        cell, show: (i) => format.setting(cell(i)),
        value: isNumeric ? param.numbers : param.codes.map((code) => (code < 0 ? null : code)),
        values: isNumeric ? null : param.values, tell: isNumeric ? format.setting : (x) => format.setting(param.values[x]),
        isLog: isNumeric && spansDecades(param.numbers), factor: 1, unit: "", low: null, high: null, isKnown: true,
      });
    }
    const number = (x) => String(x);
    columns.push({
      key: "#", name: "trial", title: `${data.isSearch ? "trial" : "row"} number`, kind: "number", direction: null, value: data.ids, show: (i) => number(data.ids[i]),
      tell: number, isLog: false, factor: 1, unit: "", low: null, high: null, isKnown: true,
    });
    return new Map(columns.map((column) => [column.key, column]));
  }

  function spansDecades(numbers) {
    const known = numbers.filter((x) => x !== null && typeof x === "number");
    const least = known.reduce((a, b) => Math.min(a, b), Infinity);
    return known.length > 0 && least > 0 && known.reduce((a, b) => Math.max(a, b), 0) > 100 * least;
  }

  function build(data) {
    const n = data.ids.length;
    const metrics = data.metrics;
    const objectives = data.objectives.map((given) => ({ ...given, metric: metrics[given.metric] }));
    const losses = objectives.map(({ metric, sign }) => Float64Array.from(metric.value, (x) => (x === null ? NaN : sign * x)));
    const isPruned = Array.from(data.isPruned, (each) => each === "1");
    const all = Array.from({ length: n }, (_, i) => i);
    const ruledOut = lookup(data.ruledOut);
    const problem = {
      n, losses, ruledOut, broken: data.broken, isLog: objectives.map((objective) => objective.isLog),
    };
    const model = {
      data, n, all, metrics, what: data.isSearch ? "study" : "report", objectives, isPruned, ruledOut, problem,
      bounds: boundsOf(data, metrics),
      columns: columnsOf(data, metrics),
      equalWeights: objectives.map(() => 1 / objectives.length),
      pOnFront: lookup(data.pOnFront), pFeasible: lookup(data.pFeasible),
      placeOf: new Map(data.ids.map((id, i) => [id, i])),
      name: (i) => (data.labels[i] ? format.oneLine(data.labels[i]) : `trial ${data.ids[i]}`),
      tags: (i) => data.tags.values[data.tags.codes[i]] || "",
    };
    model.isJudged = Uint8Array.from(all, (i) => !isPruned[i] && losses.every((loss) => Math.abs(loss[i]) <= MOST));
    problem.sorted = decide.sortedByLosses(losses, all.filter((i) => model.isJudged[i]));
    model.weights = model.equalWeights;
    model.reset = () => {
      for (const bound of model.bounds) bound.at = null;
      model.weights = model.equalWeights;
    };
    model.isMoved = () => model.weights !== model.equalWeights || model.bounds.some((bound) => bound.at !== null);
    model.decide = () => decide.decide(problem, model.bounds, model.weights);
    model.asSet = model.decide();
    problem.scaledBy = model.asSet.front;
    model.decision = model.asSet;
    return model;
  }

  // The group in which a candidate is drawn, by the decision as it stands.
  function groups(model) {
    const { decision, isPruned, ruledOut, all, isJudged } = model;
    const onFront = new Set(decision.front);
    return all.map((i) => {
      if (isPruned[i]) return "pruned";
      if (onFront.has(i)) return "front";
      if (decision.feasible[i] === decide.BROKEN) return "infeasible";
      if (decision.feasible[i] === decide.UNKNOWN) return "undecided";
      if (ruledOut.has(i)) return "ruledOut";
      return isJudged[i] ? "dominated" : "incomplete";
    });
  }

  // At most `most` candidates, evenly spread; the same ones whatever the decision, so that nothing flickers.
  function spread(members, most) {
    if (members.length <= most) return members;
    return Array.from({ length: most }, (_, k) => members[Math.round((k * (members.length - 1)) / (most - 1))]);
  }

  moo.model = { build, groups, spread };
})();
