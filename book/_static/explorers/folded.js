/* Explorers inside a chapter: the scripts of one are loaded when a reader opens it, or comes
   by an address that holds its state. */
"use strict";

{
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const asked = new Set();

  function load(name) {
    for (const script of ["kit", name]) {
      if (asked.has(script)) continue;
      asked.add(script);
      const loaded = document.createElement("script");
      loaded.src = `${folder}${script}.js`;
      loaded.async = false; // one after the other
      document.head.append(loaded);
    }
  }

  for (const place of document.querySelectorAll("details.explorer-folded")) {
    const { explorer } = place.querySelector("[data-explorer]").dataset;
    place.addEventListener("toggle", () => load(explorer), { once: true });
    const arrive = () => {
      if (!location.hash.startsWith(`#explore-${explorer}?`)) return;
      place.open = true;
      place.scrollIntoView();
    };
    addEventListener("hashchange", arrive);
    arrive();
  }
}
