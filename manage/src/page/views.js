// What is on the page beside the plots. Each view takes what the node answered and shows itself only if
// this kind of node has what it is about.

import { age, byId, fillRows, h, headRow, identifier, s, setText, show } from "./dom.js";
import { bytes, bytesPerSecond, clock, count, duration, perSecond, seconds, words } from "./text.js";

const kinds = {
  "tcp-inlets": "inlet",
  "tcp-outlets": "outlet",
  relays: "relay",
  "secure-channels": "secure channel",
  "tcp-connections": "TCP connection",
  "tcp-listeners": "TCP listener",
};

// What an edge has, in one list; null for a node that has no such things.
function resourcesOf(self) {
  if (!hasResources(self)) return null;
  return Object.keys(kinds).flatMap((kind) => (self[kind] ?? []).map((item) => ({ kind, ...item })));
}

export const hasResources = (self) => Object.keys(kinds).some((kind) => self[kind] !== undefined);

function state(item) {
  const mark = { up: "good", down: "bad", connecting: "waiting" }[item.state] ?? "waiting";
  return h("span", { class: `state ${mark}` }, item.state ?? "–");
}

// Why something is down, and when it is tried again; who is there when it is up.
function doing(item) {
  if (item.state === "down") {
    const again = item["retry-in-ms"] === undefined ? "" : `, next attempt within ${duration(Math.max(1000, item["retry-in-ms"]))}`;
    return h("span", { class: "reason" }, `${item.reason ?? "no reason known"}${again}`);
  }
  if (item.reason) return h("span", { class: "reason" }, item.reason);
  if (item.peer) return identifier(item.peer);
  return "";
}

function what(kind, item) {
  switch (kind) {
    case "tcp-inlets":
      return `${item["bind-address"] ?? item.from} → ${item.via ? `${item.to ?? "outlet"} via ${item.via}` : item.to}`;
    case "tcp-outlets":
      return `→ ${item.to}`;
    case "relays":
      return `${item["forwarding-address"] ?? item.name} at ${item.destination ?? item.at ?? "the project"}`;
    case "secure-channels":
    case "tcp-connections":
      return `→ ${item.to}`;
    default:
      return item.address;
  }
}

const resourceColumns = [
  ["Name", (item) => item.name ?? item.address],
  ["Kind", (item) => kinds[item.kind]],
  ["State", state],
  ["Since", (item) => age(item.since * 1000)],
  ["Leads", (item) => h("span", { class: "route", title: item.route }, what(item.kind, item), item.direct ? h("span", { class: "badge" }, `direct, ${item.direct}`) : "")],
  ["Streams", (item) => (item.streams === undefined ? "" : count(item.streams)), "number"],
  ["Peer, or why not", doing],
];

const forwarderColumns = [
  ["Name", (item) => item.name],
  ["Owner", (item) => (item.identity ? identifier(item.identity) : h("span", { class: "none" }, "its connection, in clear"))],
  ["Connections", (item) => count(item.links), "number"],
  ["Since", (item) => age(item["since-ms"])],
];

const peerColumns = [
  ["Identifier", (item) => (item.peer ? identifier(item.peer) : h("span", { class: "none" }, "handshake under way"))],
  ["Attributes", (item) => attributes(item.attributes), "wide"],
  ["Channels", (item) => `${item.channels}${item.accepted === item.channels ? " in" : item.accepted === 0 ? " out" : ` (${item.accepted} in)`}`, "number"],
  ["Streams", (item) => count(item.streams), "number of-edge"],
  ["Since", (item) => age(item.since)],
];

const linkColumns = [
  ["Peer", (item) => h("code", {}, item.peer)],
  ["Direction", (item) => (item.accepted ? "in" : "out")],
  ["Received", (item) => bytes(item["bytes-in"]), "number"],
  ["Sent", (item) => bytes(item["bytes-out"]), "number"],
  ["Waiting", (item) => bytes(item.waiting), "number"],
  ["Since", (item) => age(item["since-ms"])],
];

const streamColumns = [
  ["Resource", (item) => item.resource || "–"],
  ["End", (item) => item.role],
  ["Peer", (item) => identifier(item.peer)],
  ["Received", (item) => bytes(item["bytes-in"]), "number"],
  ["Sent", (item) => bytes(item["bytes-out"]), "number"],
  ["Since", (item) => age(item["since-ms"])],
];

const denialColumns = [
  ["Last", (item) => age(item["at-ms"], " ago")],
  ["Times", (item) => count(item.times), "number"],
  ["Who", (item) => identifier(item.subject)],
  ["Resource", (item) => `${item.resource || "–"}${item["resource-type"] ? ` (${words(item["resource-type"])})` : ""}`],
  ["Why", (item) => h("span", { class: "reason" }, item.reason), "wide"],
];

const eventColumns = [
  ["When", (item) => h("time", { datetime: new Date(item["at-ms"]).toISOString() }, clock(item["at-ms"], true))],
  ["What", (item) => h("span", { class: `state ${{ up: "good", created: "good", down: "bad", denied: "bad" }[item.event] ?? "waiting"}` }, item.event)],
  ["Resource", (item) => `${words(item.resource ?? "")} ${item.name ?? ""}`],
  ["Detail", (item) => (item.detail ? h("span", { class: "reason" }, item.detail) : ""), "wide"],
];

const reasonColumns = [
  ["Reason", (item) => words(item.reason)],
  ["Last 10 min", (item) => sparkline(item.line), "spark"],
  ["Last min", (item) => count(item.minute), "number"],
  ["10 min", (item) => count(item.ten), "number"],
  ["Since start", (item) => count(item.total), "number"],
];

function attributes(pairs) {
  if (!pairs?.length) return h("span", { class: "none" }, "none shown");
  return h("span", { class: "attributes" }, ...pairs.map(([name, value]) =>
    h("span", { class: "badge" }, h("b", {}, name), ` ${value}`)));
}

function sparkline(values) {
  const most = Math.max(...values);
  const line = s("svg", { class: "sparkline", viewBox: "0 0 60 16", width: 60, height: 16, "aria-hidden": "true" });
  const bars = values.flatMap((value, i) => {
    const height = most > 0 ? (value / most) * 15 : 0;
    return value > 0 ? [s("rect", { x: i, y: 16 - Math.max(1, height), width: 1, height: Math.max(1, height) })] : [];
  });
  line.append(s("line", { x1: 0, x2: 60, y1: 15.5, y2: 15.5 }), ...bars);
  return line;
}

// A titled table; `empty` is what it says without rows, or it is hidden then.
class Table {
  constructor(id, title, columns, key, { empty, note, switched, folded, compact } = {}) {
    this.columns = columns;
    this.key = key;
    this.empty = empty === undefined ? undefined : h("p", { class: "none" }, empty);
    this.total = h("span", { class: "total" });
    this.table = h("table", { class: compact ? "compact" : "stack", "aria-labelledby": `${id}-title` }, h("thead", {}, headRow(columns)), h("tbody"));
    const heading = h("h2", { id: `${id}-title` }, title, " ", this.total);
    const content = [note ? h("p", { class: "small" }, note) : null, h("div", { class: "scroll" }, this.table), this.empty];
    this.element = h("section", { id, class: "card", "aria-labelledby": `${id}-title`, hidden: "" }, ...(folded
      ? [h("details", {}, h("summary", {}, heading), ...content.filter(Boolean))]
      : [h("div", { class: "heading" }, heading, switched ?? ""), ...content]));
  }

  fill(items, total = items?.length) {
    const shown = Boolean(items && (items.length > 0 || this.empty));
    show(this.element, shown);
    if (!shown) return;
    fillRows(this.table, this.columns, items, this.key);
    show(this.table, items.length > 0);
    if (this.empty) show(this.empty, items.length === 0);
    setText(this.total, total > 0 ? count(total) : "");
  }
}

const allReasons = (name) =>
  h("label", { class: "check" }, h("input", { type: "checkbox", id: `all-${name}` }), "all reasons");

export class Views {
  constructor(parent) {
    this.resources = new Table("resources", "Resources", resourceColumns, (item) => `${item.kind} ${item.name ?? item.address}`, {
      empty: "This node has no inlets, outlets or relays yet.",
    });
    this.forwarders = new Table("forwarders", "Forwarders", forwarderColumns, (item) => item.name, { empty: "No names are registered." });
    this.peers = new Table("peers", "Peers", peerColumns, (item) => item.peer ?? "", { empty: "No secure channel is up." });
    this.streams = new Table("streams", "Streams", streamColumns, (item) => item.key, { folded: true });
    this.links = new Table("links", "Links", linkColumns, (item) => `${item.peer} ${item.shard}`, { folded: true });
    this.refused = new Table("refused", "Refused", reasonColumns, (item) => item.reason, {
      empty: "Nothing was refused.", compact: true, switched: allReasons("refused"), note: "Messages, registrations and connections that were dropped.",
    });
    this.closed = new Table("closed", "Closed", reasonColumns, (item) => item.reason, {
      empty: "Nothing was closed.", compact: true, switched: allReasons("closed"), note: "Links, channels and streams that ended, and why.",
    });
    this.denials = new Table("denials", "Policy denials", denialColumns, (item) => item.key, { empty: "No policy denied anything." });
    this.events = new Table("events", "Events", eventColumns, (item) => item.key, { empty: "Nothing has happened since this page was opened." });
    parent.append(
      this.forwarders.element,
      this.resources.element,
      this.peers.element,
      h("div", { class: "pair" }, this.refused.element, this.closed.element),
      h("div", { class: "pair" }, this.denials.element, this.events.element),
      this.streams.element,
      this.links.element,
    );
    for (const name of ["refused", "closed"]) {
      byId(`all-${name}`).addEventListener("change", () => this.reasons(this.latest.view, this.latest.now));
    }
  }

  self(self) {
    setText(byId("name"), self.name);
    document.body.classList.toggle("relay", !hasResources(self));
    document.title = `${self.name} · Culvert`;
    const parts = [
      h("span", { class: "badge" }, self.kind ?? (hasResources(self) ? "edge" : "relay")),
      self.identifier ? identifier(self.identifier) : null,
      h("span", {}, `version ${self.version}`),
      h("span", {}, "up ", age(self["started-at"] * 1000)),
      self.driver ? h("span", {}, self.driver) : null,
      self.address ? h("span", {}, h("code", {}, self.address)) : null,
    ].filter(Boolean);
    const about = byId("about");
    const version = JSON.stringify([self.identifier, self.version, self["started-at"], self.driver]);
    if (about.dataset.version !== version) {
      about.dataset.version = version;
      about.replaceChildren(...parts);
    }
    this.resources.fill(resourcesOf(self));
    this.forwarders.fill(self.forwarders, self["forwarders-total"]);
  }

  health(ready) {
    show(byId("health"), ready !== null);
    if (!ready) return;
    const checks = ready.checks ?? [];
    const bad = checks.filter((check) => !check.ready);
    byId("health").classList.toggle("failing", bad.length > 0 || ready.ready === false);
    setText(byId("health-title"), bad.length === 0
      ? "Ready" : `Not ready: ${bad.length} of ${checks.length} ${bad.length === 1 ? "does" : "do"} not work`);
    const list = byId("checks");
    const version = JSON.stringify(checks);
    if (list.dataset.version === version) return;
    list.dataset.version = version;
    // What does not work comes first.
    list.replaceChildren(...[...bad, ...checks.filter((check) => check.ready)].map((check) =>
      h("li", {}, h("span", { class: `state ${check.ready ? "good" : "bad"}` }, check.what),
        check.reason ? h("span", { class: "reason" }, ` ${check.reason}`) : null)));
  }

  tiles(view, now, self) {
    const at = (key) => view.column(key)[view.latest] ?? 0;
    const p99 = view.column("stream-open-s.p99").findLast((value) => value !== null);
    const tiles = [
      ["Streams", count(now.streams), `${count(now["streams-opened"])} opened`, hasResources(self)],
      ["Channels", count(now.channels), `${count(now["channels-opened"])} opened`, true],
      ["Links", count(now.links), `${count(now["links-opened"])} opened`, true],
      ["Forwarders", count(now.forwarders), names(self["forwarders-total"]), self.forwarders !== undefined],
      ["Received", bytesPerSecond(at("rates.bytes-in")), `${bytes(now["bytes-in"])} in all`, true],
      ["Sent", bytesPerSecond(at("rates.bytes-out")), `${bytes(now["bytes-out"])} in all`, true],
      ["Messages", perSecond(at("rates.messages")), `${count(now.messages)} in all`, true],
      ["Opening, p99", p99 === undefined ? "–" : seconds(p99), "lately", hasResources(self)],
      ["Buffers", bytes(now["memory-bytes"]), "for messages", true],
    ];
    const list = byId("tiles");
    for (const [name, value, note] of tiles.filter((tile) => tile[3])) {
      let tile = list.querySelector(`[data-tile="${name}"]`);
      if (!tile) {
        tile = h("div", { class: "tile", "data-tile": name }, h("dt", {}, name), h("dd", { class: "value" }), h("dd", { class: "small" }));
        list.append(tile);
      }
      setText(tile.children[1], value);
      setText(tile.children[2], note);
    }
  }

  // Both tables of reasons: how often lately and since the start, the most recent trouble first.
  reasons(view, now) {
    this.latest = { view, now };
    for (const [name, table] of [["refused", this.refused], ["closed", this.closed]]) {
      const columns = new Map(view.reasons(name));
      const all = byId(`all-${name}`).checked;
      const rows = Object.entries(now[name]).map(([reason, total]) => {
        const column = columns.get(reason) ?? [];
        const line = Array.from({ length: 60 }, (_, i) => sum(column.slice(i * 10, i * 10 + 10)));
        return { reason, total, line, minute: sum(column.slice(-60)), ten: sum(column) };
      });
      rows.sort((a, b) => b.minute - a.minute || b.ten - a.ten || b.total - a.total || a.reason.localeCompare(b.reason));
      table.fill(rows.filter((row) => all || row.total > 0), sum(rows.map((row) => row.total)));
    }
  }

  inspection(found) {
    if (!found) return;
    const peers = new Map();
    for (const channel of found.channels) {
      const name = channel.peer ?? "";
      const peer = peers.get(name) ?? { peer: channel.peer, channels: 0, accepted: 0, streams: 0, since: Infinity, attributes: [] };
      peer.channels += 1;
      peer.accepted += channel.accepted ? 1 : 0;
      peer.since = Math.min(peer.since, channel["since-ms"]);
      if (channel.attributes.length > peer.attributes.length) peer.attributes = channel.attributes;
      peers.set(name, peer);
    }
    for (const stream of found.streams) {
      const peer = peers.get(stream.peer ?? "");
      if (peer) peer.streams += 1;
    }
    this.peers.fill([...peers.values()].sort((a, b) => (a.peer ?? "~").localeCompare(b.peer ?? "~")));
    const newest = (a, b) => b["since-ms"] - a["since-ms"];
    const streams = found.streams.map((stream) => ({ ...stream, key: streamKey(stream) }));
    this.streams.fill(numbered(streams).sort(newest).slice(0, 50), found["streams-total"]);
    this.links.fill([...found.links].sort(newest).slice(0, 50), found["links-total"]);
  }

  // The node keeps the last ones. Who tries again and again is one row.
  denied(denials) {
    if (!denials) return;
    const rows = new Map();
    for (const denial of denials) {
      const key = JSON.stringify([denial.subject, denial.resource, denial["resource-type"], denial.reason]);
      const row = rows.get(key) ?? { ...denial, key, times: 0 };
      row.times += 1;
      row["at-ms"] = Math.max(row["at-ms"], denial["at-ms"]);
      rows.set(key, row);
    }
    const last = [...rows.values()].sort((a, b) => b["at-ms"] - a["at-ms"]);
    this.denials.fill(last.slice(0, 30), denials.length);
  }

  happened(events) {
    this.events.fill(events);
  }
}

// A name has a forwarder for each connection that it is registered over.
const names = (n) => (n === 1 ? "for one name" : `for ${count(n ?? 0)} names`);

const sum = (values) => Math.round(values.reduce((all, value) => all + (value ?? 0), 0));

const streamKey = (stream) => `${stream.shard} ${stream.resource} ${stream.role} ${stream.peer} ${stream["since-ms"]}`;

// Makes keys that occur twice different.
function numbered(items) {
  const seen = new Map();
  for (const item of items) {
    const times = seen.get(item.key) ?? 0;
    seen.set(item.key, times + 1);
    if (times > 0) item.key += ` ${times}`;
  }
  return items;
}
