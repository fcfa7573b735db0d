// Elements, and tables whose rows stay the same elements while their content changes, so that the focus
// and what is selected stay where they are. Text never becomes markup.

import { date, duration, shortIdentifier } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

export const h = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const s = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

// Identifiers are long: their ends, the whole as a title, and a button that copies it.
export function identifier(text) {
  if (!text) return h("span", { class: "none" }, "–");
  return h(
    "span",
    { class: "identifier" },
    h("code", { title: text }, shortIdentifier(text)),
    h("button", { type: "button", class: "copy", "aria-label": `Copy ${text}`, title: "Copy", "data-copy": text }),
  );
}

// One listener for all copy buttons, also of rows that come later.
export function copyOnClick(announce) {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("done");
      announce("Copied");
    } catch {
      // No clipboard without HTTPS off this machine: select the text, so that it can be copied by hand.
      const code = button.parentElement.querySelector("code");
      code.textContent = button.dataset.copy;
      getSelection().selectAllChildren(code);
      announce("Selected; copy it with the keyboard");
    }
    setTimeout(() => button.classList.remove("done"), 1500);
  });
}

// An age that goes on: see `tickAges`.
export function age(ms, suffix = "") {
  if (!ms) return "–";
  return h("time", { datetime: new Date(ms).toISOString(), title: date(ms), "data-at": ms, "data-suffix": suffix });
}

export function tickAges(now) {
  for (const element of document.querySelectorAll("time[data-at]")) {
    const passed = Math.max(0, now - Number(element.dataset.at));
    setText(element, duration(passed) + element.dataset.suffix);
  }
}

// Fills a table's body. `columns` are `[heading, cell(item), class]`; a cell gives text or an element.
// `key(item)` tells rows apart. What a cell shows is compared by `version(item)`, so that a row that did
// not change is not touched.
export function fillRows(table, columns, items, key) {
  const body = table.tBodies[0];
  const old = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const wanted = new Set(items.map(key));
  for (const [name, row] of old) if (!wanted.has(name)) row.remove();
  let at = body.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const version = JSON.stringify(item);
    const row = old.get(name) ?? h("tr", { "data-key": name });
    if (row.dataset.version !== version) {
      row.dataset.version = version;
      row.replaceChildren(...columns.map((column, i) => cell(column, item, i)));
    }
    if (row === at) at = at.nextElementSibling;
    else body.insertBefore(row, at);
  }
}

function cell([heading, read, kind = ""], item, i) {
  const content = read(item) ?? "";
  const attributes = { "data-label": heading, class: kind || undefined };
  return i === 0
    ? h("th", { scope: "row", ...attributes }, content)
    : h("td", attributes, content);
}

export function headRow(columns) {
  return h("tr", {}, ...columns.map(([heading, , kind = ""]) =>
    h("th", { scope: "col", class: kind || undefined }, heading)));
}
