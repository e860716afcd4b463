/* The wavelengths of rotary pairs beside the context, and Llama 3's bands (chapters 9 and 13). */
"use strict";

{
  const { check, digits, grouped, make, number, presets, table } = Explorers;

  /* The rate of a pair after Llama 3's scaling, and its band. */
  function scaled(rate, { factor, low, high, original }) {
    const turns = (original * rate) / (2 * Math.PI); // within the original context
    if (turns > high) return { rate, band: "kept" };
    if (turns < low) return { rate: rate / factor, band: "divided" };
    const kept = (turns - low) / (high - low);
    return { rate: ((1 - kept) * rate) / factor + kept * rate, band: "blended" };
  }

  function pairs(values) {
    return Array.from({ length: values.head_dim / 2 }, (_, i) => {
      const old = values.base ** ((-2 * i) / values.head_dim);
      const { rate, band } = values.scaling ? scaled(old, values) : { rate: old, band: "" };
      const [before, wavelength] = [old, rate].map((each) => (2 * Math.PI) / each);
      return { i, before, wavelength, band, whole: wavelength <= values.context };
    });
  }

  function chart(rows, values, width) {
    const [step, left, top] = [Math.max(3, Math.min(14, 320 / rows.length)), 40, 26];
    const bottom = top + step * rows.length;
    const ends = [...rows.flatMap((row) => [row.before, row.wavelength]), values.context];
    const decades = Math.max(1, Math.ceil(Math.log10(Math.max(...ends) * 1.05)));
    const x = (tokens) => left + (Math.log10(tokens) / decades) * (width - left - 30);
    const y = (row) => top + step * (row.i + 0.5);
    const words = (text, at, name = "") =>
      make("text", { x: at[0], y: at[1], "text-anchor": "middle", class: name }, text);
    const svg = make("svg", {
      viewBox: `0 0 ${width} ${bottom + 40}`, class: "explorer-chart", role: "img",
      "aria-label": `wavelengths of ${rows.length} pairs, from ${digits(rows[0].wavelength, 3)} to ` +
        `${digits(rows.at(-1).wavelength, 3)} tokens`,
    });
    const band = (from, to, name) => {
      const [start, end] = [from, to].map((at) => Math.min(Math.max(at, 1), 10 ** decades));
      const box = { x: x(start), y: top, width: Math.max(0, x(end) - x(start)), height: bottom - top };
      svg.append(make("rect", { ...box, class: `explorer-band explorer-band-${name}` }));
    };
    if (values.scaling) {
      const [fast, slow] = [values.original / values.high, values.original / values.low];
      band(1, fast, "kept");
      band(fast, slow, "blended");
      band(slow, 10 ** decades, "divided");
    }
    const each = width < 480 && decades > 5 ? 2 : 1;
    for (let power = 0; power <= decades; power += each) {
      const at = x(10 ** power);
      svg.append(
        make("line", { x1: at, y1: top, x2: at, y2: bottom, class: "explorer-grid" }),
        words(power < 6 ? grouped(10 ** power) : `${grouped(10 ** (power - 6))} M`, [at, bottom + 16]),
      );
    }
    for (const row of rows) {
      if (row.before !== row.wavelength) {
        const [from, to] = [x(row.before), x(row.wavelength)];
        svg.append(make("line", { x1: from, y1: y(row), x2: to, y2: y(row), class: "explorer-move" }));
      }
      const name = row.whole ? "explorer-whole" : "explorer-part";
      const mark = row.whole
        ? make("circle", { cx: x(row.wavelength), cy: y(row), r: Math.min(4, step / 2 + 1), class: name })
        : make("rect", { x: x(row.wavelength) - 3.5, y: y(row) - 3.5, width: 7, height: 7, class: name });
      svg.append(mark);
    }
    const end = x(values.context);
    svg.append(
      make("line", { x1: end, y1: top - 6, x2: end, y2: bottom, class: "explorer-context" }),
      words("context", [Math.min(end, width - 40), top - 12], "explorer-context-name"),
      words("wavelength, in tokens", [(left + width - 30) / 2, bottom + 34]),
      words("pair 0", [left - 20, top + step * 0.5 + 4]),
      words(String(rows.length - 1), [left - 12, bottom - step * 0.5 + 4]),
    );
    return svg;
  }

  Explorers.define("wavelengths", ({ options, preset }) => {
    const start = options[preset];
    const limits = { min: 1, max: 1e9 };
    const any = { min: 0.01, max: 1e6, step: "any" };
    let open = false;
    return {
      controls: [
        presets(options, preset),
        number("base", "base", { value: start.base, min: 2, max: 1e12, step: "any" }),
        number("head_dim", "head_dim", { value: start.head_dim, min: 2, max: 1024, step: 2 }),
        number("context", "context, in tokens", { value: start.context, ...limits }),
        check("scaling", "Llama 3's scaling", start.scaling),
        number("factor", "factor", { value: start.factor, ...any }),
        number("low", "low_freq_factor", { value: start.low, ...any }),
        number("high", "high_freq_factor", { value: start.high, ...any }),
        number("original", "original context", { value: start.original, ...limits }),
      ],
      draw(values, view) {
        if (values.scaling && values.low >= values.high) {
          throw new Error(
            "low_freq_factor must be below high_freq_factor, because between them the pairs are " +
              `blended; got ${values.low} and ${values.high}`,
          );
        }
        const rows = pairs(values);
        const heads = ["pair", "wavelength, in tokens", "turns within the context"];
        const cells = rows.map((row) => [
          String(row.i), digits(row.wavelength), digits(values.context / row.wavelength, 4),
        ]);
        if (values.scaling) {
          heads.splice(1, 0, "before", "band");
          rows.forEach((row, i) => cells[i].splice(1, 0, digits(row.before), row.band));
        }
        const all = make(
          "details",
          { open, ontoggle: (event) => (open = event.target.open) },
          make("summary", {}, "All pairs as numbers"),
          table(heads, cells, "The wavelength of each pair"),
        );
        view.replaceChildren(chart(rows, values, Math.min(view.clientWidth, 720)), all);
        const short = rows.filter((row) => !row.whole).length;
        const count = (band) => rows.filter((row) => row.band === band).length;
        const bands = values.scaling
          ? ` ${count("kept")} pairs are kept, ${count("blended")} blended, ${count("divided")} ` +
            `divided by ${digits(values.factor)}.`
          : "";
        return (
          `${short} of ${rows.length} pairs never complete a turn within ` +
          `${grouped(values.context)} tokens (squares).${bands}`
        );
      },
    };
  });
}
