/* Rotary positions: the score of a query and a key depends on their distance (chapter 8). */
"use strict";

{
  const { arrow, button, dial, fixed, heat, held, knob, make, number, player, set, slider } = Explorers;
  const [CELL, KNOB] = [52, 20]; // the height of a word of the text, and what a finger meets

  /* The pair (a, b), turned by an angle in radians. */
  function turned([a, b], angle) {
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    return [a * cos - b * sin, b * cos + a * sin];
  }

  const product = ([a, b], [c, d]) => a * c + b * d;

  const rate = (i, { q, base }) => base ** (-i / q.length);

  function products(setting) {
    const { q, k, m, n } = setting;
    return q.map((pair, i) => {
      const [query, key] = [turned(pair, m * rate(i, setting)), turned(k[i], n * rate(i, setting))];
      return { i, query, key, product: product(query, key) };
    });
  }

  const score = (setting) => products(setting).reduce((sum, pair) => sum + pair.product, 0);

  /* No score of these lengths can be larger. */
  const largest = ({ q, k }) =>
    q.reduce((sum, pair, i) => sum + Math.hypot(...pair) * Math.hypot(...k[i]), 0);

  /* Pairs from the text of an input, and back. */
  function pairs(name, text, count) {
    const numbers = text.split(",").map(Number);
    if (numbers.length !== 2 * count || !numbers.every(Number.isFinite)) {
      throw new Error(`${name} must be ${2 * count} numbers with commas between; got ${text}`);
    }
    return Array.from({ length: count }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]]);
  }

  const text_of = (pairs) => pairs.flat().map((x) => Math.round(100 * x) / 100).join();

  const words = (text, x, y, anchor = "middle") => make("text", { x, y, "text-anchor": anchor }, text);

  function plane({ i, query, key, product }) {
    const tip = (name, [x, y]) =>
      knob(
        `${name} ${i}`,
        {
          label: `${name} in pair ${i}, turned`, now: fixed(x, 2).replace("−", "-"), min: -1, max: 1,
          text: `${fixed(x, 2)} across, ${fixed(y, 2)} up`,
        },
        arrow(x, y, name),
        make("circle", { cx: x, cy: -y, r: 0.35, class: "explorer-grip" }),
      );
    return make(
      "figure",
      { class: "explorer-clock" },
      dial(`pair ${i}: q and k turned`, tip("query", query), tip("key", key)),
      make(
        "figcaption",
        {},
        make("span", { class: "explorer-name" }, `pair ${i}`),
        make("span", {}, "q · k = ", make("output", {}, fixed(product))),
      ),
    );
  }

  /* The text, the query at one of its words and the key at another. */
  function line(text, { m, n }, { columns, width }) {
    const wide = width / columns;
    const place = (i) => [(i % columns) * wide, Math.floor(i / columns) * CELL];
    const mark = (name, letter, label, i, down) => {
      const [x, y] = place(i);
      const box = { x: x + 1, y: y + 1, width: wide - 2, height: CELL - 2, rx: 6 };
      const at = { cx: x + wide / 2, cy: y + down };
      return knob(
        name,
        { label, now: i, min: 0, max: text.length - 1, text: `${i}, ${text[i]}` },
        make("rect", { ...box, class: `explorer-mark-${name}` }),
        make("circle", { ...at, r: 9, class: `explorer-mark-${name}` }),
        words(letter, at.cx, at.cy + 4),
        make("circle", { ...at, r: KNOB, class: "explorer-grip" }),
      );
    };
    return make(
      "svg",
      {
        viewBox: `0 0 ${width} ${CELL * Math.ceil(text.length / columns)}`,
        class: "explorer-chart", role: "group",
        "aria-label": "a text: the word of the query and the word of the key",
      },
      ...text.map((word, i) => words(word, place(i)[0] + wide / 2, place(i)[1] + 30)),
      mark("n", "k", "place of the key", n, 42),
      mark("m", "q", "place of the query", m, 11),
    );
  }

  /* The score for every distance, and where the two stand now. */
  function curve(setting, { left, width, height, farthest }) {
    const [most, bottom] = [largest(setting), height - 34];
    const x = (d) => left + ((d + farthest) / (2 * farthest)) * (width - left - 12);
    const y = (s) => 10 + ((most - s) / (2 * most || 1)) * (bottom - 10);
    const points = [];
    for (let d = -farthest; d <= farthest; d += 0.25) {
      points.push(`${x(d).toFixed(1)},${y(score({ ...setting, m: d, n: 0 })).toFixed(1)}`);
    }
    const distance = setting.m - setting.n;
    const at = { cx: x(distance), cy: y(score(setting)) };
    const label = `score against m − n: ${fixed(score(setting))} at ${distance}`;
    const ticks = [-20, -10, 0, 10, 20].filter((d) => Math.abs(d) <= farthest);
    return make(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, class: "explorer-chart", role: "img", "aria-label": label },
      make("line", { x1: left, y1: y(0), x2: width - 12, y2: y(0), class: "explorer-axis" }),
      make("polyline", { points: points.join(" "), class: "explorer-curve" }),
      make("line", { x1: at.cx, y1: 10, x2: at.cx, y2: bottom, class: "explorer-axis" }),
      ...ticks.map((d) => words(String(d).replace("-", "−"), x(d), bottom + 16)),
      ...[-1, 0, 1].map((part) => words(fixed(part * most, 1), left - 6, y(part * most) + 4, "end")),
      words("m − n, in tokens", x(0), height - 3),
      knob(
        "distance",
        {},
        make("circle", { ...at, r: 6, class: "explorer-here" }),
        make("circle", { ...at, r: KNOB, class: "explorer-grip" }),
      ),
    );
  }

  /* The score of each query with each key: one number on each diagonal. */
  function matrix(setting, count, side) {
    const top = 18;
    const cell = (side - top) / count;
    const places = Array.from({ length: count }, (_, place) => place);
    const scores = places.map((m) => places.map((n) => score({ ...setting, m, n })));
    const cells = heat(scores, largest(setting) || 1);
    cells.setAttribute("transform", `translate(${top} ${top}) scale(${cell})`);
    const at = (place) => top + cell * (place + 0.5);
    const { m, n } = setting;
    const back = Math.min(m, n);
    const on = count - 1 - Math.max(m, n);
    const corner = { x: at(n) - cell / 2, y: at(m) - cell / 2 };
    const left = make("text", { "text-anchor": "middle", transform: `translate(11 ${side / 2}) rotate(-90)` });
    left.append("query at m");
    return make(
      "svg",
      {
        viewBox: `0 0 ${side} ${side}`, class: "explorer-chart", role: "img",
        "aria-label": `the scores of all ${count} queries with all keys, the same along each diagonal`,
      },
      make("g", { "data-name": "cell" }, cells),
      words("key at n", side / 2, 12),
      left,
      make("line", {
        x1: at(n - back), y1: at(m - back), x2: at(n + on), y2: at(m + on), class: "explorer-diagonal",
      }),
      knob(
        "cell",
        {},
        make("rect", { ...corner, width: cell, height: cell, class: "explorer-frame" }),
        make("circle", { cx: at(n), cy: at(m), r: KNOB, class: "explorer-grip" }),
      ),
    );
  }

  Explorers.define("rotary", (start) => {
    const text = start.text.split(" ");
    const last = text.length - 1;
    const inside = (place) => Math.min(last, Math.max(0, place));
    const limits = { min: 0, max: last };
    const fields = {
      m: slider("m", "m, position of the query", { value: start.m, ...limits }),
      n: slider("n", "n, position of the key", { value: start.n, ...limits }),
    };
    const inputs = {
      m: fields.m.querySelector("[name]"),
      n: fields.n.querySelector("[name]"),
      query: held("q", text_of(start.q)),
      key: held("k", text_of(start.k)),
    };
    const at = (name) => Number(inputs[name].value);
    const move = (name, place) => set(inputs[name], inside(place));
    let setting, grid, plot, side; // what is shown, and how large

    /* Both by a step; false where one of them would leave the text. */
    function both(step) {
      const places = [at("m") + step, at("n") + step];
      if (places.some((place) => place !== inside(place))) return false;
      ["m", "n"].forEach((name, i) => move(name, places[i]));
      return true;
    }

    function walk() {
      const first = Math.min(at("m"), at("n"));
      return both(1) || (first > 0 && both(-first));
    }

    function another() {
      const some = () => start.q.map(() => [1.4 * Math.random() - 0.7, 1.4 * Math.random() - 0.7]);
      set(inputs.query, text_of(some()));
      set(inputs.key, text_of(some()));
    }

    /* A tip is pulled where it stands now, and kept as it was before it turned. */
    function tip_of(name, vector, place) {
      function put([x, y], i) {
        const length = Math.max(1, Math.hypot(x, y));
        const tips = setting[vector].slice();
        tips[i] = turned([x / length, y / length], -at(place) * rate(i, setting));
        set(inputs[name], text_of(tips));
      }
      return {
        to: ({ x, y }, i) => put([x, -y], i),
        by([right, up], i) {
          const [x, y] = products(setting)[i][name];
          put([x + 0.05 * right, y + 0.05 * up], i);
        },
      };
    }

    const mark_of = (name) => ({
      to({ x, y }) {
        const column = Math.min(grid.columns - 1, Math.max(0, Math.floor((x * grid.columns) / grid.width)));
        move(name, Math.max(0, Math.floor(y / CELL)) * grid.columns + column);
      },
      by: ([right, up]) => move(name, at(name) + right + up),
    });

    return {
      controls: [
        fields.m,
        fields.n,
        number("base", "base", { value: start.base, min: 2, max: 1e9, step: "any" }),
        make(
          "div",
          { class: "explorer-buttons" },
          player("walk along the text", walk),
          button("both one back", () => both(-1)),
          button("both one on", () => both(1)),
          button("another q and k", another),
          button("k = q", () => set(inputs.key, inputs.query.value)),
        ),
        inputs.query,
        inputs.key,
      ],
      handles: {
        m: mark_of("m"),
        n: mark_of("n"),
        query: tip_of("query", "q", "m"),
        key: tip_of("key", "k", "n"),
        distance: {
          to({ x }) {
            const { left, width, farthest } = plot;
            move("m", at("n") + Math.round(((x - left) / (width - left - 12)) * 2 * farthest - farthest));
          },
        },
        cell: {
          to({ x, y }) {
            const cell = (side - 18) / text.length;
            move("m", Math.floor((y - 18) / cell));
            move("n", Math.floor((x - 18) / cell));
          },
        },
      },
      draw(values, view) {
        const [q, k] = ["q", "k"].map((name) => pairs(name, values[name], start.q.length));
        setting = { ...values, q, k };
        const width = Math.min(view.clientWidth, 720);
        const wide = width >= 560;
        side = wide ? 230 : Math.min(width, 300);
        grid = { width, columns: Math.floor(width / 60) };
        const room = wide ? { width: width - side - 16, height: side } : { width, height: 190 };
        plot = { left: 44, farthest: last, ...room };
        const list = (pairs) => pairs.flat().map((x) => fixed(x, 2)).join(", ");
        view.replaceChildren(
          line(text, setting, grid),
          make("div", { class: "explorer-dials" }, ...products(setting).map(plane)),
          make(
            "div",
            { class: "explorer-beside" },
            make("div", { style: `width: ${plot.width}px` }, curve(setting, plot)),
            make("div", { style: `width: ${side}px` }, matrix(setting, text.length, side)),
          ),
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
