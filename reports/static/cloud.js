// The candidates off the front, on a canvas behind the chart: thousands of marks are one picture, not elements.
(() => {
  "use strict";

  const { make } = moo.dom;
  const MANY = 3000; // marks, beyond which they are smaller
  const NEAR = 9, FAVOUR = 4; // pixels: how near counts as on a mark, and how much nearer one of the front counts

  // How each plotly symbol is drawn, around the middle, with half its size.
  const SHAPES = {
    circle: (pen, r) => pen.arc(0, 0, r, 0, 2 * Math.PI),
    "x-thin-open": (pen, r) => lines(pen, [[-r, -r], [r, r]], [[-r, r], [r, -r]]),
    "cross-thin-open": (pen, r) => lines(pen, [[-r, 0], [r, 0]], [[0, -r], [0, r]]),
    "line-ns-open": (pen, r) => lines(pen, [[0, -r], [0, r]]),
    "diamond-open": (pen, r) => lines(pen, [[0, -r], [r, 0], [0, r], [-r, 0], [0, -r]]),
    "triangle-up-open": (pen, r) => lines(pen, [[0, -r], [r, r], [-r, r], [0, -r]]),
  };

  function lines(pen, ...paths) {
    for (const path of paths) path.forEach((point, k) => (k ? pen.lineTo(...point) : pen.moveTo(...point)));
  }

  // One mark as pixels, to be copied to each place: a canvas that is told of each mark takes ten times as long.
  function stamp(look, color, ratio, share) {
    const size = Math.ceil((look.size * share + 3) * ratio);
    const pen = make("canvas", { width: size, height: size }).getContext("2d", { willReadFrequently: true });
    pen.setTransform(ratio, 0, 0, ratio, size / 2, size / 2);
    pen.strokeStyle = pen.fillStyle = color;
    pen.lineWidth = 1.5 * Math.sqrt(share);
    pen.beginPath();
    SHAPES[look.symbol](pen, (look.size * share) / 2);
    if (look.symbol === "circle") pen.fill();
    else pen.stroke();
    const { data } = pen.getImageData(0, 0, size, size), pixels = new Uint32Array(data.buffer), found = [];
    for (let k = 0; k < size * size; k++) if (data[4 * k + 3]) found.push({ left: k % size, top: Math.floor(k / size), pixel: pixels[k], alpha: data[4 * k + 3] });
    return { size, found };
  }

  // `x` and `y` have each candidate's place on the axes (of a logarithmic one the exponent), NaN where it has none.
  function cloud(model, place) {
    const canvas = make("canvas", { class: "cloud", "aria-hidden": "true" });
    place.prepend(canvas);
    let marks = [], front = [], dark = new Set(), x = [], y = [], frame = null, drawn = "";

    // Where the axes are, in pixels of the place, and what they show.
    function frameOf(chart) {
      const area = chart.querySelector(".nsewdrag");
      if (!area || !chart.layout) return null;
      const box = area.getBoundingClientRect(), outer = place.getBoundingClientRect();
      const [across, up] = ["xaxis", "yaxis"].map((name) => chart._fullLayout[name].range);
      return { left: box.left - outer.left, top: box.top - outer.top, width: box.width, height: box.height, across, up };
    }

    const xOf = (i) => ((x[i] - frame.across[0]) / (frame.across[1] - frame.across[0])) * frame.width;
    const yOf = (i) => (1 - (y[i] - frame.up[0]) / (frame.up[1] - frame.up[0])) * frame.height;

    // Draws; without new content, only if the axes moved.
    function draw(chart, content = null) {
      if (content) ({ marks, front, dark, x, y } = content);
      frame = frameOf(chart);
      const key = JSON.stringify(frame);
      if (!frame || (!content && key === drawn)) return;
      drawn = key;
      const ratio = Math.min(2, devicePixelRatio || 1);
      const [width, height] = [Math.round(frame.width * ratio), Math.round(frame.height * ratio)];
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      Object.assign(canvas.style, { left: `${frame.left}px`, top: `${frame.top}px`, width: `${frame.width}px`, height: `${frame.height}px` });
      if (width && height) canvas.getContext("2d").putImageData(picture(width, height, ratio), 0, 0);
    }

    function picture(width, height, ratio) {
      const whole = new ImageData(width, height), pixels = new Uint32Array(whole.data.buffer), theme = moo.theme.theme();
      const n = marks.reduce((sum, { members }) => sum + members.length, 0), share = n > MANY ? 0.7 : 1;
      const isDark = (i) => dark.has(i), isGrey = (i) => !dark.has(i);
      const layers = [[isGrey, (group) => theme[group]], ...(dark.size ? [[isDark, () => theme.ink]] : [])];
      for (const [isIn, color] of layers) for (const { group, members } of marks) {
        const { size, found } = stamp(model.data.looks[group], color(group), ratio, share);
        for (const i of members.filter(isIn)) {
          const [left, top] = [Math.round(xOf(i) * ratio - size / 2), Math.round(yOf(i) * ratio - size / 2)];
          for (const part of found) {
            const [across, down] = [left + part.left, top + part.top];
            if (!(across >= 0 && down >= 0 && across < width && down < height)) continue;
            const at = down * width + across; // the least transparent pixel stays: alike colours, so no mixing
            if (whole.data[4 * at + 3] <= part.alpha || isIn === isDark) pixels[at] = part.pixel;
          }
        }
      }
      return whole;
    }

    const shown = () => [...marks.map(({ members }) => members), front];

    // The candidate at a place of the page, or null.
    function at(clientX, clientY) {
      if (!frame) return null;
      const outer = place.getBoundingClientRect();
      const [left, top] = [clientX - outer.left - frame.left, clientY - outer.top - frame.top];
      if (!(left >= 0 && top >= 0 && left <= frame.width && top <= frame.height)) return null;
      let found = null, least = NEAR;
      for (const members of shown()) {
        for (const i of members) {
          const away = Math.hypot(xOf(i) - left, yOf(i) - top) - (members === front ? FAVOUR : 0);
          if (away <= least) [found, least] = [i, away];
        }
      }
      return found;
    }

    // Where a candidate stands in the place, in pixels; null where it is out of sight.
    function whereIs(i) {
      if (!frame) return null;
      const [left, top] = [xOf(i), yOf(i)];
      return left >= 0 && top >= 0 && left <= frame.width && top <= frame.height ? { x: frame.left + left, y: frame.top + top } : null;
    }

    // All that is shown within a closed line around some places of the axes.
    function within(corners) {
      return shown().flat().filter((i) => isInside(x[i], y[i], corners));
    }

    return { draw, at, whereIs, within, members: () => marks.flatMap(({ members }) => members) };
  }

  function isInside(x, y, corners) {
    let isIn = false;
    corners.forEach(([x1, y1], k) => {
      const [x0, y0] = corners[(k || corners.length) - 1];
      if (y1 > y !== y0 > y && x < ((x0 - x1) * (y - y1)) / (y0 - y1) + x1) isIn = !isIn;
    });
    return isIn;
  }

  moo.cloud = { cloud };
})();
