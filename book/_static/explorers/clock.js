/* Sinusoidal positions as the hands of clocks (chapter 7). */
"use strict";

{
  const {
    arrow, button, choice, dial, digits, fixed, grouped, heat, knob, make, number, player, set, slider,
  } = Explorers;
  const MOST = 1048575;
  const ROWS = 64; // of the table below the clocks
  const TURN = 2 * Math.PI;

  /* Pair i turns by base^(-2i / dim) radians from one token to the next. */
  const rates = ({ embed_dim, base }) =>
    Array.from({ length: embed_dim / 2 }, (_, i) => base ** ((-2 * i) / embed_dim));

  const tip = (rate, position) => [Math.sin(position * rate), Math.cos(position * rate)];

  function hand(name, i, position, rate) {
    const [sin, cos] = tip(rate, position);
    const label = `hand of columns ${2 * i} and ${2 * i + 1} at ${name}`;
    return knob(
      `${name} ${i}`,
      { label, now: position, min: 0, max: MOST, text: `${name} ${position}` },
      arrow(sin, cos, name),
      make("circle", { cx: sin, cy: -cos, r: 0.4, class: "explorer-grip" }),
    );
  }

  function clock(rate, i, { position, other }) {
    const [sin, cos] = tip(rate, position);
    const label = `columns ${2 * i} and ${2 * i + 1}: sine ${fixed(sin)}, cosine ${fixed(cos)}`;
    const face = dial(label, hand("other", i, other, rate), hand("position", i, position, rate));
    return make(
      "figure",
      { class: "explorer-clock" },
      face,
      make(
        "figcaption",
        {},
        make("span", { class: "explorer-name" }, `columns ${2 * i}, ${2 * i + 1}`),
        make("span", {}, "sin ", make("output", {}, fixed(sin))),
        make("span", {}, "cos ", make("output", {}, fixed(cos))),
        make("span", { class: "explorer-note" }, `every ${digits(TURN / rate, 4)} tokens`),
      ),
    );
  }

  /* Each pair gives the cosine of the angle between its two hands. */
  function product(turns, { position, other }) {
    const terms = turns.map((rate) => Math.cos((position - other) * rate));
    const sum = terms.reduce((a, b) => a + b, 0);
    return make(
      "p",
      { class: "explorer-product" },
      "The row of ",
      make("span", { class: "explorer-position-name" }, `position ${grouped(position)}`),
      " times the row of ",
      make("span", { class: "explorer-other-name" }, `position ${grouped(other)}`),
      `, ${grouped(Math.abs(position - other))} tokens away, is `,
      make("strong", {}, fixed(sum)),
      `; a row times itself is ${turns.length}.`,
    );
  }

  /* The rows around a position, the row of the position framed. */
  function rows(turns, position, width) {
    const first = position - (position % ROWS);
    const numbers = Array.from({ length: ROWS }, (_, y) => turns.flatMap((rate) => tip(rate, first + y)));
    const [left, height] = [64, 256];
    const [x, y] = [(width - left) / (2 * turns.length), height / ROWS];
    const at = (position - first) * y;
    const tick = (row) =>
      make("text", { x: left - 22, y: row * y + 8, "text-anchor": "end" }, grouped(first + row));
    const cells = heat(numbers, 1);
    cells.setAttribute("transform", `translate(${left} 0) scale(${x} ${y})`);
    return make(
      "svg",
      {
        viewBox: `0 -12 ${width} ${height + 24}`, class: "explorer-chart", role: "img",
        "aria-label": `the rows of the positions ${first} to ${first + ROWS - 1}, that of ${position} framed`,
      },
      make("g", { "data-name": "row" }, cells),
      tick(0),
      tick(ROWS / 2),
      make("rect", { x: left, y: at, width: width - left, height: y, class: "explorer-frame" }),
      knob(
        "row",
        {},
        make("circle", { cx: left - 10, cy: at + y / 2, r: 7, class: "explorer-whole" }),
        make("circle", { cx: left - 10, cy: at + y / 2, r: 22, class: "explorer-grip" }),
      ),
    );
  }

  Explorers.define("clock", (start) => {
    const limits = { min: 0, max: 200, most: MOST };
    const places = {
      position: slider("position", "position, in tokens", { value: start.position, ...limits }),
      other: slider("other", "another position", { value: start.other, ...limits }),
    };
    const input = (name) => places[name].querySelector("[name]");
    const at = (name) => Number(input(name).value);
    const move = (name, position) => set(input(name), Math.min(MOST, Math.max(0, Math.round(position))));
    let turns; // of the clocks that are shown

    /* A hand goes to where it is pulled by the shorter way; keys move it by a sixtieth of a turn. */
    const hand_of = (name) => ({
      to({ x, y }, i) {
        const way = Math.atan2(x, -y) - at(name) * turns[i];
        move(name, at(name) + (way - TURN * Math.round(way / TURN)) / turns[i]);
      },
      by([right, up], i) {
        move(name, at(name) + (right + up) * Math.max(1, Math.round(TURN / turns[i] / 60)));
      },
    });

    function both(step) {
      if (at("position") + step < 0 || at("other") + step < 0) return;
      for (const name of ["position", "other"]) move(name, at(name) + step);
    }

    return {
      controls: [
        places.position,
        places.other,
        choice("embed_dim", "embed_dim", ["2", "4", "8", "16", "32"], String(start.embed_dim)),
        number("base", "base", { value: start.base, min: 2, max: 1e9, step: "any" }),
        make(
          "div",
          { class: "explorer-buttons" },
          player("let time pass", () => {
            move("position", at("position") + 1);
            return at("position") < MOST;
          }),
          button("both one back", () => both(-1)),
          button("both one on", () => both(1)),
        ),
      ],
      handles: {
        position: hand_of("position"),
        other: hand_of("other"),
        row: {
          to: ({ y }) => {
            const row = Math.min(ROWS - 1, Math.max(0, Math.floor((y * ROWS) / 256)));
            move("position", at("position") - (at("position") % ROWS) + row);
          },
        },
      },
      draw(values, view) {
        turns = rates(values);
        view.replaceChildren(
          make("div", { class: "explorer-dials" }, ...turns.map((rate, i) => clock(rate, i, values))),
          product(turns, values),
          rows(turns, values.position, Math.min(view.clientWidth, 720)),
        );
        const row = turns.flatMap((rate) => tip(rate, values.position)).map((x) => fixed(x));
        return `The row of position ${values.position}: ${row.join(", ")}.`;
      },
    };
  });
}
