/* A model's config.json: what turns in its layers, how fast, and what its table costs
   (chapter 14). It reads a file as the library's `rotary_from_config` does. */
"use strict";

{
  const { choice, digits, field, grouped, load, make, number, presets, table } = Explorers;
  const site = document.currentScript.src.replace(/_static.*$/, "");
  const ORIGINAL = "original_max_position_embeddings";
  const LONGEST = "max_position_embeddings";
  const MOST_LAYERS = 10_000;

  function must(holds, rule, ...got) {
    if (!holds) throw new Error(got.length ? `${rule}; got ${got.map(quoted).join(" and ")}` : rule);
  }

  const quoted = (x) => (typeof x === "string" ? `'${x}'` : JSON.stringify(x) ?? "nothing");
  const lookup = (names, key) => (Object.hasOwn(names, key) ? names[key] : undefined);
  const is_entry = (x) => x !== null && typeof x === "object" && !Array.isArray(x);
  const is_even = (x) => x > 0 && x % 2 === 0;
  const given = (entry) => Object.fromEntries(Object.entries(entry).filter(([, x]) => x !== null));
  const pick = (keys, names) => Object.fromEntries(names.map((name) => [name, keys[name]]));

  function must_be_numeric(values) {
    for (const [key, x] of Object.entries(values)) {
      for (const each of [x].flat()) must(Number.isFinite(each), `${key} must be numeric`, each);
    }
  }

  function must_be_whole(values, least = 1, most = Infinity) {
    const range = most === Infinity ? `${least} on` : `${least} to ${grouped(most)}`;
    for (const [key, x] of Object.entries(values)) {
      const whole = x === undefined || (Number.isInteger(x) && x >= least && x <= most);
      must(whole, `${key} must be a whole number from ${range}`, x);
    }
  }

  /* What the file says of its text model, and that over what the code of its model fixes. */

  function parse(text) {
    let file;
    try {
      file = JSON.parse(text);
    } catch (error) {
      throw new Error(`config.json must be JSON, and this is not: ${error.message}`);
    }
    must(is_entry(file), "config.json must hold keys in braces", file);
    const said = file.text_config ?? file;
    must(is_entry(said), "text_config must hold keys in braces", said);
    const { tie_word_embeddings = null } = file; // where a file has parts, it may stand outside
    return tie_word_embeddings === null ? said : { tie_word_embeddings, ...said };
  }

  function renamed(said, { other_names }) {
    const whole = ["model_type", "hidden_size", "n_embd", "rope_scaling", "rope_parameters"];
    const alone = !whole.some((key) => key in said);
    const file = alone ? { rope_parameters: said, layout: "halves" } : said;
    const named = Object.entries(given(file)).map(([key, x]) => [lookup(other_names, key) ?? key, x]);
    return Object.fromEntries(named);
  }

  function fixed_by_code({ model_type }, { fixed }) {
    const model = lookup(fixed, model_type);
    return model ? { layout: "halves", rope_theta: 10_000, ...model } : {};
  }

  /* The entry of each layer, or of each type of layer, or of all; null: it does not turn. */

  function entry_of(file) {
    const found = ["rope_scaling", "rope_parameters"].map((name) => {
      const entry = file[name] ?? {};
      must(is_entry(entry), `${name} must hold keys in braces`, entry);
      return entry;
    });
    const filled = found.find((entry) => Object.keys(entry).length);
    return file.alibi ? null : (filled ?? {});
  }

  function by_type(file) {
    const entry = entry_of(file) ?? {};
    if (Object.values(entry).some(is_entry)) {
      const wide = "full_attention" in entry && "global_head_dim" in file;
      const all = { ...entry.full_attention, head_dim: file.global_head_dim };
      return wide ? { ...entry, full_attention: all } : entry;
    }
    if ("rope_local_base_freq" in file) {
      return { full_attention: entry, sliding_attention: { rope_theta: file.rope_local_base_freq } };
    }
    if ("unscaled" in file) return { full_attention: entry, [file.unscaled]: {} };
    if ("still" in file) return { sliding_attention: entry, [file.still]: null };
    if ("full_attention_interval" in file) return { full_attention: entry, linear_attention: null };
    return {};
  }

  function layer_types(file, differ) {
    if ("layer_types" in file) return file.layer_types;
    const linear = "full_attention_interval" in file;
    const [name, other] = linear
      ? ["full_attention_interval", "linear_attention"]
      : ["sliding_window_pattern", "sliding_attention"];
    if (differ && !(name in file)) return [];
    const [every, layers] = [file[name] ?? 1, file.num_hidden_layers ?? 0];
    must_be_whole({ [name]: every });
    must_be_whole({ num_hidden_layers: layers }, 0, MOST_LAYERS);
    return Array.from({ length: layers }, (_, n) => ((n + 1) % every ? other : "full_attention"));
  }

  function entries(file) {
    const typed = by_type(file);
    const differ = Object.keys(typed).length > 0;
    const types = layer_types(file, differ);
    must(Array.isArray(types), "layer_types must be a list", types);
    const lacking = types.find((type) => differ && !(type in typed));
    const rule = "each type of layer must have an entry, because types turn differently; got none for ";
    must(lacking === undefined, rule + quoted(lacking));
    const pause = file.no_rope_layer_interval ?? types.length + 1;
    const listed = file.no_rope_layers ?? [];
    const turns = listed.length ? listed : types.map((_, n) => (n + 1) % pause);
    must(turns.length === types.length, "no_rope_layers must have a number for each layer", listed);
    const same = differ ? null : entry_of(file);
    const layers = types.map((type, n) => [n, turns[n] ? (typed[type] ?? same) : null]);
    for (const [n, own] of Object.entries(file.per_layer_config ?? {})) {
      must(n in layers, "per_layer_config must name layers of this model", n);
      layers[n][1] = { ...layers[n][1], ...own };
    }
    if (layers.length) return layers;
    return differ ? Object.entries(typed) : [["all", entry_of(file)]];
  }

  /* The rules that slow pairs down, with the keys that each must have (chapter 13). */

  function yarn(rates, { factor, [ORIGINAL]: length, beta_fast = 32, beta_slow = 1, truncate = true }) {
    const step = Math.log(rates[0] / rates[1]);
    const pair_with = (turns) => Math.log((rates[0] * length) / (2 * Math.PI * turns)) / step;
    let [first, last] = [pair_with(beta_fast), pair_with(beta_slow)];
    if (truncate) [first, last] = [Math.floor(first), Math.ceil(last)];
    [first, last] = [Math.max(first, 0), Math.min(last, 2 * rates.length - 1)];
    return rates.map((rate, i) => {
      const share = clamped((i - first) / Math.max(last - first, 1e-3));
      return rate * (1 - share) + (rate / factor) * share;
    });
  }

  function llama3(rates, { factor, [ORIGINAL]: length, low_freq_factor: low, high_freq_factor: high }) {
    return rates.map((rate) => {
      const turns = (length * rate) / (2 * Math.PI);
      const keep = clamped((turns - low) / Math.max(high - low, 1e-9));
      return rate * keep + (rate / factor) * (1 - keep);
    });
  }

  function longrope(rates, { short_factor, long_factor, [ORIGINAL]: length, seq }) {
    const factors = seq > length ? long_factor : short_factor;
    return rates.map((rate, i) => rate / factors[i]);
  }

  function dynamic(rates, { factor, [ORIGINAL]: length, seq }) {
    return ntk(rates, { factor: (factor * Math.max(seq, length)) / length - (factor - 1) });
  }

  const clamped = (x) => Math.min(Math.max(x, 0), 1);
  const linear = (rates, { factor }) => rates.map((rate) => rate / factor);
  const ntk = (rates, { factor }) => rates.map((rate, i) => rate * factor ** (-i / (rates.length - 1)));
  const proportional = (rates, { partial_rotary_factor: share, factor = 1 }) =>
    rates.map((rate, i) => (i < Math.floor(share * rates.length) ? rate / factor : 0));

  const SCALINGS = {
    default: { needs: [], scaled: (rates) => rates },
    linear: { needs: ["factor"], scaled: linear },
    ntk: { needs: ["factor"], scaled: ntk },
    dynamic: { needs: ["factor", ORIGINAL, "seq"], scaled: dynamic },
    yarn: { needs: ["factor", ORIGINAL], scaled: yarn },
    longrope: { needs: ["short_factor", "long_factor", ORIGINAL, "seq"], scaled: longrope },
    llama3: { needs: ["factor", ORIGINAL, "low_freq_factor", "high_freq_factor"], scaled: llama3 },
    proportional: { needs: ["partial_rotary_factor"], scaled: proportional },
  };

  /* By how much queries and keys grow as they turn. */
  function growth(type, keys) {
    const { attention_factor, factor, mscale, mscale_all_dim, [ORIGINAL]: length } = keys;
    if (type !== "yarn" && type !== "longrope") return 1;
    if (attention_factor !== undefined) return attention_factor;
    must_have(type, type === "yarn" ? ["factor"] : ["factor", ORIGINAL], keys);
    must_slow(keys);
    if (type === "longrope") return Math.sqrt(1 + Math.log(factor) / Math.log(length));
    const together = (mscale === undefined) === (mscale_all_dim === undefined);
    must(together, "mscale and mscale_all_dim must stand together");
    const log = 0.1 * Math.log(factor);
    return ((mscale ?? 1) * log + 1) / ((mscale_all_dim ?? 0) * log + 1);
  }

  function must_have(type, needs, keys) {
    const lacking = needs.filter((key) => keys[key] === undefined);
    const hint = lacking.join() === "seq" ? ": give the length of a text" : "";
    const all = `rope_type ${quoted(type)} must have the keys ${needs.join(", ")}`;
    must(!lacking.length, `${all}; this one lacks ${lacking.join(", ")}${hint}`);
  }

  function must_slow({ factor = 1, [ORIGINAL]: length = 1 }) {
    must(factor >= 1, "factor must be at least 1, because rates only become slower", factor);
    must(length >= 1, `${ORIGINAL} must be at least 1`, length);
  }

  function must_fit(type, keys, pairs) {
    const { low_freq_factor: low, high_freq_factor: high, beta_fast = 32, beta_slow = 1 } = keys;
    must_have(type, SCALINGS[type].needs, keys);
    if (type !== "default" && type !== "longrope") must_slow(keys);
    if (type === "llama3") {
      const why = "because pairs with fewer turns are interpolated and pairs with more are kept";
      must(low <= high, `low_freq_factor must be at most high_freq_factor, ${why}`, low, high);
    } else if (type === "longrope") {
      const lists = [keys.short_factor, keys.long_factor];
      const fit = lists.every((list) => Array.isArray(list) && list.length === pairs);
      const rule = `short_factor and long_factor must have a number for each of the ${pairs} pairs`;
      must(fit, rule, ...lists.map((list) => list.length));
      must(lists.flat().every((x) => x > 0), "short_factor and long_factor must be above 0");
    } else if (["ntk", "dynamic", "yarn"].includes(type)) {
      must(pairs > 1, `rope_type ${quoted(type)} must have at least two pairs to turn`, pairs);
      const rule = "beta_slow must be above 0 and at most beta_fast";
      must(type !== "yarn" || (beta_slow > 0 && beta_slow <= beta_fast), rule, beta_slow, beta_fast);
    }
  }

  /* How one layer turns: its sizes, and the rate of each pair before and after scaling. */

  function scaling(entry, file, { known_keys, scales, other_types }) {
    const given_type = entry.rope_type || entry.type;
    const untyped = given_type ? [] : Object.keys(entry).filter((key) => scales.includes(key));
    const why = "because each type uses them in its own way";
    const typed = `rope_type must be given where keys scale the rates, ${why}`;
    must(!untyped.length, `${typed}; got ${untyped.join(", ")} without it`);
    const strange = Object.keys(entry).filter((key) => !known_keys.includes(key));
    const rule = "each key about rotation must be one whose effect is known";
    must(!strange.length, `${rule}; got ${strange.join(", ")}`);
    const type = lookup(other_types, given_type) ?? given_type ?? "default";
    const keys = { ...entry };
    if (type === "dynamic" && keys.alpha) return ["ntk", { factor: keys.alpha }];
    if (type === "dynamic" && LONGEST in file) {
      return [type, { ...keys, [ORIGINAL]: file[LONGEST], seq: file[LONGEST] }];
    }
    keys[ORIGINAL] = file[ORIGINAL] ?? keys[ORIGINAL] ?? file[LONGEST];
    if (type === "longrope" && LONGEST in file) keys.factor ??= file[LONGEST] / keys[ORIGINAL];
    return [type, keys];
  }

  function head_dim_of(known) {
    const size = known.qk_rope_head_dim || known.head_dim;
    const { hidden_size, num_attention_heads } = known;
    const whole = hidden_size !== undefined && num_attention_heads !== undefined;
    must(size || whole, "head_dim must be given, or hidden_size with num_attention_heads; got neither");
    must_be_whole({ head_dim: size, hidden_size, num_attention_heads });
    return size || Math.floor(hidden_size / num_attention_heads);
  }

  function rotary_dim_of(known, head_dim) {
    const { partial_rotary_factor: share, rotary_dim = head_dim } = known;
    const fits = share === undefined || (share > 0 && share <= 1);
    must(fits, "partial_rotary_factor must be above 0 and at most 1", share);
    return share === undefined ? rotary_dim : Math.floor(head_dim * share);
  }

  function layout_of({ rope_interleave, layout, model_type }) {
    if (rope_interleave !== undefined) return rope_interleave ? "pairs" : "halves";
    const why = "because a file does not say which features are a pair";
    must(layout, `model_type must be one whose code is known here, ${why}`, model_type);
    return layout;
  }

  function rotation(file, entry, seq, data) {
    if (entry === null) return null;
    const own = given(entry);
    const known = { ...file, ...own };
    must_be_numeric(pick(known, data.numeric.filter((key) => (known[key] ?? null) !== null)));
    const [type, keys] = scaling(own, file, data);
    const head_dim = head_dim_of(known);
    const rotary_dim = type === "proportional" ? head_dim : rotary_dim_of(known, head_dim);
    const layout = layout_of(known);
    const { rope_theta: base = null } = known;
    must(base !== null, "rope_theta must be given, because no base can be guessed; got none");
    const types = Object.keys(SCALINGS).map(quoted);
    must(Object.hasOwn(SCALINGS, type), `rope_type must be one of ${types.join(", ")}`, type);
    if (seq !== null) keys.seq = seq;
    const grown = growth(type, keys);
    must(is_even(head_dim), "head_dim must be even, because features rotate in pairs", head_dim);
    const fits = is_even(rotary_dim) && rotary_dim <= head_dim;
    must(fits, `rotary_dim must be even and at most head_dim, which is ${head_dim}`, rotary_dim);
    must(base > 1, "rope_theta must be above 1", base);
    must_fit(type, keys, rotary_dim / 2);
    const before = Array.from({ length: rotary_dim / 2 }, (_, i) => base ** ((-2 * i) / rotary_dim));
    const rates = SCALINGS[type].scaled(before, keys);
    const own_length = type !== "default" && keys[ORIGINAL] !== file[LONGEST];
    const trained = own_length ? [ORIGINAL, keys[ORIGINAL]] : [LONGEST, file[LONGEST]];
    return { type, base, head_dim, layout, grown, before, rates, trained };
  }

  /* [rotation, its layers], for each kind of layer of a file. */
  function kinds(file, seq, data) {
    const found = new Map();
    for (const [layer, entry] of entries(file)) {
      const turning = rotation(file, entry, seq, data);
      const name = JSON.stringify(turning);
      if (!found.has(name)) found.set(name, [turning, []]);
      found.get(name)[1].push(layer);
    }
    return [...found.values()];
  }

  /* What is shown */

  /* 0, 1, 2, 4 -> 0–2, 4 */
  function ranges(layers) {
    const parts = [];
    for (const layer of layers) {
      const part = parts.at(-1);
      if (part?.[1] === layer - 1) part[1] = layer;
      else parts.push([layer, layer]);
    }
    return parts.map(([first, last]) => (first === last ? first : `${first}–${last}`)).join(", ");
  }

  function pairs_of({ before, rates, trained: [, length] }) {
    return before.map((old, i) => ({
      i,
      rate: rates[i],
      before: (2 * Math.PI) / old,
      wavelength: (2 * Math.PI) / rates[i],
      turns: length && (length * old) / (2 * Math.PI),
    }));
  }

  function described(found) {
    const { type, base, head_dim, layout, grown, rates, trained } = found;
    const turning = rates.filter((rate) => rate > 0);
    const rows = [
      ["type", type],
      ["base", grouped(base)],
      ["features that turn", `${2 * turning.length} of ${head_dim}`],
      ["a pair is in", layout],
      ["queries and keys grow by", digits(grown)],
      ["slowest wave, in tokens", digits((2 * Math.PI) / turning.at(-1))],
      [trained[0], trained[1] === undefined ? "not said" : grouped(trained[1])],
    ];
    return table(["rotation", "value"], rows, "What the library builds");
  }

  function numbers(rows, [, length], opened) {
    const within = length === undefined ? "turns" : `turns in ${grouped(length)}`;
    const heads = ["pair", "rate", "wavelength", within, "slowed by"];
    const cells = rows.map(({ i, rate, wavelength, before, turns }) => [
      String(i),
      digits(rate),
      rate ? digits(wavelength) : "–",
      turns === undefined ? "–" : digits(turns, 4),
      rate ? digits(wavelength / before) : "–",
    ]);
    return make(
      "details",
      { open: opened.yes, ontoggle: (event) => (opened.yes = event.target.open) },
      make("summary", {}, "All pairs as numbers"),
      make("div", { class: "explorer-scroll", tabindex: 0 }, table(heads, cells, "Each pair")),
    );
  }

  /* How the pairs stand to the length on which they were trained. */
  function verdict({ type, base, trained: [, length] }, rows) {
    const turning = rows.filter(({ rate }) => rate);
    const round = turning.filter(({ turns }) => turns >= 1).length;
    const slowdowns = turning.map(({ wavelength, before }) => wavelength / before);
    const slowed = slowdowns.filter((by) => by > 1 + 1e-9);
    const parts = [
      length === undefined
        ? `${turning.length} pairs turn, and the file names no length`
        : `${round} of ${turning.length} pairs come round within ${grouped(length)} tokens, ` +
          `${turning.length - round} never do`,
    ];
    const most = digits(Math.max(...slowed), 4);
    if (slowed.length) parts.push(`${slowed.length} are slowed, by up to ${most}`);
    if (turning.length < rows.length) parts.push(`${rows.length - turning.length} stand still`);
    return `${type}, base ${grouped(base)}: ${parts.join("; ")}`;
  }

  /* The wavelength of each pair, joined to what it was before it was scaled; pairs that do not
     come round within the context, the dashed line, are squares. */
  function waves(rows, context, width) {
    const [step, left, top] = [Math.max(3, Math.min(14, 320 / rows.length)), 40, 26];
    const [bottom, right] = [top + step * rows.length, width - 30];
    const longest = Math.max(...rows.flatMap((row) => [row.before, row.wavelength]), context ?? 1);
    const decades = Math.ceil(Math.log10(longest * 1.05));
    const x = (tokens) => left + (Math.log10(tokens) / decades) * (right - left);
    const words = (text, x, y) => make("text", { x, y, "text-anchor": "middle" }, text);
    const upright = (tokens, name) => {
      const at = x(tokens);
      return make("line", { x1: at, y1: top - 6, x2: at, y2: bottom, class: name });
    };
    const marks = rows.flatMap(({ before, wavelength }, i) => {
      const y = top + step * (i + 0.5);
      const line = { x1: x(before), y1: y, x2: x(wavelength), y2: y, class: "explorer-move" };
      const whole = context === null || wavelength <= context;
      const circle = { cx: x(wavelength), cy: y, r: Math.min(4, step / 2 + 1) };
      const square = { x: x(wavelength) - 3.5, y: y - 3.5, width: 7, height: 7 };
      const mark = whole
        ? make("circle", { ...circle, class: "explorer-whole" })
        : make("rect", { ...square, class: "explorer-part" });
      return [make("line", line), mark];
    });
    const powers = Array.from({ length: decades + 1 }, (_, power) => 10 ** power);
    const named = powers.filter((_, power) => width > 480 || decades < 6 || power % 2 === 0);
    const short = (x) => (x < 1e6 ? grouped(x) : `${grouped(x / 1e6)} M`);
    const view = { viewBox: `0 0 ${width} ${bottom + 40}`, class: "explorer-chart", role: "img" };
    return make(
      "svg",
      { ...view, "aria-label": `The wavelengths of ${rows.length} pairs, in tokens` },
      ...powers.map((tokens) => upright(tokens, "explorer-grid")),
      ...named.map((tokens) => words(short(tokens), x(tokens), bottom + 16)),
      ...marks,
      ...(context === null ? [] : [
        upright(context, "explorer-context"),
        words(`${grouped(context)} tokens`, Math.min(x(context), width - 50), top - 12),
      ]),
      words("wavelength, in tokens", (left + right) / 2, bottom + 34),
      words("pair 0", left - 20, top + step * 0.5 + 4),
      words(String(rows.length - 1), left - 12, bottom - step * 0.5 + 4),
    );
  }

  function named([, layers], among) {
    if (among === 1) return "Every layer";
    if (typeof layers[0] !== "number") return layers.join(", ");
    return `${layers.length} of ${among} layers`;
  }

  function shown(kind, among, context, width, opened) {
    const [found, layers] = kind;
    const which = typeof layers[0] === "number" && among > 1 ? `: ${ranges(layers)}` : "";
    const heading = make("h2", {}, `${named(kind, among)}${which}`);
    if (!found) return make("section", {}, heading, make("p", {}, "Nothing turns here."));
    const rows = pairs_of(found);
    const all = numbers(rows, found.trained, opened);
    const picture = waves(rows.filter(({ rate }) => rate), context, width);
    return make("section", {}, heading, described(found), picture, all);
  }

  /* All parameters of a model of Llama's kind (chapter 11). */
  function total_of({ table_and_head, columns, layers, heads, kv_heads, mlp, head_dim, biases }) {
    const [q, kv] = [heads, kv_heads].map((count) => count * (head_dim ?? columns / heads));
    const matrices = 2 * columns * (q + kv) + 3 * columns * mlp;
    const block = matrices + 2 * columns + (biases === "qkv" ? q + 2 * kv : 0);
    return table_and_head + layers * block + columns;
  }

  function bytes(x) {
    const power = Math.min(3, Math.floor(Math.log10(x) / 3));
    return `${digits(x / 1000 ** power, 4)} ${["bytes", "kB", "MB", "GB"][power]}`;
  }

  /* The bill of the token table, and its share where the blocks can be counted. */
  function bill(file, { blocks, tied_types, widths }, dtype) {
    const { model_type, vocab_size: rows, hidden_size: columns } = file;
    const lacking = ["vocab_size", "hidden_size"].filter((key) => !Number.isInteger(file[key]));
    if (lacking.length) return [`The size of the table needs ${lacking.join(" and ")}.`];
    const tied = file.tie_word_embeddings ?? lookup(tied_types, model_type);
    const tables = tied ? 1 : 2;
    const size = tables * rows * columns;
    const cells = [
      ["rows, vocab_size", grouped(rows)],
      ["numbers in a row, hidden_size", grouped(columns)],
      ["tied to the head", tied ? "yes" : tied === undefined ? "not said" : "no, two tables"],
      ["parameters of table and head", grouped(size)],
      [`bytes in ${dtype}`, bytes(size * widths[dtype])],
    ];
    const counts = ["num_hidden_layers", "num_attention_heads", "num_key_value_heads"];
    const needs = [...counts, "intermediate_size"];
    const missing = needs.filter((key) => !Number.isInteger(file[key]));
    const biases = file.attention_bias || file.mlp_bias ? undefined : lookup(blocks, model_type);
    let note = "";
    if (biases === undefined) note = `The blocks of ${quoted(model_type)} are not counted here.`;
    else if (missing.length) note = `To count the blocks too, there must be ${missing.join(", ")}.`;
    else {
      const [layers, heads, kv_heads, mlp] = needs.map((key) => file[key]);
      const block = { layers, heads, kv_heads, mlp, head_dim: file.head_dim, biases };
      const total = total_of({ table_and_head: size, columns, ...block });
      cells.push(
        ["parameters of the whole model", grouped(total)],
        ["share of table and head", `${digits((100 * size) / total, 3)} %`],
      );
    }
    return [table(["the table", "value"], cells, "The bill of the table"), note];
  }

  /* Every key, what it means, and the chapters that explain it; then the other keys. */
  function explained(file, about) {
    const inside = (x) => (is_entry(x) ? pairs(x) : []);
    const pairs = (entry) => Object.entries(entry).flatMap(([key, x]) => [[key, x], ...inside(x)]);
    const known = pairs(file).filter(([key]) => lookup(about, key));
    const others = Object.keys(file).filter((key) => !lookup(about, key));
    const items = known.flatMap(([key, x]) => {
      const { meaning, chapters } = about[key];
      const value = is_entry(x) ? "" : `: ${JSON.stringify(x)}`;
      const short = value.length > 60 ? `${value.slice(0, 57)}…` : value;
      const link = ([name, place]) => make("a", { href: `${site}${place}.html` }, name);
      const links = chapters.flatMap((chapter) => [", ", link(chapter)]);
      return [make("dt", {}, make("code", {}, key), short), make("dd", {}, meaning, ...links)];
    });
    const rest = others.length ? `The other keys are not about the input: ${others.join(", ")}.` : "";
    return [make("dl", { class: "explorer-keys" }, ...items), rest];
  }

  const noted = (parts) =>
    parts
      .filter((part) => part !== "")
      .map((part) => (typeof part === "string" ? make("p", { class: "explorer-note" }, part) : part));

  Explorers.define("config", async ({ preset, dtype }) => {
    const data = await load("config");
    const written = (config) =>
      JSON.stringify(config, null, 2).replace(/\[[^[\]{}]*\]/g, (list) => list.replace(/\s+/g, " "));
    const examples = Object.fromEntries(
      Object.entries(data.configs).map(([name, config]) => [name, { config: written(config) }]),
    );
    const start = examples[preset].config;
    const input = make("textarea", { name: "config", rows: 12, spellcheck: "false" }, start);
    const wide = field("config.json", input);
    wide.classList.add("explorer-wide", "explorer-break");
    const opened = { yes: false };
    return {
      controls: [
        presets(examples, preset),
        wide,
        number("seq", "length of a text, in tokens", {
          value: null, min: 1, max: 1e9, optional: true, hint: "the longest",
        }),
        choice("dtype", "format of a number", Object.keys(data.widths), dtype),
      ],
      draw({ config, seq, dtype }, view) {
        const said = parse(config);
        const named_in_file = renamed(said, data);
        const fixed = fixed_by_code(said, data);
        const file = { ...fixed, ...named_in_file };
        const left = Object.keys(given(fixed)).filter((key) => !(key in named_in_file));
        const code = make("h2", {}, "What it leaves to the code of the model");
        const context = seq ?? file[LONGEST] ?? null;
        const found = kinds(file, context, data);
        const among = found.length === 1 ? 1 : found.flatMap(([, layers]) => layers).length;
        const width = Math.min(view.clientWidth, 720);
        view.replaceChildren(
          ...found.map((kind) => shown(kind, among, context, width, opened)),
          ...noted(bill(file, data, dtype)),
          make("h2", {}, "What the file says"),
          ...noted(explained(said, data.about)),
          ...(left.length ? [code, ...noted(explained(pick(fixed, left), data.about))] : []),
        );
        const verdicts = found.map((kind) => {
          const said_of = kind[0] ? `: ${verdict(kind[0], pairs_of(kind[0]))}` : " without rotation";
          return `${named(kind, among)}${said_of}.`;
        });
        return verdicts.join(" ");
      },
    };
  });
}
