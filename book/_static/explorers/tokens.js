/* GPT-2's tokenizer: a text, its tokens, their IDs, and the merges (chapter 1). */
"use strict";

{
  const { button, field, grouped, held, load, make, number, player, set, unpack } = Explorers;
  const MOST_TOKENS = 400;
  const MOST_STEPS = 40;

  /* Bytes as a string with one character a byte, so that they can be keys of a Map. */
  const bytes_of = (text) =>
    Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");

  /* The text of such bytes, or nothing where they are not whole characters. */
  function text_of(bytes) {
    const numbers = Uint8Array.from(bytes, (letter) => letter.charCodeAt(0));
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(numbers);
    } catch {
      return undefined;
    }
  }

  /* A space is drawn as ·, a line end as ⏎, and what is not whole characters as bytes. */
  function readable(bytes) {
    const hex = (letter) => `\\x${letter.charCodeAt(0).toString(16).padStart(2, "0")}`;
    return text_of(bytes)?.replaceAll(" ", "·").replaceAll("\n", "⏎") ?? [...bytes].map(hex).join("");
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
    return { ids, tokens: [...ids.keys()], pattern: new RegExp(pattern, "gu") };
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
    let shown = lines.length;
    function next() {
      shown = shown < lines.length ? shown + 1 : 1;
      lines.forEach((line, i) => line.classList.toggle("explorer-later", i >= shown));
      return shown < lines.length;
    }
    return make(
      "div",
      { class: "explorer-history" },
      make("h2", {}, "How ", make("code", {}, readable(word)), " is joined"),
      make("div", { class: "explorer-buttons" }, player("play the merges", next, 800)),
      make("ol", { start: 0 }, ...lines),
    );
  }

  /* The text in tints, to lie behind what is typed. A character may take more than one token. */
  function tinted(tokens) {
    const spans = [];
    let [bytes, first] = ["", 0];
    tokens.forEach(({ piece }, i) => {
      bytes += piece;
      const text = text_of(bytes);
      if (text === undefined) return;
      spans.push(make("span", { class: `explorer-tint-${first % 6}`, "data-tokens": `${first} ${i}` }, text));
      [bytes, first] = ["", i + 1];
    });
    return spans;
  }

  /* What an ID stands for, and a way to add it to the text. */
  function looked_up({ tokens }, id, input) {
    const text = text_of(tokens[id]);
    const add = button("add it to the text", () => set(input, input.value + text));
    return make(
      "p",
      { class: "explorer-buttons explorer-found" },
      `ID ${id} is `,
      make("span", { class: "explorer-token" }, make("code", {}, readable(tokens[id]))),
      ...(text === undefined ? [" a part of a character"] : [add]),
    );
  }

  Explorers.define("tokens", async ({ text, examples }) => {
    const vocabulary = await read_vocabulary();
    const input = make("textarea", { name: "text", rows: 3, spellcheck: "false" }, text);
    const behind = make("div", { class: "explorer-behind", "aria-hidden": "true" });
    const chosen = held("token", 0);
    let boxes = [];

    /* A token lights up in both places, wherever it is met. */
    function light(i) {
      boxes.forEach((box, j) => box.classList.toggle("explorer-lit", j === i));
      for (const span of behind.children) {
        const [first, last] = (span.dataset.tokens ?? "-1 -1").split(" ");
        span.classList.toggle("explorer-lit", first <= i && i <= last);
      }
    }

    function light_at(span) {
      light(span ? Number(span.dataset.tokens.split(" ")[0]) : undefined);
    }

    function under({ clientX, clientY }) {
      const all = document.elementsFromPoint(clientX, clientY);
      light_at(all.find((element) => element.dataset.tokens));
    }

    function at_caret() {
      let start = 0;
      const here = (span) => (start += span.textContent.length) > input.selectionStart;
      light_at([...behind.children].find(here)?.closest("[data-tokens]"));
    }

    input.addEventListener("pointermove", under);
    input.addEventListener("pointerleave", () => light());
    input.addEventListener("keyup", at_caret);
    input.addEventListener("click", at_caret);
    input.addEventListener("scroll", () => (behind.scrollTop = input.scrollTop));

    function box({ piece, id }, i) {
      return make(
        "button",
        {
          type: "button",
          class: `explorer-token explorer-tint-${i % 6}`,
          "data-id": id,
          "data-name": `token ${i}`,
          "aria-pressed": "false",
          onclick: () => set(chosen, i),
          onpointerenter: () => light(i),
          onpointerleave: () => light(),
          onfocus: () => light(i),
        },
        make("code", {}, readable(piece)),
        make("span", { class: "explorer-id" }, String(id)),
      );
    }

    function draw({ text, id, token }, view) {
      const tokens = encode(vocabulary, text);
      boxes = tokens.slice(0, MOST_TOKENS).map(box);
      behind.replaceChildren(...tinted(tokens), "\u200b");
      const note = `The first ${MOST_TOKENS} of ${grouped(tokens.length)} tokens are shown.`;
      view.replaceChildren(make("div", { class: "explorer-tokens" }, ...boxes));
      if (id !== null) view.prepend(looked_up(vocabulary, id, input));
      if (tokens.length > MOST_TOKENS) view.append(make("p", { class: "explorer-note" }, note));
      const pressed = Math.min(Math.abs(Math.trunc(Number(token))) || 0, boxes.length - 1);
      if (boxes.length > 0) {
        boxes[pressed].setAttribute("aria-pressed", "true");
        view.append(history(vocabulary, tokens[pressed].word));
      }
      const count = (number, what) => `${grouped(number)} ${what}${number === 1 ? "" : "s"}`;
      const size = new TextEncoder().encode(text).length;
      return (
        `${count(tokens.length, "token")} for ${count([...text].length, "character")} and ` +
        `${count(size, "byte")} in UTF-8.`
      );
    }

    function show(example) {
      chosen.value = 0;
      set(input, example);
    }
    const shown = (example) => button(example, () => show(example));
    const offered = make("div", { class: "explorer-buttons explorer-examples" }, ...examples.map(shown));
    const wide = field("text", input, [behind]);
    wide.classList.add("explorer-wide", "explorer-typed");
    const most = vocabulary.tokens.length - 1;
    const id = number("id", "look up an ID", { value: "", min: 0, max: most, optional: true, hint: `0 to ${most}` });
    return { controls: [wide, id, offered, chosen], draw };
  });
}
