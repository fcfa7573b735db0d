// The page's clock: asks the node every two seconds, says when it does not answer, and goes on when it
// does again.

import { Range, TokenWanted, ask, follow, token } from "./data.js";
import { byId, copyOnClick, setText, show, tickAges } from "./dom.js";
import { Plot, Plots } from "./plot.js";
import { bytes, bytesPerSecond, clock, count, duration, perSecond, seconds } from "./text.js";
import { Views, hasResources } from "./views.js";

const EVERY_MS = 2000;
// Lists are asked for each third time.
const LISTS = 3;
const EVENTS = 30;

const ranges = { "10m": new Range("10m", 1000, 600), "4h": new Range("4h", 10_000, 1440) };
const known = { self: null, events: [], lists: false, lastAnswer: null, skew: 0 };
const views = new Views(byId("sections"));

const column = (key) => (data) => data.column(key);
const ofEdge = (key) => (data) => (known.self && hasResources(known.self) ? data.column(key) : null);
const ofRelay = (key) => (data) => (known.self && !hasResources(known.self) ? data.column(key) : null);
const plots = new Plots(byId("plots"), [
  new Plot({
    title: "Throughput", help: "Bytes received from and written to links", unit: bytesPerSecond, least: 1000, filled: true,
    series: [
      { name: "received", color: "one", read: column("rates.bytes-in") },
      { name: "sent", color: "two", read: column("rates.bytes-out") },
    ],
  }),
  new Plot({
    title: "Messages", help: "Messages received from links", unit: perSecond, least: 5, filled: true,
    series: [{ name: "received", color: "one", read: column("rates.messages") }],
  }),
  new Plot({
    title: "Opening streams", help: "Time until a stream was open: the median, and what 99 of 100 did not exceed",
    unit: seconds, least: 0.001, optional: true,
    series: [
      { name: "p50", color: "one", read: column("stream-open-s.p50") },
      { name: "p99", color: "two", read: column("stream-open-s.p99") },
    ],
  }),
  new Plot({
    title: "Streams", help: "Portal streams open, the most in each step", unit: count, least: 4, optional: true,
    series: [{ name: "open", color: "one", read: ofEdge("gauges.streams") }],
  }),
  new Plot({
    title: "Links and channels", help: "Links and secure channels open, the most in each step", unit: count, least: 4,
    series: [
      { name: "links", color: "one", read: column("gauges.links") },
      { name: "channels", color: "two", read: column("gauges.channels") },
    ],
  }),
  new Plot({
    title: "Forwarders", help: "Registrations, one for each connection of a name, the most in each step", unit: count, least: 4, optional: true,
    series: [{ name: "registered", color: "one", read: ofRelay("gauges.forwarders") }],
  }),
  new Plot({
    title: "Buffers", help: "Memory that messages under way take", unit: bytes, least: 1e6, filled: true, optional: true,
    series: [{ name: "held", color: "one", read: ofRelay("gauges.memory-bytes") }],
  }),
  new Plot({
    title: "Refused and closed", help: "Everything that was dropped, and everything that ended", unit: perSecond, least: 1,
    series: [
      { name: "refused", color: "bad", read: (data) => data.sum("refused") },
      { name: "closed", color: "one", read: (data) => data.sum("closed") },
    ],
  }),
]);

const chosen = () => ranges[document.querySelector("[name=range]:checked").value];

function drawTime() {
  const data = chosen().view();
  if (data) plots.draw(data);
}

// One round of questions. The ten minutes are always asked for: the tiles and the reasons use them.
async function refresh(withLists) {
  const asked = withLists ? ["/v1/self/inspect", "/v1/self/denials"] : [];
  // First by itself: without the right token there is nothing more to ask.
  const self = await ask("/v1/self");
  const [ready, history, , ...lists] = await Promise.all([
    ask("/ready", [503]),
    ranges["10m"].refresh(),
    chosen() === ranges["10m"] ? null : chosen().refresh(),
    ...asked.map((path) => ask(path)),
  ]);
  known.self = self ?? known.self;
  if (self) views.self(self);
  views.health(ready);
  if (history) {
    known.skew = history["now-ms"] - Date.now();
    const view = ranges["10m"].view();
    views.tiles(view, history.now, known.self ?? {});
    views.reasons(view, history.now);
    drawTime();
  }
  if (withLists) {
    known.lists = true;
    views.inspection(lists[0]);
    views.denied(lists[1]);
  }
}

function contact(state, text) {
  const pill = byId("contact");
  pill.className = `pill ${state}`;
  setText(pill, text);
}

function answered() {
  known.lastAnswer = performance.now();
  contact("good", "Live");
  show(byId("away"), false);
  show(byId("token-form"), false);
  show(byId("content"), true);
  document.body.classList.remove("stale");
}

function silent(error) {
  if (error instanceof TokenWanted) return wantToken();
  contact("bad", "No answer");
  const since = known.lastAnswer === null ? "" : ` for ${duration(performance.now() - known.lastAnswer)}`;
  const why = error.name === "TypeError" ? "it cannot be reached" : error.name === "TimeoutError" ? "it is too slow" : error.message;
  setText(byId("away"), `The node has not answered${since}: ${why}. What is below is as it was; this page asks again every ${EVERY_MS / 1000} s.`);
  show(byId("away"), true);
  document.body.classList.add("stale");
  drawTime();
}

// Shows the form for the token, once.
function wantToken() {
  contact("waiting", "Token needed");
  show(byId("away"), false);
  show(byId("content"), false);
  const form = byId("token-form");
  show(byId("token-wrong"), token.get() !== null);
  token.forget();
  if (!form.hidden) return;
  show(form, true);
  byId("token").focus();
}

let wake = null;
const pause = (ms) => new Promise((done) => {
  wake = done;
  setTimeout(done, ms);
});

async function keepAsking() {
  for (let round = 0; ; round += 1) {
    if (document.hidden) {
      await pause(60_000);
      continue;
    }
    if (byId("token-form").hidden || token.get()) {
      try {
        await refresh(round % LISTS === 0 || !known.lists);
        answered();
      } catch (error) {
        silent(error);
      }
    }
    await pause(EVERY_MS);
  }
}

async function keepFollowing() {
  for (let number = 0; ; ) {
    await pause2(EVERY_MS);
    if (document.body.classList.contains("stale") || !known.lastAnswer) continue;
    try {
      const has = await follow("/v1/self/events", (event) => {
        if (event.event === "hello") return;
        number += 1;
        if (event.event === "missed") event.detail = `${event.missed} events came too fast`;
        known.events.unshift({ key: String(number), "at-ms": Date.now() + known.skew, ...event });
        known.events.length = Math.min(known.events.length, EVENTS);
        views.happened(known.events);
      });
      if (!has) return;
    } catch {
      // The other loop says that the node is away.
    }
  }
}

const pause2 = (ms) => new Promise((done) => setTimeout(done, ms));

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(byId("token").value.trim());
  byId("token").value = "";
  wake?.();
});
byId("range").addEventListener("change", async () => {
  drawTime();
  await chosen().refresh().catch(() => null);
  drawTime();
});
document.addEventListener("visibilitychange", () => !document.hidden && wake?.());
setInterval(() => tickAges(Date.now() + known.skew), 500);
copyOnClick((text) => setText(byId("spoken"), text));
setText(byId("foot"), `Times are those of this device's zone, now ${clock(Date.now())}. Figures for programs: /metrics, /v1/history.`);
keepAsking();
keepFollowing();
