// The page: asks for the overview every few seconds and keeps its parts up to date.

import { follow, keepTheme, root } from "./airflow.js";
import { Overview, Refusal, act, ask } from "./api.js";
import { cards, pauses, withoutWorker } from "./cards.js";
import { Grid } from "./grid.js";
import { Panel } from "./panel.js";
import { timeline } from "./timeline.js";
import { STATES, el, figure, glyph, svg, time } from "./words.js";

const BUSY_MS = 3000;
const QUIET_MS = 10000;
const UNDER_WAY = ["queued", "running", "waiting"];

const by = (id) => document.getElementById(id);
const overview = new Overview();
const filter = { text: "", phase: "", state: "" };
let rights = { may_start: [], may_pause: [], may_read_certificates: [] };
let reports = []; // names of the sign-off reports, newest first
let grid, panel, timer;
let view = "matrix";
let fresh = null; // when the figures were read, by the browser's clock
let lost = null; // since when nothing can be read

function wanted(cell) {
  if (filter.state === "failures") return Boolean(cell.failures);
  if (filter.state === "moved") return Boolean(cell.moved);
  return !filter.state || cell.state === filter.state || cell.stages.some((stage) => stage.state === filter.state);
}

function listed() {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const dates = words.filter((word) => /^\d/.test(word));
  const names = words.filter((word) => !/^\d/.test(word));
  const all = overview.document.tables.filter((table) => (!filter.phase || table.phase === filter.phase)
    && names.every((word) => `${table.table} ${table.object}`.toLowerCase().includes(word)));
  const hit = (table) => table.keys.some((key) => { const cell = overview.cells.get(`${table.table} ${key}`); return cell && wanted(cell); });
  const tables = filter.state ? all.filter(hit) : all;
  const keys = new Set(tables.flatMap((table) => table.keys));
  const months = overview.document.months.filter((month) => keys.has(month) && dates.every((word) => month.includes(word)));
  return { tables, months, wanted };
}

function build() {
  const chosen = listed();
  by("found").textContent = filter.text || filter.phase || filter.state ? countOf(chosen) : "";
  if (view === "matrix") grid.build(overview, chosen);
  else drawTimeline(chosen.tables);
}

function countOf({ tables, months }) {
  const shown = tables.flatMap((table) => table.keys.filter((key) => key === "ALL" || months.includes(key)).map((key) => overview.cells.get(`${table.table} ${key}`)));
  return `${figure(shown.filter((cell) => cell && wanted(cell)).length)} partitions`;
}

function drawTimeline(tables = listed().tables) {
  by("timeline").replaceChildren(timeline(overview, tables, by("timeline").clientWidth || by("matrix").clientWidth || 800));
}

function drawSummary() {
  by("cards").replaceChildren(...cards(overview.document, reports, (state) => { by("state").value = state; filter.state = state; build(); }));
  by("pauses").replaceChildren(...pauses(overview.document, resumeButton));
  const all = by("pause-all");
  const isPaused = overview.document.pauses.some((one) => one.kind === "all");
  all.hidden = !rights.may_pause_all || isPaused;
  all.replaceChildren(icon("pause"), "Pause all loads");
  const one = overview.document.environment;
  by("place").textContent = `${one.source_id} to ${one.target_id}`;
  drawCampaign(overview.document.campaign);
  drawEnvironments();
}

// A report is written with each sign-off: they are listed again when the sign-offs changed.
async function listReports() {
  const signed = JSON.stringify(overview.document.sign_offs);
  if (!rights.may_read_docs || listReports.signed === signed) return;
  listReports.signed = signed;
  try { reports = (await ask("api/reports")).reports; } catch { return; /* the page is complete without links to them */ }
  if (reports.length) drawSummary();
}

function drawCampaign(campaign) {
  const link = by("campaign");
  const mayStart = rights.may_start.length > 0;
  link.hidden = !campaign && !mayStart;
  link.href = campaign ? `${root}dags/campaign/runs/${encodeURIComponent(campaign.run_id)}` : `${root}dags/campaign`;
  if (campaign?.run_id.startsWith("kpc-")) link.href = `${root}dags/campaign`;
  link.textContent = campaign ? `Campaign ${campaign.id}: ${campaign.state}` : "Start a campaign";
  link.title = campaign ? `${campaign.mode}, started by ${campaign.actor}${campaign.reason ? `; ${campaign.reason}` : ""}` : "";
}

function drawEnvironments() {
  const known = overview.document.environments;
  const choice = by("environment");
  choice.hidden = by("place").hidden = false;
  if (known.length < 2) { choice.hidden = true; return; }
  by("place").hidden = true;
  const names = known.map((one) => `${one.source_id} to ${one.target_id}`);
  if (choice.options.length !== names.length) choice.replaceChildren(...names.map((name, at) => el("option", { value: at }, name)));
  choice.value = String(known.findIndex((one) => one.source_id === overview.document.environment.source_id && one.target_id === overview.document.environment.target_id));
}

const icon = (name) => svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("use", { href: `#g-${name}` }));

function mayPause(kind, name) {
  if (kind === "table") return rights.may_pause.includes(name);
  if (kind === "all") return rights.may_pause_all;
  return overview.document.tables.filter((table) => table.phase === name).every((table) => rights.may_pause.includes(table.table));
}

function pauseButton(kind, name) {
  if (!mayPause(kind, name)) return null;
  const isPaused = overview.document.pauses.some((one) => one.kind === kind && one.name === name);
  const word = `${isPaused ? "Resume" : "Pause"} loads of ${kind === "phase" ? "phase " : ""}${name}`;
  const press = (event) => { event.stopPropagation(); if (isPaused) change("resume", { kind, name }); else askReason(kind, name); };
  return el("button", { class: "quiet", "aria-label": word, title: word, onclick: press }, icon(isPaused ? "resume" : "pause"));
}

function resumeButton(one) {
  if (!mayPause(one.kind, one.name)) return null;
  return el("button", { onclick: () => change("resume", { kind: one.kind, name: one.name }) }, icon("resume"), "Resume");
}

function askReason(kind, name) {
  const reason = el("input", { type: "text", maxlength: 500, placeholder: "Reason (shown to everybody)", "aria-label": "Reason" });
  const dialog = by("panel");
  const pause = () => { dialog.close(); change("pause", { kind, name, reason: reason.value }); };
  reason.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // the focus returns to the button that asked, which must not take the key
    pause();
  });
  const what = kind === "all" ? "Pause all loads" : `Pause loads of ${kind === "phase" ? "phase " : ""}${name}`;
  dialog.replaceChildren(el("div", { class: "sheet" }, el("header", {}, el("h2", { id: "panel-title" }, what)),
    el("p", { class: "answer" }, "No new ingest jobs are created; running jobs continue to their end, and every task waits until the pause ends."), reason,
    el("div", { class: "row actions" }, el("button", { class: "primary", onclick: pause }, "Pause"), el("button", { onclick: () => dialog.close() }, "Cancel"))));
  dialog.showModal();
  reason.focus();
}

async function change(action, body) {
  try { await act(`api/${action}`, { ...body, ...overview.place }); } catch (error) { trouble(error); return; }
  look();
}

function trouble(error) {
  const lines = [];
  by("banner").classList.toggle("calm", isFirstDay(error));
  if (isFirstDay(error)) {
    lines.push(el("p", {}, error.message), el("p", {}, "Start one with the DAG ", el("a", { href: `${root}dags/campaign`, "data-airflow": true }, "campaign"), ": Trigger, and fill in its form. This page then updates by itself."));
    if (error.unserved.length) lines.push(el("ul", {}, ...withoutWorker(error.unserved)));
  } else if (error instanceof Refusal && error.status === 401) {
    lines.push(el("p", {}, "Your session has ended. ", el("a", { href: `${root}auth/login?next=${encodeURIComponent(root)}`, "data-airflow": true }, "Log in to Airflow again.")));
  } else if (error instanceof Refusal) {
    lines.push(el("p", {}, error.message), error.remedy ? el("p", {}, error.remedy) : "");
  } else {
    lines.push(el("p", {}, `Airflow's api-server has not answered since ${time(lost ?? Date.now())}. This page tries again by itself.`));
  }
  if (fresh && overview.document) lines.push(el("p", {}, `What you see is from ${time(fresh)}.`));
  by("banner").replaceChildren(...lines);
  by("banner").hidden = false;
}

// Nothing was planned yet, which is no trouble.
const isFirstDay = (error) => error instanceof Refusal && error.status === 404 && !overview.document;

function say() {
  const live = by("live");
  live.classList.toggle("stale", lost !== null);
  live.textContent = lost !== null ? (fresh ? `from ${time(fresh)}` : "no answer") : `live, ${time(fresh)}`;
}

async function look() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const names = await overview.look();
    fresh = Date.now();
    lost = null;
    by("banner").hidden = true;
    show(names);
  } catch (error) {
    if (isFirstDay(error)) [fresh, lost] = [Date.now(), null];
    else lost ??= Date.now();
    trouble(error);
  }
  say();
  const states = overview.document?.totals.by_state ?? {};
  timer = setTimeout(look, UNDER_WAY.some((state) => states[state]) || lost || !overview.document ? BUSY_MS : QUIET_MS);
}

function show(names) {
  if (names === false) return;
  document.querySelector("main").hidden = false;
  document.querySelector("main").dataset.ready = "yes";
  drawSummary();
  listReports();
  if (names === null) { fillChoices(); build(); }
  else if (view === "matrix" && !filter.state) grid.update(names);
  else build();
  panel.refresh(names);
}

function fillChoices() {
  const chosen = filter.phase;
  by("phase").replaceChildren(el("option", { value: "" }, "All phases"), ...overview.document.phases.map((one) => el("option", { value: one.phase }, one.phase)));
  by("phase").value = chosen;
}

function prepare() {
  by("state").append(...Object.entries(STATES).map(([state, [word]]) => el("option", { value: state }, word)), el("option", { value: "failures" }, "refused rows"), el("option", { value: "moved" }, "changed in Oracle"));
  by("legend-list").append(el("p", {}, "Each cell shows Extract, Stage, Load and Reconcile, from the left. A red dot: refused rows, or changed in Oracle since."),
    ...Object.entries(STATES).flatMap(([state, [word, meaning]]) => [glyph(state), el("b", {}, word), el("span", { class: "dim" }, meaning)]));
  let wait;
  by("search").addEventListener("input", (event) => { clearTimeout(wait); wait = setTimeout(() => { filter.text = event.target.value; build(); }, 120); });
  for (const name of ["phase", "state"]) by(name).addEventListener("change", (event) => { filter[name] = event.target.value; build(); });
  for (const name of ["matrix", "timeline"]) by(`view-${name}`).addEventListener("click", () => turnTo(name));
  by("pause-all").addEventListener("click", () => askReason("all", "all"));
  by("environment").addEventListener("change", (event) => { overview.choose(overview.document.environments[Number(event.target.value)]); look(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  document.addEventListener("click", follow);
  document.addEventListener("auxclick", follow);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select, dialog")) { event.preventDefault(); by("search").focus(); }
    if (event.key === "Escape" && by("legend").open) by("legend").open = false;
  });
  window.addEventListener("resize", () => { if (view === "timeline" && overview.document) drawTimeline(); });
}

function turnTo(name) {
  view = name;
  for (const each of ["matrix", "timeline"]) {
    by(each).hidden = each !== name;
    by(`view-${each}`).setAttribute("aria-pressed", String(each === name));
  }
  build();
}

async function begin() {
  keepTheme();
  prepare();
  const options = { onOpen: (name) => panel.open(name), pauseButton };
  grid = new Grid(by("matrix"), options);
  for (;;) {
    try { rights = await ask("api/me"); break; } catch (error) { lost ??= Date.now(); trouble(error); say(); }
    await new Promise((resolve) => { setTimeout(resolve, BUSY_MS); });
  }
  by("docs").hidden = !rights.may_read_docs;
  panel = new Panel(by("panel"), { overview, rights, onActed: look });
  look();
}

begin();
