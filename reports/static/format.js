// How numbers, estimates and settings read: as moo/metrics.py and reports/_text.py write them.
(() => {
  "use strict";

  const DASH = "\u2013";
  const FORMULA_STARTS = /^[=+\-@\t\r\n]/;

  const threeDigits = (x) => (Math.abs(x) >= 1000 ? x.toFixed(0) : String(Number(x.toPrecision(3))));
  const isKnown = (x) => x !== null && x !== undefined;

  // Control, direction-changing and separating characters become one space.
  const oneLine = (text) => String(text).replace(/[\p{C}\p{Z}]+/gu, " ").trim();

  function unitOf(x, metric) {
    if (x === 0) return metric.units.find(([, factor]) => factor === 1) || metric.units[metric.units.length - 1];
    return metric.units.find(([, factor]) => Math.abs(x) >= factor * 0.9995) || metric.units[metric.units.length - 1];
  }

  function value(x, metric) {
    if (!isKnown(x)) return DASH;
    const [unit, factor] = unitOf(x, metric);
    const text = threeDigits(x / factor);
    const isNearlyAll = metric.isFraction && text === "100" && x < 1; // what is not perfect never reads so
    return (isNearlyAll ? String(Math.floor(x * 1e4) / 100) : text) + unit;
  }

  // The interval in brackets in the value's unit; nothing where there is none.
  function ends(metric, i) {
    const [x, low, high] = [metric.value[i], metric.low && metric.low[i], metric.high && metric.high[i]];
    if (!isKnown(x) || low === high || (!isKnown(low) && !isKnown(high))) return "";
    const [, factor] = unitOf(x, metric);
    const end = (y) => (isKnown(y) ? threeDigits(y / factor) : "-");
    return `[${end(low)}, ${end(high)}]`;
  }

  // The value; where it is not known, what bounds it.
  function estimate(metric, i) {
    if (isKnown(metric.value[i])) return value(metric.value[i], metric);
    const low = metric.low && metric.low[i], high = metric.high && metric.high[i];
    const parts = [isKnown(low) ? `>= ${value(low, metric)}` : "", isKnown(high) ? `<= ${value(high, metric)}` : ""];
    return parts.filter(Boolean).join(" ") || DASH;
  }

  const signed = (x, text) => `${x < 0 ? "-" : "+"}${text}`;

  // How a value differs from another: points of a fraction, else percent.
  function difference(x, origin, metric) {
    if (metric.isFraction) return signed(x - origin, `${Number(Math.abs((x - origin) * 100).toPrecision(2))} points`);
    if (origin <= 0 || x < 0) return signed(x - origin, value(Math.abs(x - origin), metric));
    const percent = ((x - origin) / origin) * 100;
    if (percent >= 1000) return `x ${threeDigits(x / origin)}`;
    return signed(percent, `${Math.abs(percent).toFixed(Math.abs(percent) < 1 || percent < -99 ? 1 : 0)}%`);
  }

  // A change in words: "31% less latency p50".
  function change(from, to, metric) {
    const text = difference(to, from, metric);
    if (!/[1-9]/.test(text.replace("points", ""))) return `the same ${metric.title}`;
    if (text.startsWith("x ")) return `${text.slice(2)} times the ${metric.title}`;
    const more = to > from ? "more" : metric.isCount ? "fewer" : "less";
    // a plain number may be in percent itself: the difference comes first
    const size = metric.isPlain && text.endsWith("%") ? `${value(Math.abs(to - from), metric)} (${text.slice(1)})` : text.slice(1);
    return `${size} ${more} ${metric.title}`;
  }

  // A bound as a person types it: in the metric's unit, with as many digits as it needs.
  const inUnit = (x, metric) => Number((x / metric.factor).toPrecision(9));
  const toUnit = (x, metric) => Number((x * metric.factor).toPrecision(15));
  const bound = (x, metric) => `${Number(inUnit(x, metric).toPrecision(5))}${metric.unit}`;

  // A bound as it stands, in its unit: one that rests on a measured baseline has no more digits than are meant.
  const boundNow = ({ at, set, metric, isRelative }) => {
    const x = inUnit(at ?? set, metric);
    return at === null && isRelative ? Number(x.toPrecision(4)) : x;
  };
  const boundText = (each) => `${Number(boundNow(each).toPrecision(5))}${each.metric.unit}`;

  const percent = (share) => `${Number((share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0))}%`;
  const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

  function setting(x) {
    if (!isKnown(x)) return DASH;
    if (typeof x === "boolean") return x ? "yes" : "no";
    if (typeof x === "number") return Number.isInteger(x) ? String(x) : String(Number(x.toPrecision(4)));
    if (Array.isArray(x)) return x.map(setting).join(", ") || "none";
    return oneLine(typeof x === "object" ? JSON.stringify(x) : x);
  }

  // A cell of a CSV file that no spreadsheet takes for a formula.
  function csvCell(x) {
    if (!isKnown(x)) return "";
    if (typeof x === "number") return String(x);
    const text = typeof x === "object" ? JSON.stringify(x) : String(x);
    const inert = FORMULA_STARTS.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
  }

  const csv = (rows) => rows.map((row) => `${row.map(csvCell).join(",")}\r\n`).join("");

  moo.format = {
    DASH, isKnown, oneLine, threeDigits, value, ends, estimate, difference, change, inUnit, toUnit, bound, boundNow, boundText, percent, count,
    setting, csv,
  };
})();
