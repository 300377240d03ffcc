// The decision rule of moo/decision.py, for whatever bounds and weights the reader sets. Numbers in, numbers out.
(() => {
  "use strict";

  const TIE = 1e-12;
  const BROKEN = 0, UNKNOWN = 1, HELD = 2; // of one bound or of all: the smallest counts

  // Whether an estimate keeps a bound. Its value decides; without one, an end of its interval if it can.
  function holds(value, low, high, sense, at) {
    const sign = sense === "<=" ? 1 : -1;
    const keeps = (number) => sign * (number - at) <= 0;
    if (value !== null) return keeps(value) ? HELD : BROKEN;
    const [best, worst] = sign > 0 ? [low, high] : [high, low];
    if (worst !== null && keeps(worst)) return HELD;
    return best !== null && !keeps(best) ? BROKEN : UNKNOWN;
  }

  // What a bound says of candidate i. `at` is null where it is as the study has it (`held`: its verdicts; null: no
  // bound), and infinite where the reader lifted it.
  function verdict(bound, i) {
    if (bound.at === null) return bound.held ? bound.held[i] : HELD;
    if (!Number.isFinite(bound.at)) return HELD;
    const { value, low, high } = bound.metric;
    return holds(value[i], low ? low[i] : null, high ? high[i] : null, bound.sense, bound.at);
  }

  // The feasibility of every candidate; `except` is a bound to leave out.
  function feasibility(n, bounds, broken, except = null) {
    const found = new Int8Array(n).fill(HELD);
    for (const bound of bounds) {
      if (bound === except || (bound.at === null && !bound.held)) continue;
      for (let i = 0; i < n; i++) {
        const one = verdict(bound, i);
        if (one < found[i]) found[i] = one;
      }
    }
    for (const i of broken) found[i] = BROKEN;
    return found;
  }

  // Candidates sorted by their losses, the first loss first: nobody is dominated by one that stands behind.
  function sortedByLosses(losses, members) {
    return [...members].sort((one, two) => {
      for (const loss of losses) if (loss[one] !== loss[two]) return loss[one] - loss[two];
      return one - two;
    });
  }

  // The non-dominated among candidates that stand sorted by their losses; equal ones stay together.
  function front(losses, sorted) {
    const kept = [];
    if (losses.length <= 2) {
      const last = losses[losses.length - 1], first = losses[0];
      for (const i of sorted) {
        const before = kept[kept.length - 1];
        const isEqual = before !== undefined && first[i] === first[before] && last[i] === last[before];
        if (before === undefined || isEqual || (losses.length === 2 && last[i] < last[before])) kept.push(i);
      }
      return kept;
    }
    for (const i of sorted) if (!kept.some((before) => dominates(losses, before, i))) kept.push(i);
    return kept;
  }

  function dominates(losses, one, two) {
    let isBetter = false;
    for (const loss of losses) {
      if (loss[one] > loss[two]) return false;
      if (loss[one] < loss[two]) isBetter = true;
    }
    return isBetter;
  }

  // Each loss of the front's members from 0 (best) to 1 (worst) on the front that makes the scale, of some the
  // logarithm. A member that is better than all of those extends the scale; where they have no range, or there are
  // none, the members themselves make it.
  function scaled(losses, isLog, members, by = members) {
    const least = (marks) => marks.reduce((a, b) => Math.min(a, b), Infinity);
    const most = (marks) => marks.reduce((a, b) => Math.max(a, b), -Infinity);
    return losses.map((loss, column) => {
      const mark = (i) => (isLog[column] ? Math.log10(loss[i]) : loss[i]);
      const marks = members.map(mark), others = by.map(mark);
      const ideal = Math.min(least(marks), least(others));
      const span = (most(others) > ideal ? most(others) : most(marks)) - ideal;
      return marks.map((one) => (span > 0 ? (one - ideal) / span : 0));
    });
  }

  // Positions from the best to the worst that are asked for: by weighted Chebyshev distance to the ideal point, ties
  // by the weighted sum, by the plain sum, then the earlier one.
  function best(columns, weights, n = 1) {
    const size = columns.length ? columns[0].length : 0;
    const over = (fold, start) => Array.from({ length: size }, (_, i) => columns.reduce((sum, c, j) => fold(sum, c[i], weights[j]), start));
    const scores = over((most, mark, weight) => Math.max(most, weight * mark), 0);
    const keys = [scores, over((sum, mark, weight) => sum + weight * mark, 0), over((sum, mark) => sum + mark, 0)];
    const left = new Set(Array.from({ length: size }, (_, i) => i));
    const found = [];
    while (found.length < n && left.size) {
      let tied = [...left];
      for (const key of keys) {
        const least = tied.reduce((low, i) => Math.min(low, key[i]), Infinity);
        tied = tied.filter((i) => key[i] <= least + TIE);
      }
      found.push(tied[0]);
      left.delete(tied[0]);
    }
    const isTossUp = found.length > 1 && keys.every((key) => Math.abs(key[found[0]] - key[found[1]]) <= TIE);
    return { order: found, scores, isTossUp }; // a toss-up: nothing but their order decides between the first two
  }

  // The other weights' parts of what is left when one weight moves; equal where all of them are 0.
  function parts(weights, k) {
    const rest = weights.reduce((sum, weight, j) => (j === k ? sum : sum + weight), 0);
    return weights.map((weight, j) => (j === k ? 0 : rest > 0 ? weight / rest : 1 / (weights.length - 1)));
  }

  // From which to which share of one weight the candidate at a position stays best, the others in proportion.
  function range(columns, weights, chosen, k) {
    const share = parts(weights, k);
    const own = columns[k];
    const other = own.map((_, i) => columns.reduce((most, c, j) => (j === k ? most : Math.max(most, share[j] * c[i])), 0));
    let low = 0, high = 1;
    own.forEach((a, i) => {
      if (a < own[chosen] - TIE) high = Math.min(high, other[i] / (own[chosen] + other[i]));
      if (other[i] < other[chosen] - TIE) low = Math.max(low, other[chosen] / (a + other[chosen]));
    });
    return { low: Math.min(low, weights[k]), high: Math.max(high, weights[k]) };
  }

  // The weights with one moved to a share and the others in proportion.
  function moved(weights, k, share) {
    return parts(weights, k).map((part, j) => (j === k ? share : (1 - share) * part));
  }

  // The whole decision.
  //   problem: { n, sorted, broken, ruledOut, losses, isLog, scaledBy }: `sorted` has the complete candidates with finite
  //   losses; `scaledBy` the front under the bounds as they were set, which makes the scale.
  // Returns feasibility by candidate; the front; positions on it of the best and the runner-up, or undefined.
  function decide(problem, bounds, weights) {
    const feasible = feasibility(problem.n, bounds, problem.broken);
    const considered = problem.sorted.filter((i) => feasible[i] === HELD && !problem.ruledOut.has(i));
    const shown = front(problem.losses, considered);
    const members = [...shown].sort((one, two) => one - two); // of equal ones the earlier
    const columns = scaled(problem.losses, problem.isLog, members, problem.scaledBy);
    const { order, scores, isTossUp } = best(columns, weights, 2);
    const ranges = order.length && weights.length > 1 ? weights.map((_, k) => range(columns, weights, order[0], k)) : [];
    return {
      feasible, considered: considered.length, front: shown, ranges,
      best: order.length ? members[order[0]] : null,
      runnerUp: order.length > 1 ? members[order[1]] : null,
      isTossUp,
      score: order.length ? scores[order[0]] : null,
    };
  }

  globalThis.moo = { decide: { BROKEN, UNKNOWN, HELD, holds, feasibility, sortedByLosses, front, scaled, best, range, moved, decide } };
})();
