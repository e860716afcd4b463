/* The wavelengths of rotary pairs beside the context, and Llama 3's bands (chapters 9 and 13). */
"use strict";

{
  const { check, digits, grouped, knob, make, number, presets, set, slider, table } = Explorers;
  const TURNS = 12; // of a pair, as many as can be told apart

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

  const words = (text, x, y, anchor = "middle") => make("text", { x, y, "text-anchor": anchor }, text);

  /* Tokens across, each ten times the one before; there is room to pull the context and the factor. */
  function axis(rows, { context, factor, scaling }, width) {
    const room = scaling ? Math.max(32, factor) : 4;
    const most = Math.max(rows.at(-1).before * room, context) * 1.05;
    const decades = Math.max(1, Math.ceil(Math.log10(most)));
    const [left, wide] = [40, width - 70];
    return {
      decades, left, right: left + wide, most: 10 ** decades / 1.05,
      x: (tokens) => left + (Math.log10(tokens) / decades) * wide,
      tokens: (x) => 10 ** (((x - left) / wide) * decades),
    };
  }

  function chart(rows, values, { decades, left, right, x }, choose) {
    const [step, top, width] = [Math.max(3, Math.min(14, 320 / rows.length)), 50, right + 30];
    const bottom = top + step * rows.length;
    const y = (row) => top + step * (row.i + 0.5);
    const svg = make("svg", {
      viewBox: `0 0 ${width} ${bottom + 40}`, class: "explorer-chart", role: "group",
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
      svg.append(
        words(`kept up to ${digits(fast, 4)}`, x(fast) + 2, top - 6, "end"),
        words(`divided from ${digits(slow, 4)}`, Math.max(x(slow), x(fast) + 12), top - 6, "start"),
      );
    }
    const each = width < 480 && decades > 5 ? 2 : 1;
    for (let power = 0; power <= decades; power += each) {
      const at = x(10 ** power);
      svg.append(
        make("line", { x1: at, y1: top, x2: at, y2: bottom, class: "explorer-grid" }),
        words(power < 6 ? grouped(10 ** power) : `${grouped(10 ** (power - 6))} M`, at, bottom + 16),
      );
    }
    const chosen = y(rows[values.pair]);
    svg.append(make("line", { x1: left, y1: chosen, x2: right, y2: chosen, class: "explorer-chosen" }));
    for (const row of rows) {
      if (row.before !== row.wavelength) {
        const [from, to] = [x(row.before), x(row.wavelength)];
        svg.append(make("line", { x1: from, y1: y(row), x2: to, y2: y(row), class: "explorer-move" }));
      }
      const name = row.whole ? "explorer-whole" : "explorer-part";
      const mark = row.whole
        ? make("circle", { cx: x(row.wavelength), cy: y(row), r: Math.min(4, step / 2 + 1), class: name })
        : make("rect", { x: x(row.wavelength) - 3.5, y: y(row) - 3.5, width: 7, height: 7, class: name });
      const strip = { x: left, y: y(row) - step / 2, width: right - left, height: step };
      const onpointermove = (event) => choose(row.i, event);
      svg.append(mark, make("rect", { ...strip, class: "explorer-grip", onpointermove, onclick: onpointermove }));
    }
    svg.append(
      words("wavelength, in tokens", (left + right) / 2, bottom + 34),
      words("pair 0", left - 20, top + step * 0.5 + 4),
      words(String(rows.length - 1), left - 12, bottom - step * 0.5 + 4),
    );
    const slowest = rows.at(-1);
    if (slowest.band === "divided") svg.append(factor_knob(values.factor, x(slowest.wavelength), y(slowest)));
    svg.append(context_knob(values.context, x(values.context), { top, bottom, right }));
    return svg;
  }

  function factor_knob(factor, x, y) {
    return knob(
      "factor",
      { label: "factor, pulled at the slowest pair", now: factor, min: 1, max: 1e6 },
      make("circle", { cx: x, cy: y, r: 7, class: "explorer-pull" }),
      make("circle", { cx: x, cy: y, r: 22, class: "explorer-grip" }),
    );
  }

  /* A mouse pulls the line, and a finger the round end of it. */
  function context_knob(context, x, { top, bottom, right }) {
    const line = { x1: x, y1: top - 22, x2: x, y2: bottom };
    return make(
      "g",
      { "data-name": "context" },
      make("line", { ...line, class: "explorer-context" }),
      make("line", { ...line, class: "explorer-grip-line" }),
      words(`context ${grouped(context)}`, Math.min(Math.max(x, 62), right - 22), 12),
      knob(
        "context",
        { label: "context, in tokens", now: context, min: 1, max: 1e9 },
        make("circle", { cx: x, cy: top - 24, r: 7, class: "explorer-pull" }),
        make("circle", { cx: x, cy: top - 24, r: 22, class: "explorer-grip" }),
      ),
    );
  }

  /* How a pair turns, token by token: all of the context, or as much as can be drawn. */
  function wave({ i, before, wavelength }, context, width) {
    const end = Math.min(context, TURNS * wavelength);
    const [left, top, height] = [40, 10, 60];
    const x = (share) => left + share * (width - 70);
    function path(length) {
      const points = Math.min(1200, Math.ceil(40 * (1 + end / length)));
      const at = (share) => top + (height * (1 - Math.cos((2 * Math.PI * share * end) / length))) / 2;
      const shares = Array.from({ length: points + 1 }, (_, point) => point / points);
      return shares.map((share) => `${x(share).toFixed(1)},${at(share).toFixed(1)}`).join(" ");
    }
    const old = make("polyline", { points: path(before), class: "explorer-curve" });
    const name = wavelength <= context ? "explorer-wave" : "explorer-wave explorer-wave-part";
    const label = `the cosine of pair ${i} over ${digits(end, 4)} tokens, ${digits(end / wavelength, 3)} turns`;
    return make(
      "svg",
      { viewBox: `0 0 ${width} 100`, class: "explorer-chart", role: "img", "aria-label": label },
      make("line", { x1: left, y1: top + height / 2, x2: width - 30, y2: top + height / 2, class: "explorer-axis" }),
      ...(before === wavelength ? [] : [old]),
      make("polyline", { points: path(wavelength), class: name }),
      words("cos", left - 20, top + height / 2 + 4),
      words("0", left, top + height + 20),
      words(
        end < context ? `${TURNS} turns: ${digits(end, 4)} tokens` : `the context: ${grouped(context)} tokens`,
        width - 30, top + height + 20, "end",
      ),
    );
  }

  function story({ i, before, wavelength, band }, context) {
    const turns = digits(context / wavelength, 4);
    const scaled = band === "" ? "" : band === "kept" ? ", kept" : `, ${band}: ${digits(before)} before`;
    return make(
      "p",
      { class: "explorer-pair" },
      make("strong", {}, `Pair ${i}`),
      ` comes round every ${digits(wavelength)} tokens${scaled}; ${turns} turns within the context.`,
    );
  }

  Explorers.define("wavelengths", ({ options, preset, pair: first }) => {
    const start = options[preset];
    const limits = { min: 1, max: 1e9 };
    const any = { min: 0.01, max: 1e6, step: "any" };
    const pair = slider("pair", "pair", { value: first, min: 0, max: start.head_dim / 2 - 1, most: 511 });
    const fields = {
      pair,
      context: number("context", "context, in tokens", { value: start.context, ...limits }),
      factor: number("factor", "factor", { value: start.factor, ...any }),
    };
    const input = (name) => fields[name].querySelector("[name]");
    const move = (name, x, most) => set(input(name), Number(Math.min(most, Math.max(1, x)).toPrecision(2)));
    let rests; // a mouse that rests chooses nothing, whatever is drawn anew under it
    function choose(i, { clientX, clientY, type }) {
      const place = `${type} ${clientX} ${clientY}`;
      if (place !== rests && Number(input("pair").value) !== i) set(input("pair"), i);
      rests = place;
    }
    let open = false;
    let scale, slowest; // of what is shown
    return {
      controls: [
        presets(options, preset),
        number("base", "base", { value: start.base, min: 2, max: 1e12, step: "any" }),
        number("head_dim", "head_dim", { value: start.head_dim, min: 2, max: 1024, step: 2 }),
        fields.context,
        check("scaling", "Llama 3's scaling", start.scaling),
        fields.factor,
        number("low", "low_freq_factor", { value: start.low, ...any }),
        number("high", "high_freq_factor", { value: start.high, ...any }),
        number("original", "original context", { value: start.original, ...limits }),
        pair,
      ],
      handles: {
        context: {
          to: ({ x }) => move("context", scale.tokens(x), scale.most),
          by: ([right, up]) => {
            const context = Number(input("context").value) * 2 ** (right + up);
            set(input("context"), Math.min(1e9, Math.max(1, Math.round(context))));
          },
        },
        factor: {
          to: ({ x }) => move("factor", scale.tokens(x) / slowest, scale.most / slowest),
          by: ([right, up]) => move("factor", Number(input("factor").value) + right + up, 1e6),
        },
      },
      draw(values, view) {
        if (values.scaling && values.low >= values.high) {
          throw new Error(
            "low_freq_factor must be below high_freq_factor, because between them the pairs are " +
              `blended; got ${values.low} and ${values.high}`,
          );
        }
        const rows = pairs(values);
        const chosen = Math.min(values.pair, rows.length - 1);
        pair.querySelector("[type=range]").max = rows.length - 1;
        const width = Math.min(view.clientWidth, 720);
        scale = axis(rows, values, width);
        slowest = rows.at(-1).before;
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
        view.replaceChildren(
          chart(rows, { ...values, pair: chosen }, scale, choose),
          story(rows[chosen], values.context),
          wave(rows[chosen], values.context, width),
          all,
        );
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
