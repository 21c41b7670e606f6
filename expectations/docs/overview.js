// Filters, search and sorting of the overview. Without JavaScript the page shows every partition in load order.
"use strict";
(() => {
  const form = document.getElementById("filters");
  const table = document.getElementById("partitions");
  const [search, tableName, state] = ["search", "table", "state"].map((id) => document.getElementById(id));
  const bodies = [...table.tBodies].map((body) => ({
    body,
    heading: body.rows[0],
    rows: [...body.rows].slice(1),
  }));

  function matches(row) {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = row.dataset.words.toLowerCase();
    return (!tableName.value || row.dataset.table === tableName.value)
      && (!state.value || row.dataset.state === state.value)
      && words.every((word) => text.includes(word));
  }

  function filter() {
    let shown = 0;
    let all = 0;
    for (const { heading, rows } of bodies) {
      let here = 0;
      for (const row of rows) {
        row.hidden = !matches(row);
        here += row.hidden ? 0 : 1;
      }
      heading.hidden = here === 0;
      shown += here;
      all += rows.length;
    }
    const filtered = shown < all;
    document.getElementById("shown").textContent = filtered ? `${shown} of ${all}` : "";
    document.getElementById("empty").hidden = shown > 0;
    table.classList.toggle("filtered", filtered);
    remember();
  }

  // The filter is part of the URL, so that it can be shared and survives a reload.
  function remember() {
    const query = new URLSearchParams();
    for (const field of [search, tableName, state]) {
      if (field.value) query.set(field.id, field.value);
    }
    const text = query.toString();
    try {
      history.replaceState(null, "", (text ? "?" + text : location.pathname) + location.hash);
    } catch {
      // A page opened from a folder may not change its URL.
    }
  }

  function recall() {
    const query = new URLSearchParams(location.search);
    for (const field of [search, tableName, state]) field.value = query.get(field.id) ?? "";
  }

  function valueOf(row, column, kind) {
    const cell = row.cells[column]; // a partition without a result has one cell for all of them
    if (!cell || cell.colSpan > 1) return kind === "text" ? "" : -Infinity;
    const text = cell.dataset.value ?? cell.querySelector("time")?.dateTime ?? cell.textContent.trim();
    if (kind === "text") return text;
    const number = Number(text.replaceAll(",", "").replace("\u2212", "-").replace("+", ""));
    return text === "" || Number.isNaN(number) ? -Infinity : number;
  }

  function sortBy(heading, column) {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const kind = heading.dataset.sort;
    for (const { body, rows } of bodies) {
      rows.sort((a, b) => {
        const [x, y] = [valueOf(a, column, kind), valueOf(b, column, kind)];
        const order = kind === "text" ? x.localeCompare(y) : x - y;
        return (Number.isNaN(order) ? 0 : order) * (down ? -1 : 1);
      });
      body.append(...rows);
    }
  }

  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    if (!heading.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(heading, column));
    heading.append(button);
  });

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  document.getElementById("clear").addEventListener("click", () => form.reset());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      search.focus();
    }
  });
  for (const time of document.querySelectorAll("time")) {
    time.title = new Date(time.dateTime).toLocaleString() + " local time";
  }
  form.hidden = false;
  recall();
  filter();
})();
