/* Nearest words and analogies in a trained table (chapter 4). */
"use strict";

{
  const { check, field, fixed, grouped, load, make, unpack } = Explorers;
  const ANSWERS = 8;

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
      throw new Error("c + (b − a) must not be zero, because zero has no direction: ask for other words");
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
    return {
      controls: [
        word("word", "nearest to"),
        make("span", { class: "explorer-break" }),
        word("a", "a"),
        word("b", "is to b as"),
        word("c", "c is to …"),
        check("inputs", "a, b and c may be answers", start.inputs),
        offered,
      ],
      draw({ word, a, b, c, inputs }, view) {
        const near = best(table, row_of(table, word), [word.trim().toLowerCase()]);
        const asked = [a, b, c].map((each) => each.trim().toLowerCase());
        const [from, to, at] = asked.map((each) => row_of(table, each));
        const answers = best(table, at.map((x, i) => x + to[i] - from[i]), inputs ? [] : asked);
        view.replaceChildren(
          make("div", { class: "explorer-list" }, make("h2", {}, `Nearest to ${word}`), list(near)),
          make(
            "div",
            { class: "explorer-list" },
            make("h2", {}, `${a} is to ${b} as ${c} is to …`),
            list(answers),
          ),
        );
        return (
          `Nearest to ${word}: ${near[0].word}, cosine ${fixed(near[0].cosine, 2)}. ` +
          `${a} is to ${b} as ${c} is to ${answers[0].word}, cosine ${fixed(answers[0].cosine, 2)}.`
        );
      },
    };
  });
}
