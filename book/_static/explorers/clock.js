/* Sinusoidal positions as the hands of clocks (chapter 7). */
"use strict";

{
  const { arrow, choice, dial, digits, fixed, make, number, slider } = Explorers;

  /* Pair i turns by base^(-2i / dim) radians from one token to the next. */
  function pairs({ embed_dim, base, position }) {
    return Array.from({ length: embed_dim / 2 }, (_, i) => {
      const rate = base ** ((-2 * i) / embed_dim);
      const angle = position * rate;
      return { i, wavelength: (2 * Math.PI) / rate, sin: Math.sin(angle), cos: Math.cos(angle) };
    });
  }

  function clock({ i, wavelength, sin, cos }) {
    const label = `columns ${2 * i} and ${2 * i + 1}: sine ${fixed(sin)}, cosine ${fixed(cos)}`;
    return make(
      "figure",
      { class: "explorer-clock" },
      dial(label, arrow(sin, cos, "position")),
      make(
        "figcaption",
        {},
        make("span", { class: "explorer-name" }, `columns ${2 * i}, ${2 * i + 1}`),
        make("span", {}, "sin ", make("output", {}, fixed(sin))),
        make("span", {}, "cos ", make("output", {}, fixed(cos))),
        make("span", { class: "explorer-note" }, `every ${digits(wavelength, 4)} tokens`),
      ),
    );
  }

  Explorers.define("clock", (start) => ({
    controls: [
      slider("position", "position, in tokens", {
        value: start.position, min: 0, max: 200, most: 1048575,
      }),
      choice("embed_dim", "embed_dim", ["2", "4", "8", "16", "32"], String(start.embed_dim)),
      number("base", "base", { value: start.base, min: 2, max: 1e9, step: "any" }),
    ],
    draw(values, view) {
      const hands = pairs({ ...values, embed_dim: Number(values.embed_dim) });
      view.replaceChildren(make("div", { class: "explorer-dials" }, ...hands.map(clock)));
      const row = hands.flatMap(({ sin, cos }) => [fixed(sin), fixed(cos)]);
      return `The row of position ${values.position}: ${row.join(", ")}.`;
    },
  }));
}
