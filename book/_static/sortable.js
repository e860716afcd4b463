// A click on the heading of a column sorts the table by it, and a second one backwards.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const text = (row) => row.cells[column].textContent.replaceAll(",", "");
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const sign = head.ariaSort === "ascending" ? -1 : 1;
      heads.forEach((other) => (other.ariaSort = null));
      head.ariaSort = sign > 0 ? "ascending" : "descending";
      const order = (a, b) =>
        sign * text(a).localeCompare(text(b), "en", { numeric: true });
      body.append(...[...body.rows].sort(order));
    });
  });
}
