// The summary above the matrix, and the list of pauses.

import { root } from "./airflow.js";
import { STATES, brief, el, figure, glyph, when } from "./words.js";

const BARS = [["reconciled", "b-reconciled"], ["reconciled_with_exceptions", "b-warn"], ["sampled", "b-warn"], ["running", "b-running"], ["waiting", "b-running"], ["queued", "b-running"], ["done", "b-done"], ["stopped", "b-warn"], ["interrupted", "b-warn"], ["failed", "b-bad"], ["mismatch", "b-bad"]];
const TROUBLE = ["mismatch", "failed", "interrupted", "stopped", "rolled_back", "sampled", "reconciled_with_exceptions"];

// `reports` are the names of the sign-off reports, newest first.
export function cards(document, reports, onState) {
  return [reconciled(document), records(document), quota(document.quota), finish(document.estimate), attention(document, onState), signOffs(document, reports)].filter(Boolean);
}

const card = (title, ...children) => el("div", { class: "card" }, el("h2", {}, title), ...children);

function bar(parts, total, label) {
  const made = el("div", { class: "bar", role: "img", "aria-label": label });
  for (const [name, value] of parts) {
    if (!value) continue;
    const part = el("i", { class: name });
    part.style.width = `${Math.max(0.6, (100 * value) / Math.max(1, total))}%`;
    made.append(part);
  }
  return made;
}

function reconciled({ totals }) {
  const states = totals.by_state;
  const passed = (states.reconciled ?? 0) + (states.reconciled_with_exceptions ?? 0);
  const more = Object.entries(states).filter(([state]) => !["reconciled", "planned"].includes(state)).map(([state, count]) => `${figure(count)} ${STATES[state][0]}`);
  const label = Object.entries(states).map(([state, count]) => `${count} ${STATES[state][0]}`).join(", ");
  return card("Partitions reconciled",
    el("div", { class: "figure" }, figure(passed), " ", el("small", {}, `of ${figure(totals.partitions)}`)),
    bar(BARS.map(([state, name]) => [name, states[state]]), totals.partitions, label),
    el("div", { class: "note" }, more.slice(0, 3).join(", ") || (passed ? "all without exceptions" : "nothing has started")));
}

function records({ totals, quota: used }) {
  return card("Records loaded",
    el("div", { class: "figure", title: figure(totals.arrived) }, brief(totals.arrived), " ", el("small", {}, `of ${brief(totals.rows.oracle_extract)} extracted`)),
    el("div", { class: "note" }, `${figure(Math.round(totals.rows_per_s))} records/s in the last 5 minutes`),
    el("div", { class: "note" }, `${figure(used.jobs_in_flight)} of ${figure(used.jobs_at_once)} ingest jobs in flight`));
}

function quota(facts) {
  const rows = facts.rows;
  const lines = [`${brief(rows.free)} records free; batches ${figure(facts.batches.used)} of ${figure(facts.batches.allowed)}`];
  if (rows.others) lines.push(`${brief(rows.others)} by other software`);
  const made = card("Quota, rolling 24 h",
    el("div", { class: "figure" }, brief(rows.used), " ", el("small", {}, `of ${brief(rows.allowed)} records`)),
    bar([["b-used", rows.used], ["b-others", rows.others]], rows.allowed, `${figure(rows.used)} of ${figure(rows.allowed)} records used, ${figure(rows.others)} by other software`),
    el("div", { class: "note" }, lines.join("; ")));
  if (facts.blocked_until_utc) made.append(el("div", { class: "note bad" }, "No new job before ", when(facts.blocked_until_utc), `: ${facts.blocked_reason}`));
  else if (!rows.free && facts.next_free_utc) made.append(el("div", { class: "note warn" }, "more is free from ", when(facts.next_free_utc)));
  return made;
}

const LIMITS = { "nothing left": "nothing is left to do", extracting: "limited by reading from Oracle", loading: "limited by the org's rate", quota: "limited by the quota", comparing: "limited by the comparison" };

function finish(estimate) {
  if (!estimate) return null;
  const isOver = estimate.limited_by === "nothing left";
  const figureOf = isOver ? "done" : estimate.finish_utc ? when(estimate.finish_utc) : "not foreseeable";
  const rate = isOver ? "" : `${figure(Math.round(estimate.load_rows_per_s))} records/s ${estimate.is_rate_measured ? "measured" : "assumed"}; ${brief(estimate.left.to_send)} left to send`;
  return card("Estimated finish", el("div", { class: "figure", title: estimate.summary }, figureOf),
    el("div", { class: "note" }, `${LIMITS[estimate.limited_by]}${estimate.is_paused ? "; as if resumed now" : ""}`), el("div", { class: "note" }, rate));
}

// Queues whose tasks no worker takes, as list items.
export const withoutWorker = (unserved) => unserved.map((one) => el("li", { class: "bad" }, glyph("failed"), el("span", {}, `No worker takes tasks of the queue ${one.queue}: ${figure(one.tasks)} ${one.tasks === 1 ? "task has" : "tasks have"} waited since `, when(one.since_utc))));

function attention(document, onState) {
  const { totals } = document;
  const list = el("ul", {}, ...withoutWorker(document.unserved));
  for (const state of TROUBLE) {
    const count = totals.by_state[state];
    if (count) list.append(el("li", {}, glyph(state), el("button", { onclick: () => onState(state) }, `${figure(count)} ${STATES[state][0]}`)));
  }
  const refused = Object.values(totals.failures).reduce((sum, rows) => sum + rows, 0);
  if (refused) {
    const classes = Object.entries(totals.failures).map(([name, rows]) => `${name} ${figure(rows)}`).join(", ");
    list.append(el("li", {}, el("button", { onclick: () => onState("failures") }, `${figure(refused)} refused ${refused === 1 ? "row" : "rows"}: ${classes}`)));
  }
  if (totals.moved) list.append(el("li", {}, el("button", { onclick: () => onState("moved") }, `${figure(totals.moved)} changed in Oracle since`)));
  const waiting = document.awaiting.length;
  if (waiting) list.append(el("li", {}, glyph("waiting"), el("a", { href: `${root}required_actions?response_received=false`, "data-airflow": true }, `${waiting} sign-${waiting === 1 ? "off waits" : "offs wait"} for an answer`)));
  if (!list.children.length) list.append(el("li", { class: "dim" }, "nothing"));
  const made = card("Needs attention", list);
  made.classList.add("two");
  return made;
}

function signOffs(document, reports) {
  const list = el("ul");
  for (const subject of [...document.phases.map((one) => one.phase), "migration"]) {
    const made = document.sign_offs.find((one) => one.subject === subject);
    const isOpen = !made || made.stands === false;
    const isWaiting = document.awaiting.includes(subject);
    const state = isWaiting ? "waiting" : isOpen ? "planned" : made.decision === "refused" ? "failed" : "reconciled";
    const text = !made ? (isWaiting ? "waiting" : "open") : made.stands === false ? `by ${made.actor}, no longer stands` : `${made.decision} by ${made.actor}, `;
    const name = el("a", { href: `${root}dags/sign_off_${subject.replaceAll("-", "_")}`, title: "Requests for this sign-off in Airflow", "data-airflow": true }, subject);
    const words = el("span", {}, name, `: ${text}`, made && made.stands !== false ? when(made.signed_utc) : null);
    const report = reports.find((one) => one.startsWith(`${subject}-`));
    if (report) words.append(" · ", el("a", { href: `docs/reports/${report}`, target: "_blank", rel: "noopener", "data-airflow": true }, "report"));
    list.append(el("li", { title: made ? made.identified : "" }, glyph(state), words));
  }
  const other = document.sign_offs.filter((one) => ![...document.phases.map((phase) => phase.phase), "migration"].includes(one.subject));
  if (other.length) list.append(el("li", { class: "dim", title: other.map((one) => `${one.subject}: ${one.decision} by ${one.actor}`).join("\n") }, `and ${other.length} about rows or changes`));
  const card_ = card("Sign-offs", list);
  card_.classList.add("two");
  return card_;
}

export function pauses(document, onResume) {
  return document.pauses.map((one) => {
    const what = one.kind === "all" ? "All loads are paused" : `Loads of ${one.kind === "phase" ? "phase " : ""}${one.name} are paused`;
    const button = onResume(one);
    return el("div", { class: "paused" }, el("b", {}, what), el("span", { class: "dim" }, `by ${one.actor} since `, when(one.paused_utc), one.reason ? `: ${one.reason}` : "", ". Running jobs continue to their end."), button);
  });
}
