/* Rotary positions: the score of a query and a key depends on their distance (chapter 8). */
"use strict";

{
  const { arrow, button, dial, fixed, make, number, set, slider } = Explorers;
  const FARTHEST = 60;

  /* The pair (a, b), turned by an angle in radians. */
  function turned([a, b], angle) {
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    return [a * cos - b * sin, b * cos + a * sin];
  }

  const product = ([a, b], [c, d]) => a * c + b * d;

  /* Numbers from -0.7 to 0.7, the same for the same seed (mulberry32). */
  function drawn(seed) {
    let state = seed;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let x = Math.imul(state ^ (state >>> 15), 1 | state);
      x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
      return Math.round((((x ^ (x >>> 14)) >>> 0) / 2 ** 31 - 1) * 70) / 100;
    };
  }

  function products({ q, k, base, m, n }) {
    return q.map((pair, i) => {
      const rate = base ** (-i / q.length);
      const [query, key] = [turned(pair, m * rate), turned(k[i], n * rate)];
      return { i, query, key, product: product(query, key) };
    });
  }

  const score = (setting) => products(setting).reduce((sum, pair) => sum + pair.product, 0);

  function plane({ i, query, key, product }) {
    return make(
      "figure",
      { class: "explorer-clock" },
      dial(`pair ${i}: q and k turned`, arrow(...query, "query"), arrow(...key, "key")),
      make(
        "figcaption",
        {},
        make("span", { class: "explorer-name" }, `pair ${i}`),
        make("span", {}, "q · k = ", make("output", {}, fixed(product))),
      ),
    );
  }

  /* The score for every distance, and where the two stand now. */
  function curve(setting, width) {
    const [height, left, bottom] = [190, 44, 34];
    const most = setting.q.reduce((sum, q, i) => sum + Math.hypot(...q) * Math.hypot(...setting.k[i]), 0);
    const x = (d) => left + ((d + FARTHEST) / (2 * FARTHEST)) * (width - left - 12);
    const y = (s) => 10 + ((most - s) / (2 * most)) * (height - bottom - 10);
    const points = [];
    for (let d = -FARTHEST; d <= FARTHEST; d += 0.5) {
      points.push(`${x(d).toFixed(1)},${y(score({ ...setting, m: d, n: 0 })).toFixed(1)}`);
    }
    const distance = setting.m - setting.n;
    const label = `score against m − n: ${fixed(score(setting))} at ${distance}`;
    const words = (text, at, anchor = "middle") =>
      make("text", { x: at[0], y: at[1], "text-anchor": anchor }, text);
    const ticks = [-FARTHEST, -FARTHEST / 2, 0, FARTHEST / 2, FARTHEST];
    return make(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, class: "explorer-chart", role: "img", "aria-label": label },
      make("line", { x1: left, y1: y(0), x2: width - 12, y2: y(0), class: "explorer-axis" }),
      make("polyline", { points: points.join(" "), class: "explorer-curve" }),
      make("line", { x1: x(distance), y1: 10, x2: x(distance), y2: height - bottom, class: "explorer-axis" }),
      make("circle", { cx: x(distance), cy: y(score(setting)), r: 6, class: "explorer-here" }),
      ...ticks.map((d) => words(String(d).replace("-", "−"), [x(d), height - bottom + 16])),
      ...[-1, 0, 1].map((part) => words(fixed(part * most, 1), [left - 6, y(part * most) + 4], "end")),
      words("m − n, in tokens", [x(0), height - 3]),
    );
  }

  Explorers.define("rotary", (start) => {
    const seed = make("input", { type: "hidden", name: "seed", value: 0 });
    const m = slider("m", "m, position of the query", { value: start.m, min: 0, max: FARTHEST });
    const n = slider("n", "n, position of the key", { value: start.n, min: 0, max: FARTHEST });
    const inputs = () => [m, n].map((each) => each.querySelector("[name]"));
    function both(step) {
      const places = inputs().map((input) => Number(input.value) + step);
      if (places.every((place) => place >= 0 && place <= FARTHEST)) {
        inputs().forEach((input, i) => set(input, places[i]));
      }
    }
    /* Query and key of a seed; those at the start have the seed 0. */
    function vectors(seed) {
      if (seed === 0) return start;
      const next = drawn(seed);
      const [q, k] = [start.q, start.k].map((pairs) => pairs.map(() => [next(), next()]));
      return { q, k };
    }
    return {
      controls: [
        m,
        n,
        number("base", "base", { value: start.base, min: 2, max: 1e9, step: "any" }),
        make(
          "div",
          { class: "explorer-buttons" },
          button("both one back", () => both(-1)),
          button("both one on", () => both(1)),
          button("another q and k", () => set(seed, Number(seed.value) + 1)),
        ),
        seed,
      ],
      draw(values, view) {
        const { q, k } = vectors(Number(values.seed));
        const setting = { q, k, ...values };
        const list = (pairs) => pairs.flat().map((x) => fixed(x, 2)).join(", ");
        view.replaceChildren(
          make("div", { class: "explorer-dials" }, ...products(setting).map(plane)),
          curve(setting, Math.min(view.clientWidth, 720)),
          make(
            "p",
            { class: "explorer-note" },
            "Before they turn: ",
            make("span", { class: "explorer-query-name" }, "q"),
            ` = (${list(q)}), `,
            make("span", { class: "explorer-key-name" }, "k"),
            ` = (${list(k)}).`,
          ),
        );
        const distance = String(values.m - values.n).replace("-", "−");
        return `m − n = ${distance}, score ${fixed(score(setting))}.`;
      },
    };
  });
}
