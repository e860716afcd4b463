/* What the sizes of a model cost, in parameters and bytes (chapter 11). */
"use strict";

{
  const { check, choice, digits, grouped, make, number, presets, table } = Explorers;

  /* Bytes a parameter while training: what AdamW and SGD keep for each step. */
  const OPTIMIZERS = {
    "none, the model only runs": null,
    "AdamW, mixed precision": {
      weights: 2, gradients: 2, "first moment": 4, "second moment": 4, "float32 copy": 4,
    },
    "AdamW, float32": { weights: 4, gradients: 4, "first moment": 4, "second moment": 4 },
    "SGD with momentum, float32": { weights: 4, gradients: 4, momentum: 4 },
    "SGD, float32": { weights: 4, gradients: 4 },
  };

  function widths({ embed_dim, heads, kv_heads, head_dim, mlp_dim }) {
    const size = head_dim ?? embed_dim / heads;
    return { q: heads * size, kv: (kv_heads ?? heads) * size, mlp: mlp_dim ?? 4 * embed_dim };
  }

  function parameters(shape) {
    const { vocab_size: v, embed_dim: d, layers, gated, biases, learned_positions, tied } = shape;
    const { q, kv, mlp } = widths(shape);
    const into = gated ? 2 : 1;
    const norm = (biases === "all" ? 2 : 1) * d;
    const added = { none: 0, qkv: q + 2 * kv, all: q + 2 * kv + into * mlp + 2 * d }[biases];
    const block = 2 * d * (q + kv) + (into + 1) * d * mlp + added + 2 * norm;
    return {
      "token table": v * d,
      positions: learned_positions * d,
      blocks: layers * block,
      norm,
      head: tied ? 0 : v * d,
    };
  }

  function check_heads({ embed_dim, heads, kv_heads, head_dim }) {
    if (head_dim === null && embed_dim % heads) {
      throw new Error(
        "embed_dim must be a multiple of heads, because each head takes an equal share of it; got " +
          `${embed_dim} and ${heads}: change one, or give head_dim`,
      );
    }
    if (heads % (kv_heads ?? heads)) {
      throw new Error(
        "heads must be a multiple of kv_heads, because each key serves equally many queries; got " +
          `${heads} and ${kv_heads}: change one`,
      );
    }
  }

  const sum = (parts) => Object.values(parts).reduce((a, b) => a + b, 0);

  function bytes(x) {
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(x, 1)) / 3)));
    return `${digits(x / 1000 ** power, 4)} ${units[power]}`;
  }

  function bar(parts, total) {
    const strips = Object.entries(parts).map(([name, count], i) =>
      make("span", {
        class: `explorer-strip explorer-colour-${i}`, title: name, style: `flex-grow: ${count / total}`,
      }),
    );
    return make("div", { class: "explorer-bar", "aria-hidden": "true" }, ...strips);
  }

  function part_name(name, i) {
    return make("span", {}, make("span", { class: `explorer-mark explorer-colour-${i}` }), name);
  }

  Explorers.define("sizes", ({ options, preset, widths: formats, dtype, batch, seq }) => {
    const start = options[preset];
    const whole = (name, most, label = name) =>
      number(name, label, { value: start[name], min: 1, max: most });
    const blank = (name, most, hint) =>
      number(name, name, { value: start[name], min: 1, max: most, optional: true, hint });
    return {
      controls: [
        presets(options, preset),
        whole("vocab_size", 1e7, "V, vocab_size"),
        whole("embed_dim", 1e6, "d, embed_dim"),
        whole("layers", 1e4),
        whole("heads", 1e4),
        blank("kv_heads", 1e4, "heads"),
        blank("head_dim", 1e5, "d / heads"),
        blank("mlp_dim", 1e7, "4 d"),
        number("learned_positions", "rows of a position table", {
          value: start.learned_positions, min: 0, max: 1e7,
        }),
        choice("biases", "biases", ["all", "qkv", "none"], start.biases),
        check("gated", "gated MLP", start.gated),
        check("tied", "tied head", start.tied),
        choice("dtype", "format of a number", Object.keys(formats), dtype),
        choice("optimizer", "optimizer", Object.keys(OPTIMIZERS), Object.keys(OPTIMIZERS)[1]),
        number("seq", "context, in tokens", { value: seq, min: 1, max: 1e8 }),
        number("batch", "texts at once (batch)", { value: batch, min: 1, max: 1e6 }),
      ],
      draw(values, view) {
        check_heads(values);
        const parts = parameters(values);
        const total = sum(parts);
        const size = formats[values.dtype];
        const rows = Object.entries(parts).map(([name, count], i) => [
          part_name(name, i), grouped(count), `${digits((100 * count) / total, 3)} %`, bytes(count * size),
        ]);
        rows.push(["all", grouped(total), "100 %", bytes(total * size)]);
        const tokens = values.batch * values.seq;
        const cache = 2 * values.layers * widths(values).kv * tokens * size;
        const kept = OPTIMIZERS[values.optimizer];
        const memory = {
          [`weights in ${values.dtype}`]: total * size,
          "vectors that enter the first block": tokens * values.embed_dim * size,
          "cache of keys and values": cache,
        };
        for (const [name, each] of Object.entries(kept ?? {})) {
          memory[`training: ${name}`] = each * total;
        }
        const training = kept ? sum(kept) * total : 0;
        if (kept) memory["training: together"] = training;
        const cells = Object.entries(memory).map(([name, x]) => [name, grouped(x), bytes(x)]);
        view.replaceChildren(
          bar(parts, total),
          table(["part", "parameters", "share", values.dtype], rows, "Parameters"),
          table(["what", "bytes", "that is"], cells, "Memory"),
        );
        const share = digits((100 * parts["token table"]) / total, 3);
        const more = kept ? ` Training keeps ${bytes(training)}, activations not counted.` : "";
        return (
          `${grouped(total)} parameters, ${bytes(total * size)} in ${values.dtype}; ` +
          `the token table is ${share} % of them.${more}`
        );
      },
    };
  });
}
