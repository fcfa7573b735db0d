// Talks to the node: requests with a token, and the columns of /v1/history put together.

const TOKEN = "culvert-token";
const PATIENCE_MS = 8000;

// The node wants a token, or another one.
export class TokenWanted extends Error {}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

// The JSON that a path answers; null where this kind of node has no such path.
export async function ask(path, alsoOk = []) {
  const headers = { Accept: "application/json" };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const answer = await fetch(path, {
    headers,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (answer.status === 401) throw new TokenWanted();
  if (answer.status === 404) return null;
  if (!answer.ok && !alsoOk.includes(answer.status)) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.message ?? `it answers ${answer.status} to ${path}`);
  }
  return answer.json();
}

// Calls `took` with each event that happens from now on, until the node or the network ends it. Gives
// false where this kind of node tells of none.
export async function follow(path, took, stop) {
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store", credentials: "omit", redirect: "error", signal: stop });
  if (answer.status === 404) return false;
  if (!answer.ok) throw new Error(`it answers ${answer.status} to ${path}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return true;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.trim()) took(JSON.parse(line));
  }
}

// One range of the history. Columns are kept from answer to answer, so that only new steps are asked
// for, and so that a node that was started again shows what was before, with the gap.
export class Range {
  constructor(name, stepMs, length) {
    Object.assign(this, { name, stepMs, length, first: 0, next: 0, columns: new Map() });
  }

  async refresh() {
    const answer = await ask(`/v1/history?range=${this.name}&since=${this.next}`);
    if (answer) this.merge(answer);
    return answer;
  }

  clear(first) {
    this.columns.clear();
    this.first = first;
    this.next = first;
  }

  merge(answer) {
    const first = answer.first;
    // Steps count from the machine's start: fewer than before is another machine, or it was started again.
    if (answer["now-step"] < this.next - 1 || first - this.next > this.length) this.clear(first);
    if (this.next === 0) this.clear(first);
    const filled = first - this.first;
    for (const table of ["gauges", "rates", "stream-open-s", "refused", "closed"]) {
      for (const [name, cells] of Object.entries(answer[table])) {
        const key = `${table}.${name}`;
        const column = this.columns.get(key) ?? [];
        while (column.length < filled) column.push(null);
        column.push(...cells);
        this.columns.set(key, column);
      }
    }
    this.next = Math.max(this.next, first + answer.rows);
    const old = this.next - this.first - this.length;
    if (old > 0) {
      for (const column of this.columns.values()) column.splice(0, old);
      this.first += old;
    }
    this.clock = { step: answer["now-step"], into: answer["now-step-ms"], unix: answer["now-ms"], here: performance.now() };
  }

  // The window that ends now, as plots read it. While the node does not answer, time goes on.
  view() {
    if (!this.clock) return null;
    const passed = performance.now() - this.clock.here;
    const now = this.clock.step + Math.floor((this.clock.into + passed) / this.stepMs);
    // The newest whole step may take a moment to be asked for.
    const end = passed < 5000 ? Math.max(this.next, this.clock.step) : now;
    const from = end - this.length;
    const cell = (column, i) => column?.[from + i - this.first] ?? null;
    const column = (key) => Array.from({ length: this.length }, (_, i) => cell(this.columns.get(key), i));
    const known = column("gauges.links").map((value) => value !== null);
    const latest = known.lastIndexOf(true);
    const keysOf = (table) => [...this.columns.keys()].filter((key) => key.startsWith(`${table}.`));
    // A reason that has no cell in a step that is known did not occur.
    const reason = (key) => column(key).map((value, i) => value ?? (known[i] ? 0 : null));
    return {
      stepMs: this.stepMs,
      length: this.length,
      start: this.clock.unix - this.clock.into + (from - this.clock.step) * this.stepMs,
      known,
      latest,
      column,
      reason,
      reasons: (table) => keysOf(table).map((key) => [key.slice(table.length + 1), reason(key)]),
      sum: (table) => keysOf(table).map(reason).reduce(
        (sum, values) => sum.map((value, i) => (value === null ? null : value + values[i])),
        known.map((is) => (is ? 0 : null)),
      ),
    };
  }
}
