/* What the explorers share: elements, labelled inputs, handles to pull, a sentence that is read
   aloud, and data on demand. Plain scripts without modules or fetch, so that file:// works too. */
"use strict";

const Explorers = (() => {
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const SVG_TAGS = new Set(["svg", "g", "line", "circle", "path", "rect", "text", "polyline"]);
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
  let controls = 0;

  /* make("p", { class: "note" }, "text", node): an element, of HTML or of SVG. */
  function make(tag, attributes = {}, ...children) {
    const node = SVG_TAGS.has(tag)
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function field(label, input, beside = []) {
    input.id = `explorer-${input.name}-${(controls += 1)}`;
    input.dataset.label = label;
    return make(
      "div",
      { class: "explorer-field" },
      make("label", { for: input.id }, label),
      make("span", { class: "explorer-inputs" }, ...beside, input),
    );
  }

  /* Whole numbers, unless `step` is "any". A blank is null where `optional` allows it. */
  function number(name, label, { value, min, max, step = 1, optional = false, hint = "" }) {
    const limits = { min, max, step, value, required: !optional, placeholder: hint };
    return field(label, make("input", { type: "number", inputmode: "decimal", name, ...limits }));
  }

  /* A slider with a box beside it, for the exact number and for numbers beyond the slider. A
     doubling slider goes from power of two to power of two. */
  function slider(name, label, { value, min, max, most = max, step = 1, doubling = false }) {
    const [to, from] = doubling ? [(x) => 2 ** x, Math.log2] : [Number, Number];
    const limits = { min, max: most, step: step === 1 ? 1 : "any", value, required: true };
    const box = make("input", { type: "number", name, ...limits });
    const range = make("input", {
      type: "range", min: from(min), max: from(max), step, value: from(value),
      "aria-label": `${label}, slider`, "aria-valuetext": doubling && value,
      oninput: () => (box.value = to(range.value)),
    });
    box.addEventListener("input", () => (range.value = from(box.value)));
    if (doubling) range.addEventListener("input", () => range.setAttribute("aria-valuetext", box.value));
    return field(label, box, [range]);
  }

  /* What is pulled and not typed has an input too, which nobody sees: it is part of the state. */
  function held(name, value) {
    return make("input", { type: "text", name, value, hidden: true });
  }

  function choice(name, label, options, value) {
    const item = (text) => make("option", { value: text, selected: text === value }, text);
    return field(label, make("select", { name }, ...options.map(item)));
  }

  /* A choice that fills the other inputs of its form: options is name -> their values. */
  function presets(options, value) {
    const input = choice("preset", "start from", Object.keys(options), value);
    input.querySelector("select").addEventListener("input", (event) => {
      const { form } = event.target;
      for (const [name, value] of Object.entries(options[event.target.value])) {
        if (form.elements[name].type === "checkbox") form.elements[name].checked = value;
        else form.elements[name].value = value ?? "";
      }
    });
    return input;
  }

  function check(name, label, value) {
    const input = make("input", { type: "checkbox", name, checked: value });
    return make("label", { class: "explorer-check" }, input, label);
  }

  function button(label, onclick) {
    return make("button", { type: "button", onclick }, label);
  }

  /* A button that takes a step, and another, until it is pressed again or `step` says that there
     is no more. Where a reader prefers less motion, each press is one step. */
  function player(label, step, pause = 500) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    let playing;
    function stop() {
      clearInterval(playing);
      playing = undefined;
      node.textContent = label;
    }
    const node = button(still ? `${label}, one step` : label, () => {
      if (playing) return stop();
      if (!step() || still) return;
      node.textContent = "stop";
      playing = setInterval(() => (node.isConnected && step()) || stop(), pause);
    });
    return node;
  }

  /* Write into an input as a reader does. */
  function set(input, value) {
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /* name -> what stands in each input; throws an Error that says what an input must be. */
  function read(form) {
    const values = {};
    for (const input of form.elements) {
      if (!input.name) continue;
      input.setAttribute("aria-invalid", !input.validity.valid);
      if (!input.validity.valid) throw new Error(rule(input));
      if (input.type === "checkbox") values[input.name] = input.checked;
      else if (input.type !== "number") values[input.name] = input.value;
      else values[input.name] = input.value === "" ? null : Number(input.value);
    }
    return values;
  }

  function rule(input) {
    const kind = input.step === "any" ? "a number" : input.step === "1" ? "a whole number" : "even";
    const range = `from ${grouped(Number(input.min))} to ${grouped(Number(input.max))}`;
    return `${input.dataset.label} must be ${kind} ${range}; got ${input.value || "nothing"}`;
  }

  /* 1234567 -> 1,234,567 */
  const grouped = (x) => x.toLocaleString("en", { maximumFractionDigits: 20 });
  /* Six digits that count: 2574270.3 -> 2,574,270 */
  const digits = (x, count = 6) => x.toLocaleString("en", { maximumSignificantDigits: count });
  /* -0.12345 -> −0.1235, and never −0.0000 */
  function fixed(x, places = 4) {
    const text = x.toFixed(places);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  }

  /* An arrow from the middle of a dial of radius 1; up is y. */
  function arrow(x, y, name, faint = false) {
    const length = Math.hypot(x, y) || 1;
    const [ux, uy] = [x / length, y / length];
    const barb = (side) => `${x - 0.16 * ux + side * 0.09 * uy},${-(y - 0.16 * uy - side * 0.09 * ux)}`;
    return make(
      "g",
      { class: `explorer-arrow explorer-${name}`, opacity: faint ? 0.35 : 1 },
      make("line", { x1: 0, y1: 0, x2: x, y2: -y }),
      make("polyline", { points: `${barb(1)} ${x},${-y} ${barb(-1)}` }),
    );
  }

  function dial(label, ...arrows) {
    return make(
      "svg",
      { viewBox: "-1.25 -1.25 2.5 2.5", class: "explorer-dial", role: "group", "aria-label": label },
      make("circle", { r: 1, class: "explorer-rim" }),
      ...arrows,
      make("circle", { r: 0.04, class: "explorer-hub" }),
    );
  }

  /* What a reader can pull: `name` says which of the explorer's handles it is, "tip 3" the third of
     the tips. With a label it takes keys too, and a screen reader meets a slider. */
  function knob(name, { label, now, min, max, text = String(now) }, ...children) {
    const slider = {
      tabindex: 0, role: "slider", "aria-label": label, "aria-valuenow": now,
      "aria-valuemin": min, "aria-valuemax": max, "aria-valuetext": text,
    };
    const attributes = { class: "explorer-knob", "data-name": name, ...(label ? slider : {}) };
    return make("g", attributes, ...children);
  }

  /* A table of numbers as a field of squares of side 1, blue above zero and orange below. */
  function heat(rows, most) {
    const LEVELS = 12;
    const squares = new Map();
    rows.forEach((row, y) =>
      row.forEach((number, x) => {
        const level = Math.round((LEVELS * number) / most);
        squares.set(level, `${squares.get(level) ?? ""}M${x} ${y}h1v1h-1z`);
      }),
    );
    const paths = [...squares].map(([level, d]) => {
      const name = level < 0 ? "explorer-below" : "explorer-above";
      return make("path", { d, class: name, "fill-opacity": Math.abs(level) / LEVELS });
    });
    return make("g", { class: "explorer-heat" }, ...paths);
  }

  function table(heads, rows, caption) {
    const line = (cells, tag) => make("tr", {}, ...cells.map((cell) => make(tag, {}, cell)));
    return make(
      "table",
      { class: "explorer-table" },
      make("caption", {}, caption),
      make("thead", {}, line(heads, "th")),
      make("tbody", {}, ...rows.map((row) => line(row, "td"))),
    );
  }

  /* The content of a data file beside this script, fetched when it is first asked for. */
  const files = {};
  function load(name) {
    files[name] ??= new Promise((done, fail) => {
      const src = `${folder}${name}.data.js`;
      const onerror = () => fail(new Error(`${src} cannot be read`));
      const onload = () => done(Explorers.data[name]);
      document.head.append(make("script", { src, onload, onerror }));
    });
    return files[name];
  }

  /* Bytes of a text in base64 that zlib compressed. */
  async function unpack(text) {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /* Mouse, finger and keys move what has a name in the view. `handles[name]` has `to`, of a place
     in the units of its drawing, and `by`, of steps to the right and up. A finger pulls knobs
     alone: elsewhere it scrolls the page, and a tap is enough. */
  function hands(view, handles) {
    const name_at = ({ target }) => {
      const name = target.closest("[data-name]")?.dataset.name;
      return name?.split(" ")[0] in handles ? name : undefined;
    };
    const ask = (name, what, ...of) => {
      const [handle, i] = name.split(" ");
      handles[handle][what](...of, Number(i));
    };
    function pull(name, event) {
      const svg = view.querySelector(`[data-name="${name}"]`).ownerSVGElement;
      const place = new DOMPoint(event.clientX, event.clientY);
      ask(name, "to", place.matrixTransform(svg.getScreenCTM().inverse()));
    }
    /* Of the knobs that lie over each other at a place, the one whose middle is nearest. */
    function knob_at({ clientX, clientY }) {
      const far = (grip) => {
        const { x, y, width, height } = grip.getBoundingClientRect();
        return Math.hypot(x + width / 2 - clientX, y + height / 2 - clientY);
      };
      const grips = document
        .elementsFromPoint(clientX, clientY)
        .filter((element) => element.matches(".explorer-knob .explorer-grip"));
      return grips.sort((one, other) => far(one) - far(other))[0]?.parentNode;
    }
    let pulled;
    view.addEventListener("pointerdown", (event) => {
      const knob = knob_at(event);
      if (pulled || event.button || (event.pointerType === "touch" && !knob)) return;
      pulled = knob?.dataset.name ?? name_at(event);
      if (!pulled) return;
      event.preventDefault(); // no text is selected
      view.setPointerCapture(event.pointerId); // what is pulled is drawn anew all the time,
      keep_focus(view, pulled);
      if (!knob) pull(pulled, event); // but not yet: a browser asks where a finger began
    });
    const keep_page = (event) => knob_at(event.targetTouches[0]) && event.preventDefault();
    view.addEventListener("touchstart", keep_page, { passive: false });
    view.addEventListener("pointermove", (event) => {
      if (view.hasPointerCapture(event.pointerId)) pull(pulled, event);
    });
    view.addEventListener("lostpointercapture", () => (pulled = undefined));
    view.addEventListener("click", (event) => name_at(event) && pull(name_at(event), event));
    view.addEventListener("keydown", (event) => {
      if (!(event.key in ARROWS) || !name_at(event)) return;
      event.preventDefault();
      ask(name_at(event), "by", ARROWS[event.key]);
    });
  }

  function keep_focus(view, name) {
    view.querySelector(`[data-name="${name}"]:is(button, [tabindex])`)?.focus({ preventScroll: true });
  }

  /* The address of a page holds what a reader has entered, to be shared: #explore-NAME?... */
  function restore(form, name) {
    const [place, query] = location.hash.split("?");
    if (place !== `#explore-${name}`) return;
    form.reset();
    for (const [key, value] of new URLSearchParams(query)) {
      const input = form.elements[key];
      if (input?.type === "checkbox") input.checked = value === "true";
      else if (input && offers(input, value)) set(input, value);
      if (key === "preset") input?.dispatchEvent(new Event("input")); // it fills other fields
    }
  }

  const offers = ({ options }, value) => !options || [...options].some((o) => o.value === value);

  function remember(form, name) {
    const state = new URLSearchParams();
    for (const input of form.elements) {
      if (input.name) state.set(input.name, input.type === "checkbox" ? input.checked : input.value);
    }
    history.replaceState(null, "", `#explore-${name}?${state}`);
  }

  /* Put an explorer in the place of its still figure. `build(start)` returns its controls, its
     handles, and `draw(values, view)`, which fills the view and returns one sentence for it. */
  async function define(name, build) {
    for (const root of document.querySelectorAll(`[data-explorer="${name}"]`)) {
      try {
        const start = JSON.parse(root.querySelector("script").textContent);
        const explorer = await build(start);
        put(root, name, explorer);
      } catch (error) {
        root.append(make("p", { class: "explorer-error" }, `${error.message}.`));
        throw error;
      }
    }
  }

  function put(root, name, { controls, draw, handles = {} }) {
    const form = make("form", { class: "explorer-controls", onsubmit: (e) => e.preventDefault() });
    form.append(...controls);
    const sentence = make("p", { class: "explorer-sentence" });
    const error = make("p", { class: "explorer-error", hidden: true });
    const view = make("div", { class: "explorer-view" });
    const aloud = make("p", { class: "visually-hidden", role: "status" });
    restore(form, name);
    let waiting;
    function update() {
      let message = "";
      const focused = view.contains(document.activeElement) && document.activeElement.dataset.name;
      try {
        sentence.textContent = draw(read(form), view);
      } catch (problem) {
        message = `${problem.message}.`;
      }
      error.textContent = message;
      error.hidden = message === "";
      view.classList.toggle("explorer-old", message !== "");
      if (focused) keep_focus(view, focused);
      clearTimeout(waiting); // while a slider moves, say nothing
      waiting = setTimeout(() => (aloud.textContent = message || sentence.textContent), 600);
    }
    let changing;
    form.addEventListener("input", () => {
      update();
      clearTimeout(changing);
      changing = setTimeout(() => remember(form, name), 300);
    });
    hands(view, handles);
    addEventListener("hashchange", () => {
      restore(form, name);
      update();
    });
    root.replaceChildren(form, error, sentence, view, aloud);
    let width = root.clientWidth;
    update();
    new ResizeObserver(() => {
      if (root.clientWidth !== width) update();
      width = root.clientWidth;
    }).observe(root);
    root.classList.add("explorer-ready");
  }

  return {
    arrow, button, check, choice, data: {}, define, dial, digits, field, fixed, grouped, heat,
    held, knob, load, make, number, player, presets, set, slider, table, unpack,
  };
})();
