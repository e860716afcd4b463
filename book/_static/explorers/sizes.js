/* What the sizes of a model cost, in parameters and bytes (chapter 11). */
"use strict";

{
  const { check, choice, digits, fixed, grouped, make, number, presets, slider, table } = Explorers;
  const CARDS = [24, 80]; // GB of a graphics card that many have, and of one that few have

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

  /* 6,738,415,616 -> 6.738 B */
  function short(x) {
    const power = Math.min(3, Math.floor(Math.log10(Math.max(x, 1)) / 3));
    return `${digits(x / 1000 ** power, 4)} ${["", "k", "M", "B"][power]}`.trim();
  }

  /* Bytes that a model takes: what it keeps to run, or to train. */
  function memory(shape, total, { batch, seq, dtype, optimizer }, size) {
    const tokens = batch * seq;
    const kept = Object.entries(OPTIMIZERS[optimizer] ?? {});
    const running = {
      [`weights in ${dtype}`]: total * size,
      "vectors that enter the first block": tokens * shape.embed_dim * size,
      "cache of keys and values": 2 * shape.layers * widths(shape).kv * tokens * size,
    };
    const training = Object.fromEntries(kept.map(([name, each]) => [`training: ${name}`, each * total]));
    return { running, training };
  }

  const part_name = (name, i) => [make("span", { class: `explorer-mark explorer-colour-${i}` }), name];

  /* A bar of parts, whose end is `most`. */
  function bar(name, parts, most) {
    const strips = Object.entries(parts).map(([part, x], i) =>
      make("span", {
        class: `explorer-strip explorer-colour-${i % 5}`, title: part, style: `width: ${(100 * x) / most}%`,
      }),
    );
    return make(
      "div",
      { class: "explorer-row" },
      make("span", { class: "explorer-note" }, name),
      make("div", { class: "explorer-bar", "aria-hidden": "true" }, ...strips),
    );
  }

  const fits = (x) => {
    const holding = CARDS.filter((card) => x <= card * 1e9);
    if (holding.length > 0) return `fits in ${holding[0]} GB`;
    return `takes ${Math.ceil(x / (CARDS.at(-1) * 1e9))} cards of ${CARDS.at(-1)} GB`;
  };

  function against(models, most) {
    const line = (card) =>
      make("span", { class: "explorer-card", style: `left: ${(card * 1e11) / most}%` }, `${card} GB`);
    return make(
      "div",
      { class: "explorer-against" },
      make("div", { class: "explorer-cards", "aria-hidden": "true" }, ...CARDS.map(line)),
      ...models.map(({ name, needs }) => {
        const all = sum(needs);
        return bar(`${name}: ${bytes(all)}, ${fits(all)}`, needs, most);
      }),
    );
  }

  Explorers.define("sizes", ({ options, preset, beside, widths: formats, dtype, batch, seq }) => {
    const start = options[preset];
    const whole = (name, most, label = name) =>
      number(name, label, { value: start[name], min: 1, max: most });
    const blank = (name, most, hint) =>
      number(name, name, { value: start[name], min: 1, max: most, optional: true, hint });
    return {
      controls: [
        presets(options, preset),
        choice("beside", "beside it", Object.keys(options), beside),
        make("span", { class: "explorer-break" }),
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
        slider("seq", "context, in tokens", { value: seq, min: 1, max: 2 ** 20, most: 1e8, doubling: true }),
        slider("batch", "texts at once (batch)", { value: batch, min: 1, max: 1024, most: 1e6, doubling: true }),
      ],
      draw(values, view) {
        check_heads(values);
        const size = formats[values.dtype];
        const [own, other] = [values, options[values.beside]].map((shape) => {
          const parts = parameters(shape);
          const total = sum(parts);
          const { running, training } = memory(shape, total, values, size);
          return { parts, total, running, training, needs: sum(training) ? training : running };
        });
        [own.name, other.name] = ["this model", values.beside];
        const share = (part, { parts, total }) => `${fixed((100 * parts[part]) / total, 1)} %`;
        const rows = Object.keys(own.parts).map((part, i) => [
          make("span", {}, ...part_name(part, i)),
          grouped(own.parts[part]), share(part, own), share(part, other),
        ]);
        rows.push(["all", grouped(own.total), "100 %", "100 %"]);
        const trains = sum(own.training) > 0;
        const kept = ({ running, training }) => ({
          ...running, ...training, ...(trains ? { "training: together": sum(training) } : {}),
        });
        const drawn = Object.keys(own.needs); // in the bar, in this order
        const cells = Object.entries(kept(own)).map(([name, x]) => [
          make("span", {}, ...(name in own.needs ? part_name(name, drawn.indexOf(name)) : [name])),
          grouped(x), bytes(x), bytes(kept(other)[name]),
        ]);
        const models = [own, other];
        const most = Math.max(1.1 * CARDS.at(-1) * 1e9, ...models.map(({ needs }) => sum(needs)));
        view.replaceChildren(
          ...models.map(({ name, parts, total }) => bar(`${name}: ${short(total)} parameters`, parts, total)),
          table(["part", "parameters", "share", "beside"], rows, `Parameters, beside ${values.beside}`),
          make("h2", {}, trains ? "To train" : "To run"),
          against(models, most),
          table(["what", "bytes", "that is", "beside"], cells, `Memory, beside ${values.beside}`),
        );
        const more = trains ? ` Training keeps ${bytes(sum(own.training))}, activations not counted.` : "";
        return (
          `${grouped(own.total)} parameters, ${bytes(own.total * size)} in ${values.dtype}; ` +
          `the token table is ${share("token table", own)} of them.${more}`
        );
      },
    };
  });
}
