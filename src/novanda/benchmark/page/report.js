"use strict";
// Sorting: a column's name is a button; ascending, descending, and back to the order of the page.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const words = cell.textContent.trim();
    return words === "" || cell.classList.contains("missing") ? null : words;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      const rows = [...original];
      if (next !== "none") {
        rows.sort((left, right) => {
          const [a, b] = [key(left, column), key(right, column)];
          if (a === null || b === null) return (a === null) - (b === null); // what is missing stands last either way
          return next === "ascending" ? compare(a, b) : compare(b, a);
        });
      }
      body.append(...rows);
    });
  });
}

// Filtering: rows and result lines that hold every word.
const filter = document.getElementById("filter");
filter.closest(".filter").hidden = false;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const each of document.querySelectorAll("tbody tr, details.line")) {
    const text = (each.matches("tr") ? each : each.querySelector("summary")).textContent.toLowerCase();
    each.hidden = !words.every((word) => text.includes(word));
    shown += each.hidden ? 0 : 1;
  }
  document.getElementById("found").textContent = words.length ? `${shown} rows and lines` : "";
});

// Following a figure: unfold what it leads to, even where the filter hid it.
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.hidden = false;
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus({ preventScroll: true });
  }
};
addEventListener("hashchange", unfold);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link && link.getAttribute("href") === location.hash) unfold();
});
unfold();
