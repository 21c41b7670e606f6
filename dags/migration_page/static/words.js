// Words, figures and small elements that all parts of the page share.

export const STAGES = ["oracle_extract", "staged_csv", "sf_loaded", "reconciled"];
export const STAGE_WORDS = { oracle_extract: "Extract", staged_csv: "Stage", sf_loaded: "Load", reconciled: "Reconcile" };

export const STATES = {
  planned: ["planned", "nothing has started"],
  queued: ["queued", "started in Airflow; no worker has started it yet"],
  running: ["running", "a worker or Salesforce is processing it"],
  waiting: ["waiting", "for quota, a pause, a parent's partition or Oracle's daily window"],
  interrupted: ["interrupted", "started, but no worker holds it any more"],
  done: ["done", "the stage has ended; the next one follows"],
  outdated: ["outdated", "an earlier stage has run again since"],
  stopped: ["stopped", "nothing has started the next stage"],
  failed: ["failed", "it ended with an error"],
  rolled_back: ["rolled back", "the records were removed from the org"],
  reconciled: ["reconciled", "every record was compared, and none differs"],
  reconciled_with_exceptions: ["with exceptions", "every difference is a listed row"],
  sampled: ["sampled", "what was compared agrees, but not every record was compared"],
  mismatch: ["mismatch", "source and target differ"],
};
export const CLASSES = {
  transient: "transient error: send again", dependency: "its parent is missing", data: "the row must be corrected",
  org: "the org must be corrected", unprocessed: "Salesforce did not process it", rejected: "staging refused it",
};

const SVG = "http://www.w3.org/2000/svg";
const numbers = new Intl.NumberFormat("en-US");
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const figure = (value) => (value == null ? "" : numbers.format(value));
export const brief = (value) => (value == null ? "" : value < 100000 ? numbers.format(value) : short.format(value));

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") made.addEventListener("click", value);
    else if (key === "class") made.className = value;
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null && child !== false));
  return made;
}

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const glyph = (state) =>
  svg("svg", { class: `st-${state}`, viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("use", { href: `#g-${state}` }));

export function fourGlyphs(states) {
  const uses = states.map((state, at) =>
    svg("use", { href: `#g-${state}`, x: at * 10, width: 10, height: 10, class: `st-${state}` }));
  return svg("svg", { class: "four", viewBox: "0 0 40 10", "aria-hidden": "true" }, ...uses);
}

export const chip = (state) => el("span", { class: `chip st-${state}` }, glyph(state), STATES[state][0]);

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const hours = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export const time = (moment) => clock.format(new Date(moment));

export function when(text) {
  if (!text) return "";
  const moment = new Date(text);
  const isToday = moment.toDateString() === new Date().toDateString();
  const shown = isToday ? hours.format(moment) : `${day.format(moment)} ${hours.format(moment)}`;
  return el("time", { datetime: text, title: `${text.slice(0, 19).replace("T", " ")} UTC` }, shown);
}

export function duration(from, to) {
  const seconds = Math.max(0, Math.round((new Date(to) - new Date(from)) / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.round((seconds % 3600) / 60)).padStart(2, "0")} min`;
}

// A stage in one sentence, for people who hear the page.
export function spoken(cell) {
  const stages = cell.stages.map((stage, at) => {
    const rows = stage.rows == null ? "" : stage.of ? ` ${figure(stage.rows)} of ${figure(stage.of)} rows` : ` ${figure(stage.rows)} rows`;
    return `${STAGE_WORDS[STAGES[at]]} ${STATES[stage.state][0]}${rows}`;
  });
  const refused = (cell.failures ?? []).reduce((sum, one) => sum + one.rows, 0);
  if (refused) stages.push(`${figure(refused)} refused rows`);
  if (cell.moved) stages.push("changed in Oracle since");
  return `${cell.table} ${cell.key}: ${STATES[cell.state][0]}. ${stages.join(", ")}`;
}
