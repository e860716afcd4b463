/* The search: the sections that match, while a reader types. Pagefind and its index are
   loaded when the search is opened. It needs a server: a page that is opened from a file
   asks Sphinx's own search, on the search page. */
"use strict";

{
  const root = new URL("..", document.currentScript.src).href;
  const MOST = 12;
  const WEIGHTS = { terms: 12, title: 3, name: 0.3, page: 0.5 }; // as search.py names them

  let engine;
  async function start() {
    if (location.protocol === "file:") throw new Error("Pagefind needs a server");
    const pagefind = await import(`${root}pagefind/pagefind.js`);
    await pagefind.options({ excerptLength: 22, ranking: { metaWeights: WEIGHTS } });
    await pagefind.init();
    return pagefind;
  }

  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function section({ url, excerpt, meta }) {
    const heading = meta.title ?? meta.name;
    const link = make("a", { href: url }, heading);
    if (heading !== meta.page) link.prepend(make("span", {}, meta.page));
    const text = make("p", {});
    text.innerHTML = excerpt; // escaped by Pagefind, with its marks
    return make("li", {}, link, text);
  }

  function attach(form) {
    const input = form.querySelector("input");
    const count = make("p", { class: "found-count", role: "status" });
    const list = make("ol", { class: "found" });
    form.after(count, list);

    async function update() {
      const pagefind = await (engine ??= start());
      const query = input.value.trim();
      const search = await pagefind.debouncedSearch(query, {}, 100);
      if (search === null) return; // the reader typed on
      const results = search.results.slice(0, MOST);
      const found = await Promise.all(results.map((result) => result.data()));
      if (query !== input.value.trim()) return;
      const total = search.results.length;
      list.replaceChildren(...found.map(section));
      list.dataset.query = query;
      count.textContent = query && `${total || "no"} section${total === 1 ? "" : "s"}`;
    }

    input.addEventListener("focus", () => update().catch(() => {}), { once: true });
    input.addEventListener("input", () => update().catch(() => {}));
    form.addEventListener("submit", (event) => {
      const best = list.querySelector("a");
      if (!best || list.dataset.query !== input.value.trim()) return;
      event.preventDefault();
      best.click();
    });
    return { input, update };
  }

  function ask_sphinx() {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false; // it would be read from a server
    for (const name of ["_static/searchtools.js", "_static/language_data.js", "searchindex.js"]) {
      const script = make("script", { src: root + name });
      script.async = false; // one after the other
      document.head.append(script);
    }
  }

  const searches = new Map();
  for (const form of document.querySelectorAll("form.bd-search")) searches.set(form, attach(form));
  const on_page = searches.get(document.querySelector(".bd-search-container form"));
  if (on_page) {
    on_page.input.value = new URLSearchParams(location.search).get("q") ?? "";
    on_page.update().catch(ask_sphinx);
  }
}
