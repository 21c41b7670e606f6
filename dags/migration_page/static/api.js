// What the page asks of the server. Every answer is JSON; a refusal has `what` and `remedy`, or Airflow's `detail`.

export class Refusal extends Error {
  constructor(status, facts) {
    super(facts.what ?? (typeof facts.detail === "string" ? facts.detail : "The request was refused."));
    this.status = status;
    this.remedy = facts.remedy ?? "";
    this.unserved = facts.unserved ?? [];
  }
}

const TIMEOUT_MS = 30000;

async function send(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  if (answer.ok || answer.status === 304) return answer;
  let facts = {};
  try { facts = await answer.json(); } catch { /* a proxy's page, for example */ }
  throw new Refusal(answer.status, facts);
}

export const ask = async (path) => (await send(path)).json();

export async function act(path, body) {
  const headers = { "Content-Type": "application/json", "X-Kpc-Page": "1" };
  return (await send(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// The overview, kept up to date: `look` asks for what changed since the last answer.
export class Overview {
  constructor() {
    this.document = null;
    this.cells = new Map();
    this.chosen = null;
  }

  choose(environment) {
    this.chosen = environment;
    this.document = null;
  }

  get place() {
    const one = this.chosen ?? this.document?.environment;
    return one ? { source_id: one.source_id, target_id: one.target_id } : {};
  }

  // The names of the cells that changed, none if only figures around them did; null if all is new, false if nothing is.
  async look() {
    const query = new URLSearchParams(this.place);
    const headers = {};
    if (this.document) {
      query.set("since", this.document.tag);
      headers["If-None-Match"] = `"${this.document.tag}"`;
    }
    const answer = await send(`api/overview?${query}`, { headers });
    if (answer.status === 304) return false;
    const document = await answer.json();
    const isPart = document.since != null && this.document != null;
    if (!isPart) this.cells = new Map();
    for (const cell of document.cells) this.cells.set(`${cell.table} ${cell.key}`, cell);
    this.document = document;
    return isPart ? document.cells.map((cell) => `${cell.table} ${cell.key}`) : null;
  }
}
