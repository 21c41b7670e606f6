// The matrix of tables and months: built once, then only cells that changed are drawn again.

import { STAGES, STAGE_WORDS, STATES, brief, el, figure, fourGlyphs, glyph, spoken } from "./words.js";

const ROOMY_UP_TO = 14; // months that leave room for figures in their cells
const PASSED = ["reconciled", "reconciled_with_exceptions"];

export class Grid {
  constructor(place, { onOpen, pauseButton }) {
    this.place = place;
    this.onOpen = onOpen;
    this.pauseButton = pauseButton;
    this.boxes = new Map();
    this.rows = new Map();
    this.current = null;
    place.addEventListener("keydown", (event) => this.#press(event));
    place.addEventListener("click", (event) => {
      const box = event.target.closest("td.cell");
      if (box) this.#open(box);
    });
  }

  // `wanted` says of a cell whether the filter lets it stand out, `tables` and `months` what is listed at all.
  build(overview, { tables, months, wanted }) {
    const focused = document.activeElement?.closest?.("td.cell")?.dataset.name;
    this.overview = overview;
    this.wanted = wanted;
    this.months = months;
    this.boxes.clear();
    this.rows.clear();
    const body = el("tbody");
    let phase = "";
    for (const table of tables) {
      if (table.phase !== phase) body.append(this.#phaseRow((phase = table.phase)));
      body.append(this.#tableRow(table));
    }
    const attributes = { class: `grid${months.length <= ROOMY_UP_TO ? " roomy" : ""}`, role: "grid", "aria-label": "Tables by month", "aria-colcount": months.length + 1 };
    const left = this.place.scrollLeft;
    this.place.replaceChildren(el("table", attributes, this.#head(), body));
    this.place.scrollLeft = left;
    const first = this.boxes.get(this.current) ?? this.boxes.values().next().value;
    if (first) this.#enter(first, { moves: focused != null });
  }

  update(names) {
    for (const name of names) {
      const box = this.boxes.get(name);
      if (box) this.#fill(box, this.overview.cells.get(name));
    }
    for (const draw of this.rows.values()) draw();
  }

  #head() {
    if (!this.months.length) return el("thead", {}, el("tr", {}, el("th", { class: "first", scope: "col" }, "Table"), el("th", { scope: "col" }, "")));
    const years = new Map();
    for (const month of this.months) years.set(month.slice(0, 4), (years.get(month.slice(0, 4)) ?? 0) + 1);
    const top = el("tr", {}, el("th", { class: "first", rowspan: 2, scope: "col" }, "Table"));
    for (const [year, count] of years) top.append(el("th", { class: "year", colspan: count, scope: "colgroup" }, year));
    const low = el("tr", {}, ...this.months.map((month) => el("th", { scope: "col", "aria-label": month }, month.slice(5))));
    return el("thead", {}, top, low);
  }

  #phaseRow(phase) {
    const label = el("div", {}, el("p", {}, el("b", {}, phase)));
    const rest = el("div");
    const draw = () => {
      const facts = this.overview.document.phases.find((one) => one.phase === phase);
      const passed = PASSED.reduce((sum, state) => sum + (facts?.by_state[state] ?? 0), 0);
      const signed = this.overview.document.sign_offs.find((one) => one.subject === phase);
      const decision = !signed ? "not signed off" : signed.stands === false ? `${signed.decision} by ${signed.actor}, no longer valid` : `${signed.decision} by ${signed.actor}`;
      rest.replaceChildren(`${figure(passed)} of ${figure(facts?.partitions ?? 0)} partitions reconciled; ${decision}`);
      label.querySelector("button")?.remove();
      const button = this.pauseButton("phase", phase);
      if (button) label.append(button);
    };
    draw();
    this.rows.set(`phase ${phase}`, draw);
    const name = el("th", { class: "name", scope: "rowgroup" }, label);
    return el("tr", { class: "phase" }, name, el("th", { class: "rest", colspan: Math.max(1, this.months.length) }, rest));
  }

  #tableRow(table) {
    const cells = table.keys.map((key) => this.overview.cells.get(`${table.table} ${key}`)).filter(Boolean);
    const note = el("span");
    const label = el("div", {}, el("p", {}, el("b", { title: `${table.table}, ${table.object}` }, table.table), note));
    const draw = () => {
      const mine = table.keys.map((key) => this.overview.cells.get(`${table.table} ${key}`)).filter(Boolean);
      const passed = mine.filter((cell) => PASSED.includes(cell.state)).length;
      const rows = mine.reduce((sum, cell) => sum + (cell.rows ?? 0), 0);
      note.replaceChildren(table.is_monthly || mine.length > 1 ? `${passed} of ${mine.length} · ${brief(rows)} records` : "");
      label.querySelector("button")?.remove();
      const button = this.pauseButton("table", table.table);
      if (button) label.append(button);
    };
    draw();
    this.rows.set(table.table, draw);
    const row = el("tr", { role: "row" }, el("th", { class: "name", scope: "row" }, label));
    const whole = table.keys.length === 1 && cells.find((cell) => cell.key === "ALL");
    if (whole) row.append(this.#box(whole, "cell wide", Math.max(1, this.months.length)));
    for (const month of whole ? [] : this.months) {
      const cell = this.overview.cells.get(`${table.table} ${month}`);
      row.append(cell ? this.#box(cell, `cell month${month.endsWith("-01") ? " january" : ""}`) : el("td", { class: "month" }));
    }
    return row;
  }

  #box(cell, kind, span) {
    const name = `${cell.table} ${cell.key}`;
    const box = el("td", { role: "gridcell", tabindex: -1, colspan: span, "data-name": name, "data-kind": kind, "aria-haspopup": "dialog" });
    this.boxes.set(name, box);
    this.#fill(box, cell);
    return box;
  }

  #fill(box, cell) {
    box.className = `${box.dataset.kind} c-${cell.state}${this.wanted(cell) ? "" : " dimmed"}`;
    box.setAttribute("aria-label", spoken(cell));
    box.title = spoken(cell);
    const inner = el("div");
    if (box.dataset.kind.includes("wide")) inner.append(...cell.stages.map(wideStage));
    else {
      inner.append(fourGlyphs(cell.stages.map((stage) => stage.state)));
      if (this.months.length <= ROOMY_UP_TO) inner.append(el("span", { class: "rows" }, brief(cell.rows)));
    }
    if (cell.failures || cell.moved) inner.append(el("i", { class: "flag" }));
    box.replaceChildren(inner);
  }

  #press(event) {
    const box = event.target.closest("td.cell");
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#open(box);
      return;
    }
    const next = this.#next(box, event.key);
    if (next === undefined) return;
    event.preventDefault();
    if (next) this.#enter(next, { moves: true });
  }

  #next(box, key) {
    const row = [...box.parentElement.querySelectorAll("td.cell")];
    const at = row.indexOf(box);
    switch (key) {
      case "ArrowRight": return row[at + 1] ?? null;
      case "ArrowLeft": return row[at - 1] ?? null;
      case "Home": return row[0];
      case "End": return row.at(-1);
      case "ArrowDown": return this.#vertical(box, 1);
      case "ArrowUp": return this.#vertical(box, -1);
      default: return undefined;
    }
  }

  #vertical(box, step) {
    if (!box.classList.contains("wide")) this.column = box.cellIndex;
    let row = step > 0 ? box.parentElement.nextElementSibling : box.parentElement.previousElementSibling;
    while (row && !row.querySelector("td.cell")) row = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    if (!row) return null;
    const wanted = row.cells[this.column ?? 1];
    return wanted?.classList.contains("cell") ? wanted : row.querySelector("td.cell");
  }

  #enter(box, { moves }) {
    this.boxes.get(this.current)?.setAttribute("tabindex", "-1");
    this.current = box.dataset.name;
    box.setAttribute("tabindex", "0");
    if (moves) box.focus();
  }

  #open(box) {
    this.#enter(box, { moves: true });
    this.onOpen(box.dataset.name);
  }
}

function wideStage(stage, at) {
  const rows = stage.of ? `${brief(stage.rows)} of ${brief(stage.of)}` : brief(stage.rows);
  const word = ["done", "planned"].includes(stage.state) ? STAGE_WORDS[STAGES[at]] : `${STAGE_WORDS[STAGES[at]]}: ${STATES[stage.state][0]}`;
  const isVerdict = STAGES[at] === "reconciled" && !["planned", "queued", "running", "waiting", "interrupted", "failed", "outdated", "rolled_back"].includes(stage.state);
  const label = isVerdict ? STATES[stage.state][0].replace(/^./, (letter) => letter.toUpperCase()) : word;
  return el("span", { class: "stage" }, glyph(stage.state), label, rows ? el("em", {}, rows) : null);
}
