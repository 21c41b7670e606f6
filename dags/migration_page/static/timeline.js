// The campaign over time: one row for each table, one lane for each stage; outlined, what is still planned.

import { STAGES, STAGE_WORDS, el, svg } from "./words.js";

const ROW = 34;
const LANE = 7;
const TOP = 26;
const STEPS_S = [60, 300, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800, 604800, 1209600, 2592000];

export function timeline(overview, tables, width) {
  const { document: facts, cells } = overview;
  const left = width < 600 ? 120 : 190;
  const bars = tables.flatMap((table, row) => runsOf(table, row, cells, facts.now_utc));
  const plans = facts.planned.flatMap((plan) => {
    const row = tables.findIndex((table) => table.table === plan.table);
    return row < 0 ? [] : [{ row, from: Date.parse(plan.start_utc), to: Date.parse(plan.finish_utc) }];
  });
  if (!bars.length && !plans.length) return el("p", { class: "tl-note" }, "Nothing has started yet.");
  const now = Date.parse(facts.now_utc);
  const from = Math.min(...[...bars, ...plans].map((bar) => bar.from));
  const to = Math.max(now, ...[...bars, ...plans].map((bar) => bar.to));
  const span = Math.max(60000, to - from) * 1.02;
  const inner = width - left - 16;
  const x = (moment) => left + ((moment - from) / span) * inner;
  const height = TOP + tables.length * ROW + 8;
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spokenSpan(bars, tables, from, to) });
  for (const tick of ticks(from, from + span, inner)) {
    picture.append(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: TOP - 6, y2: height }), text(x(tick) + 3, 14, label(tick, span)));
  }
  tables.forEach((table, row) => {
    picture.append(svg("line", { class: "axis", x1: 0, x2: width, y1: TOP + row * ROW, y2: TOP + row * ROW }), text(10, TOP + row * ROW + 20, shortened(table.table, left), "label"));
  });
  for (const plan of plans) picture.append(svg("rect", { class: "plan", x: x(plan.from), y: TOP + plan.row * ROW + 4, width: Math.max(2, x(plan.to) - x(plan.from)), height: ROW - 8, rx: 3 }));
  for (const bar of bars) {
    const rect = svg("rect", { class: `st-${bar.state}`, x: x(bar.from), y: TOP + bar.row * ROW + 3 + bar.lane * LANE, width: Math.max(1.5, x(bar.to) - x(bar.from)), height: LANE - 1.5, rx: 1 });
    rect.append(svg("title", {}, bar.title));
    picture.append(rect);
  }
  picture.append(svg("line", { class: "now", x1: x(now), x2: x(now), y1: TOP - 8, y2: height }));
  const note = el("p", { class: "tl-note" }, `Lanes of a table, from the top: ${STAGES.map((name) => STAGE_WORDS[name]).join(", ")}. The vertical line is now`, plans.length ? "; dashed boxes are the plan: each table's share of the rows, up to the estimated end." : ".");
  return el("div", {}, picture, note);
}

function runsOf(table, row, cells, now) {
  const found = [];
  for (const key of table.keys) {
    cells.get(`${table.table} ${key}`)?.stages.forEach((stage, lane) => {
      if (!stage.started_utc) return;
      const to = stage.finished_utc ?? now;
      const title = `${table.table} ${key}, ${STAGE_WORDS[STAGES[lane]]}: ${stage.state}, ${stage.started_utc.slice(0, 16).replace("T", " ")} to ${stage.finished_utc?.slice(11, 16) ?? "now"} UTC`;
      found.push({ row, lane, state: stage.state, from: Date.parse(stage.started_utc), to: Date.parse(to), title });
    });
  }
  return found;
}

function* ticks(from, to, inner) {
  const step = 1000 * (STEPS_S.find((each) => ((1000 * each) / (to - from)) * inner >= 80) ?? STEPS_S.at(-1));
  const offset = new Date(from).getTimezoneOffset() * 60000;
  for (let at = Math.ceil((from - offset) / step) * step + offset; at < to; at += step) yield at;
}

function label(moment, span) {
  const date = new Date(moment);
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0;
  if (span > 40 * 86400000 || isMidnight) return new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" }).format(date);
  return new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" }).format(date);
}

function text(x, y, content, name = "") {
  return svg("text", { x, y, class: name }, content);
}

const shortened = (name, left) => (name.length * 7.6 > left - 14 ? `${name.slice(0, Math.floor((left - 24) / 7.6))}…` : name);

function spokenSpan(bars, tables, from, to) {
  return `${bars.length} stage runs of ${tables.length} tables between ${new Date(from).toISOString().slice(0, 16)} and ${new Date(to).toISOString().slice(0, 16)} UTC`;
}

