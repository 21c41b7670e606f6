// One partition: its four stages, what is wrong with it, and what can be done about it.

import { act, ask, Refusal } from "./api.js";
import { root } from "./airflow.js";
import { CLASSES, STAGES, STAGE_WORDS, STATES, chip, duration, el, figure, glyph, when } from "./words.js";

const REFUSED_AGAIN = ["transient", "dependency", "org", "unprocessed"];

export class Panel {
  constructor(dialog, { overview, rights, onActed }) {
    this.dialog = dialog;
    this.overview = overview;
    this.rights = rights;
    this.onActed = onActed;
    this.name = null;
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => { this.name = null; });
  }

  open(name) {
    this.name = name;
    this.answer = null;
    this.asking = null;
    this.certificate = null;
    this.draw();
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector("h2")?.focus();
  }

  // Drawn again when its cell changed, but not under somebody's hands.
  refresh(names) {
    if (this.name && !this.asking && (names === null || names.includes(this.name))) this.draw();
  }

  get cell() { return this.overview.cells.get(this.name); }
  get table() { return this.overview.document.tables.find((one) => one.table === this.cell.table); }

  draw() {
    const cell = this.cell;
    if (!cell) return this.dialog.close();
    const focused = document.activeElement?.dataset?.do;
    const close = el("button", { class: "quiet", "aria-label": "Close", onclick: () => this.dialog.close() }, "Close");
    const title = el("div", { class: "grow" }, el("h2", { id: "panel-title", tabindex: -1 }, `${cell.table} ${cell.key}`), el("span", { class: "dim" }, `${this.table.object} · ${this.table.phase} · `), chip(cell.state));
    this.dialog.replaceChildren(el("div", { class: "sheet" },
      el("header", {}, title, close),
      this.#stages(cell), ...this.#trouble(cell), this.#actions(cell), this.#evidence(cell), this.#commands(cell)));
    if (focused) this.dialog.querySelector(`[data-do="${focused}"]`)?.focus();
    return undefined;
  }

  #stages(cell) {
    const rows = cell.stages.map((stage, at) => {
      const name = STAGES[at];
      const ended = stage.finished_utc ? duration(stage.started_utc, stage.finished_utc) : stage.started_utc && stage.state === "running" ? `for ${duration(stage.started_utc, this.overview.document.now_utc)}` : "";
      const count = stage.of ? `${figure(stage.rows)} of ${figure(stage.of)}` : figure(stage.rows);
      return el("tr", {},
        el("th", { scope: "row" }, glyph(stage.state), STAGE_WORDS[name], el("small", {}, STATES[stage.state][0], stage.mode === "full" ? ", full" : "")),
        el("td", { class: "n" }, count, el("small", {}, stage.rows == null ? "" : "rows")),
        el("td", {}, when(stage.started_utc), el("small", {}, [ended, stage.actor].filter(Boolean).join(", "))),
        el("td", {}, ...this.#links(stage, name)));
    });
    return el("table", { class: "stages" }, el("tbody", {}, ...rows));
  }

  #links(stage, name) {
    if (!stage.run) return [];
    if (stage.run.startsWith("kpc-")) return [el("span", { class: "dim", title: stage.run }, "command line")];
    const run = `${root}dags/${this.table.slug}__${name}/runs/${encodeURIComponent(stage.run)}`;
    const links = [el("a", { href: run, "data-airflow": true }, "run")];
    if (name !== "sf_loaded") links.push(" ", el("a", { href: `${run}/tasks/${name}`, "data-airflow": true }, "log"));
    return links;
  }

  *#trouble(cell) {
    for (const [at, stage] of cell.stages.entries()) {
      if (stage.error && stage.state !== "outdated") yield el("p", { class: "error" }, el("b", {}, `${STAGE_WORDS[STAGES[at]]}: `), stage.error);
    }
    if (cell.stopped) yield el("p", { class: "hint" }, `It stopped after ${STAGE_WORDS[cell.stopped.after]}: nothing has started ${STAGE_WORDS[cell.stopped.next]}. A DAG was paused when the event came; start that stage below.`);
    if (cell.moved) yield el("p", { class: "hint" }, "This partition changed in Oracle since it was extracted. Run it again from Extract, or accept what `kpc delta` listed.");
    if (cell.differences) yield el("div", {}, el("h3", {}, cell.state === "mismatch" ? "Source and target differ in" : "Differences, each a listed row"), el("div", {}, cell.differences.join(", ")));
    if (cell.failures) {
      const rows = cell.failures.map((one) => el("tr", {}, el("td", {}, el("code", {}, one.code), el("small", {}, CLASSES[one.class])), el("td", { class: "n" }, figure(one.rows))));
      yield el("div", {}, el("h3", {}, "Rows that are not in Salesforce, by reason"), el("table", { class: "stages" }, el("tbody", {}, ...rows)));
    }
  }

  #actions(cell) {
    const box = el("div", { class: "actions" }, el("h3", {}, "Run again"));
    if (!this.rights.may_start.includes(cell.table)) {
      box.append(el("p", { class: "dim answer" }, "You may view this page, but not start runs; that depends on your role in Airflow."));
      return box;
    }
    if (this.asking) box.append(this.#question());
    else {
      const stage = el("select", { "aria-label": "Stage to start at", "data-do": "stage" }, ...STAGES.map((name) => el("option", { value: name }, `from ${STAGE_WORDS[name]}`)));
      const mode = el("select", { "aria-label": "Rows to send", "data-do": "mode" }, el("option", { value: "incremental" }, "new and changed rows"), el("option", { value: "full" }, "all rows"));
      stage.value = cell.stopped?.next ?? "oracle_extract";
      const fit = () => { mode.hidden = stage.value !== "oracle_extract"; };
      stage.addEventListener("change", fit);
      fit();
      const start = () => this.#confirm(stage.value, stage.value === "oracle_extract" ? mode.value : null);
      box.append(el("div", { class: "row" }, stage, mode, el("button", { class: "primary", "data-do": "start", onclick: start }, "Run again")));
      const more = el("div", { class: "row" });
      if (cell.stages[2].state === "done" || cell.stages[3].state !== "planned") more.append(el("button", { "data-do": "reconcile", onclick: () => this.#confirm("reconciled", null) }, "Reconcile again"));
      if ((cell.failures ?? []).some((one) => REFUSED_AGAIN.includes(one.class))) more.append(el("button", { "data-do": "refused", onclick: () => this.#confirm("oracle_extract", "incremental", "Send the refused rows again: a new extract finds them, and whatever changed, as not loaded. Rows with wrong values are refused again until they are corrected.") }, "Send refused rows again"));
      if (more.children.length) box.append(more);
    }
    if (this.answer) box.append(this.answer);
    return box;
  }

  #confirm(stage, mode, text) {
    const what = text ?? (stage === "reconciled" ? "Compare source and target again; nothing is sent." : mode === "full" ? "Extract all rows and send every one of them again. It uses quota for each." : `Start at ${STAGE_WORDS[stage]}; the stages after it follow. What is in Salesforce already is not sent again.`);
    this.asking = { stage, mode, what };
    this.answer = null;
    this.draw();
    this.dialog.querySelector('[data-do="yes"]').focus();
  }

  #question() {
    const { what } = this.asking;
    const cancel = () => { this.asking = null; this.draw(); this.dialog.querySelector('[data-do="start"]')?.focus(); };
    const yes = el("button", { class: "primary", "data-do": "yes", onclick: () => this.#start(yes) }, "Start");
    return el("div", { class: "ask", role: "group", "aria-label": "Confirm" }, el("span", {}, what), el("div", { class: "row" }, yes, el("button", { onclick: cancel }, "Cancel")));
  }

  async #start(button) {
    button.disabled = true;
    const { stage, mode } = this.asking;
    const body = { table: this.cell.table, key: this.cell.key, stage, mode, ...this.overview.place };
    let answer;
    try {
      const run = await act("api/runs", body);
      const page = `${root}dags/${run.dag_id}/runs/${encodeURIComponent(run.run_id)}`;
      answer = el("p", { class: "answer good", role: "status" }, "Started: ", el("a", { href: page, "data-airflow": true }, run.run_id));
    } catch (error) {
      answer = el("p", { class: "error", role: "alert" }, error.message, error instanceof Refusal && error.remedy ? el("span", { class: "dim" }, ` ${error.remedy}`) : null);
    }
    this.asking = null;
    this.answer = answer;
    this.draw();
    this.onActed();
  }

  #evidence(cell) {
    const links = [];
    if (this.rights.may_read_docs) links.push(el("a", { href: `docs/partitions/${cell.table}/${cell.key}`, target: "_blank", rel: "noopener", "data-airflow": true }, "Data Docs of this partition"));
    const box = el("div", {}, el("h3", {}, "Evidence"), el("div", {}, ...links));
    if (cell.certificate && this.rights.may_read_certificates.includes(cell.table)) {
      box.append(this.certificate ?? el("button", { class: "quiet", "data-do": "certificate", onclick: () => this.#show(cell) }, `Certificate ${cell.certificate.slice(0, 12)}…`));
    }
    return links.length || box.children.length > 2 ? box : null;
  }

  async #show(cell) {
    try {
      const found = await ask(`api/certificates/${cell.table}/${cell.key}?${new URLSearchParams(this.overview.place)}`);
      const exceptions = Object.entries(found.exceptions).map(([reason, rows]) => `${reason} ${figure(rows)}`).join(", ");
      const facts = {
        State: STATES[found.state][0], Compared: `${figure(found.coverage.compared)} of ${figure(found.coverage.expected)} records (${found.coverage.kind})`,
        "Numbers that agree": `${found.comparisons.filter((one) => one.agrees).length} of ${found.comparisons.length}`,
        Exceptions: exceptions || "none", "Corrected rows": figure(found.corrected), SCN: String(found.scn), Issued: `${found.issued_utc.slice(0, 19).replace("T", " ")} UTC by ${found.issued_by}`,
        sha256: found.sha256, Signature: found.signature ? "Ed25519" : "none",
      };
      this.certificate = el("dl", { class: "facts" }, ...Object.entries(facts).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    } catch (error) {
      this.certificate = el("p", { class: "error" }, error.message);
    }
    this.draw();
  }

  #commands(cell) {
    const place = `${cell.table} ${cell.key}`;
    const list = [["Everything the ledger knows", `kpc show ${place}`]];
    if (cell.failures) {
      list.push(["The refused rows by key (restricted: for those who may see them)", `kpc failed ${place}`]);
      if (cell.failures.some((one) => REFUSED_AGAIN.includes(one.class))) list.push(["Send them again at once, without a batch", `kpc failed ${place} --retry`]);
      if (cell.failures.some((one) => one.class === "data")) list.push(["Correct rows in a spreadsheet, then send them", `kpc failed ${place} --export refused.csv`]);
    }
    if (cell.state === "mismatch") list.push(["List the differing records", `kpc reconcile ${place}`]);
    if (cell.stages[2].state === "done") list.push(["What a rollback would do (nothing is done without --yes)", `kpc rollback ${place}`]);
    return el("div", {}, el("h3", {}, "On the command line"), el("dl", { class: "commands" }, ...list.flatMap(([what, command]) => [el("dt", {}, what), el("dd", {}, el("code", {}, command))])));
  }
}
