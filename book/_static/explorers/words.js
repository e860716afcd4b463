/* Nearest words and analogies in a trained table (chapter 4). */
"use strict";

{
  const { check, digits, field, fixed, grouped, knob, load, make, set, slider, unpack } = Explorers;
  const ANSWERS = 8;
  const FARTHEST = 1.5; // steps from c
  const NOTE = "The plane through a, b and c. Other words are drawn where they fall onto it.";

  /* Unit rows from whole numbers of one byte each. */
  function unit_rows(numbers, dim) {
    const rows = new Float32Array(numbers.length);
    for (let start = 0; start < numbers.length; start += dim) {
      let square = 0;
      for (let i = start; i < start + dim; i++) square += numbers[i] ** 2;
      for (let i = start; i < start + dim; i++) rows[i] = numbers[i] / Math.sqrt(square);
    }
    return rows;
  }

  function best(table, target, without) {
    const length = Math.hypot(...target);
    if (length < 1e-6) {
      throw new Error("what is asked for must not be zero, because zero has no direction: ask for other words");
    }
    const { words, rows, dim } = table;
    const answers = words.map((word, row) => {
      let cosine = 0;
      for (let i = 0; i < dim; i++) cosine += (rows[row * dim + i] * target[i]) / length;
      return { word, cosine };
    });
    return answers
      .filter(({ word }) => !without.includes(word))
      .sort((a, b) => b.cosine - a.cosine)
      .slice(0, ANSWERS);
  }

  function row_of(table, word) {
    const row = table.row_of.get(word.trim().toLowerCase());
    if (row === undefined) {
      throw new Error(
        `words must be among the ${grouped(table.words.length)} of this table, because only they ` +
          `have a row; got ${word || "nothing"}`,
      );
    }
    return table.rows.subarray(row * table.dim, (row + 1) * table.dim);
  }

  function list(answers) {
    const item = ({ word, cosine }) =>
      make(
        "li",
        {},
        make("span", { class: "explorer-word" }, word),
        make(
          "span",
          { class: "explorer-gauge" },
          make("span", { class: "explorer-colour-0", style: `width: ${100 * Math.max(0, cosine)}%` }),
        ),
        make("output", {}, fixed(cosine, 2)),
      );
    return make("ol", { class: "explorer-answers" }, ...answers.map(item));
  }

  function column(heading, answers) {
    return make("div", { class: "explorer-list" }, make("h2", {}, heading), list(answers));
  }

  const dot = (x, y) => x.reduce((sum, each, i) => sum + each * y[i], 0);
  const minus = (x, y) => x.map((each, i) => each - y[i]);
  const plus = (x, y, times = 1) => x.map((each, i) => each + times * y[i]);

  /* Where a row falls onto the plane through a, b and c: across as from a to b, and up to c. */
  function plane_of(a, b, c) {
    const unit = (x) => {
      const length = Math.hypot(...x);
      return x.map((each) => (length > 1e-6 ? each / length : 0));
    };
    const across = unit(minus(b, a));
    const side = minus(c, a);
    const up = unit(plus(side, across, -dot(side, across)));
    return (row) => [dot(minus(row, a), across), dot(minus(row, a), up)];
  }

  /* The step from a to b, and the same step from c, as far as it is taken. */
  function drawing({ a, b, c, step }, [from, to, at], near, width) {
    const place = plane_of(from, to, at);
    const corners = [from, to, at, plus(at, minus(to, from), FARTHEST)].map(place);
    const [xs, ys] = [0, 1].map((i) => corners.map((corner) => corner[i]));
    const left = Math.min(...xs) - 0.15;
    const [wide, high] = [Math.max(...xs) + 0.15 - left, Math.max(0.1, ...ys)];
    const scale = Math.min((width - 80) / wide, 190 / high);
    const height = 70 + high * scale;
    const point = ([x, y]) => [40 + (x - left) * scale, height - 30 - y * scale];
    const [A, B, C] = corners.map(point);
    const along = (times) => [C[0] + times * (B[0] - A[0]), C[1]];
    const T = along(step);
    const taken = [];
    const named = (text, [x, y], name) => {
      let line = y - 9;
      const room = 8 * text.length;
      const covered = (other) =>
        Math.abs(other.line - line) < 13 && Math.abs(other.x - x) < (other.room + room) / 2;
      while (taken.some(covered)) line -= 13;
      taken.push({ x, line, room });
      return make("text", { x, y: line, "text-anchor": "middle", class: name }, text);
    };
    const dot_at = ([cx, cy], name, r = 4) => make("circle", { cx, cy, r, class: name });
    const line = ([x1, y1], [x2, y2], name) => make("line", { x1, y1, x2, y2, class: name });
    const others = near.map(({ word, row }) => ({ word, at: point(place(row)) }));
    return {
      scale: (x) => (x - C[0]) / (B[0] - A[0]),
      svg: make(
        "svg",
        {
          viewBox: `0 0 ${width} ${height}`, class: "explorer-chart", role: "group",
          "aria-label": `the step from ${a} to ${b}, and ${step} of it from ${c}, in their plane`,
        },
        line(A, C, "explorer-grid"),
        line(C, along(FARTHEST), "explorer-grid"),
        line(A, B, "explorer-step"),
        line(C, T, "explorer-step"),
        dot_at(A, "explorer-whole"),
        dot_at(B, "explorer-whole"),
        dot_at(C, "explorer-whole"),
        named(a, A),
        named(b, B),
        named(c, C),
        ...others.flatMap(({ word, at }) => [dot_at(at, "explorer-other-word", 3), named(word, at)]),
        knob(
          "tip",
          { label: "how much of the step b − a", now: step, min: 0, max: FARTHEST },
          dot_at(T, "explorer-part", 7),
          dot_at(T, "explorer-grip", 22),
        ),
      ),
    };
  }

  async function read_table() {
    const { words, dim, rows } = await load("words");
    const names = words.split(" ");
    return {
      words: names,
      row_of: new Map(names.map((word, row) => [word, row])),
      rows: unit_rows(new Int8Array((await unpack(rows)).buffer), dim),
      dim,
    };
  }

  Explorers.define("words", async (start) => {
    const table = await read_table();
    const offered = make("datalist", { id: "explorer-known-words" });
    offered.append(...table.words.map((word) => make("option", { value: word })));
    const word = (name, label) =>
      field(
        label,
        make("input", {
          name, value: start[name], list: offered.id, autocapitalize: "off", autocomplete: "off",
          spellcheck: "false",
        }),
      );
    const steps = slider("step", "how much of the step b − a", {
      value: start.step, min: 0, max: FARTHEST, step: 0.05,
    });
    const step = steps.querySelector("[name]");
    const move = (times) => set(step, Math.round(20 * Math.min(FARTHEST, Math.max(0, times))) / 20);
    let scale; // of the drawing
    return {
      controls: [
        word("word", "nearest to"),
        make("span", { class: "explorer-break" }),
        word("a", "a"),
        word("b", "is to b as"),
        word("c", "c is to …"),
        check("inputs", "a, b and c may be answers", start.inputs),
        steps,
        offered,
      ],
      handles: {
        tip: {
          to: ({ x }) => move(scale(x)),
          by: ([right, up]) => move(Number(step.value) + 0.05 * (right + up)),
        },
      },
      draw(values, view) {
        const { word, a, b, c, inputs } = values;
        const near = best(table, row_of(table, word), [word.trim().toLowerCase()]);
        const asked = [a, b, c].map((each) => each.trim().toLowerCase());
        const rows = asked.map((each) => row_of(table, each));
        const [from, to, at] = rows;
        const answer = (target) => best(table, target, inputs ? [] : asked);
        const answers = answer(plus(at, minus(to, from), values.step));
        const others = answers.slice(0, 4).filter(({ word }) => !asked.includes(word));
        const drawn = drawing(
          values, rows, others.map(({ word }) => ({ word, row: row_of(table, word) })),
          Math.min(view.clientWidth, 720),
        );
        scale = drawn.scale;
        const part = values.step === 1 ? "" : `${digits(values.step)} `;
        view.replaceChildren(
          drawn.svg,
          make("p", { class: "explorer-note" }, NOTE),
          make(
            "div",
            { class: "explorer-lists" },
            column(`${c} + ${part}(${b} − ${a})`, answers),
            column(`${c} alone`, answer(at)),
            column(`${b} + ${c}`, answer(plus(at, to))),
            column(`nearest to ${word}`, near),
          ),
        );
        const question = part ? `${c} and ${part}of the step from ${a} to ${b}:` : `${a} is to ${b} as ${c} is to`;
        return (
          `Nearest to ${word}: ${near[0].word}, cosine ${fixed(near[0].cosine, 2)}. ` +
          `${question} ${answers[0].word}, cosine ${fixed(answers[0].cosine, 2)}.`
        );
      },
    };
  });
}
