/* GPT-2's tokenizer: a text, its tokens, their IDs, and the merges (chapter 1). */
"use strict";

{
  const { button, field, grouped, load, make, set, unpack } = Explorers;
  const MOST_TOKENS = 400;
  const MOST_STEPS = 40;

  /* Bytes as a string with one character a byte, so that they can be keys of a Map. */
  const bytes_of = (text) =>
    Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");

  /* A space is drawn as ·, a line end as ⏎, and what is not whole characters as bytes. */
  function readable(bytes) {
    const numbers = Uint8Array.from(bytes, (letter) => letter.charCodeAt(0));
    try {
      const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(numbers);
      return text.replaceAll(" ", "·").replaceAll("\n", "⏎");
    } catch {
      return Array.from(numbers, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
    }
  }

  /* Every step from single bytes to tokens: each joins the pair that was learned first. */
  function merges(ids, word) {
    let pieces = [...word];
    const steps = [{ pieces }];
    for (;;) {
      let first = Infinity;
      for (let i = 0; i + 1 < pieces.length; i++) {
        first = Math.min(first, ids.get(pieces[i] + pieces[i + 1]) ?? Infinity);
      }
      if (first === Infinity) return steps;
      const joined = [];
      for (let i = 0; i < pieces.length; i++) {
        const pair = pieces[i] + (pieces[i + 1] ?? "");
        const together = i + 1 < pieces.length && ids.get(pair) === first;
        joined.push(together ? pair : pieces[i]);
        if (together) i++;
      }
      pieces = joined;
      steps.push({ pieces, made: first });
    }
  }

  async function read_vocabulary() {
    const { tokens, pattern } = await load("tokens");
    const bytes = await unpack(tokens); // each token: its length, then its bytes
    const ids = new Map();
    for (let at = 0; at < bytes.length; at += 1 + bytes[at]) {
      ids.set(String.fromCharCode(...bytes.subarray(at + 1, at + 1 + bytes[at])), ids.size);
    }
    return { ids, pattern: new RegExp(pattern, "gu") };
  }

  function encode({ ids, pattern }, text) {
    return (text.match(pattern) ?? []).flatMap((word) => {
      const bytes = bytes_of(word);
      const pieces = merges(ids, bytes).at(-1).pieces;
      return pieces.map((piece) => ({ piece, id: ids.get(piece), word: bytes }));
    });
  }

  function history({ ids }, word) {
    const steps = merges(ids, word);
    const lines = steps.slice(0, MOST_STEPS).map(({ pieces, made }) => {
      const marked = (piece) => made !== undefined && ids.get(piece) === made;
      return make(
        "li",
        {},
        ...pieces.map((piece) =>
          make("span", { class: `explorer-token ${marked(piece) ? "explorer-made" : ""}` }, readable(piece)),
        ),
        " ",
        make("span", { class: "explorer-note" }, made === undefined ? "bytes" : `merge ${grouped(made - 255)}`),
      );
    });
    if (steps.length > MOST_STEPS) {
      lines.push(make("li", { class: "explorer-note" }, `and ${steps.length - MOST_STEPS} more`));
    }
    return make(
      "div",
      { class: "explorer-history" },
      make("h2", {}, "How ", make("code", {}, readable(word)), " is joined"),
      make("ol", { start: 0 }, ...lines),
    );
  }

  Explorers.define("tokens", async ({ text, examples }) => {
    const vocabulary = await read_vocabulary();
    const input = make("textarea", { name: "text", rows: 3, spellcheck: "false" }, text);

    function draw({ text }, view) {
      const tokens = encode(vocabulary, text);
      const boxes = tokens.slice(0, MOST_TOKENS).map(({ piece, id, word }, i) =>
        make(
          "button",
          {
            type: "button",
            class: `explorer-token explorer-tint-${i % 6}`,
            "data-id": id,
            onclick: () => choose(i, word),
          },
          make("code", {}, readable(piece)),
          make("span", { class: "explorer-id" }, String(id)),
        ),
      );
      const note = `The first ${MOST_TOKENS} of ${grouped(tokens.length)} tokens are shown.`;
      const more = tokens.length > MOST_TOKENS ? [make("p", { class: "explorer-note" }, note)] : [];
      const steps = make("div", {});
      function choose(i, word) {
        boxes.forEach((each, j) => each.setAttribute("aria-pressed", String(j === i)));
        steps.replaceChildren(history(vocabulary, word));
      }
      view.replaceChildren(make("div", { class: "explorer-tokens" }, ...boxes), ...more, steps);
      if (tokens.length > 0) choose(0, tokens[0].word);
      const count = (number, what) => `${grouped(number)} ${what}${number === 1 ? "" : "s"}`;
      const size = new TextEncoder().encode(text).length;
      return (
        `${count(tokens.length, "token")} for ${count([...text].length, "character")} and ` +
        `${count(size, "byte")} in UTF-8.`
      );
    }

    const show = (example) => button(example, () => set(input, example));
    const offered = make("div", { class: "explorer-buttons explorer-examples" }, ...examples.map(show));
    const wide = field("text", input);
    wide.classList.add("explorer-wide");
    return { controls: [wide, offered], draw };
  });
}
