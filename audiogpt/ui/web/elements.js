// Builds elements and drawings. Text only ever enters the page as text nodes and attributes.

const by = (id) => element.querySelector('[data-id="' + id + '"]');

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style" && typeof value === "object")
      for (const [key, item] of Object.entries(value)) node.style.setProperty(key, item);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(3))
    if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}

const h = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);

const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const PARTS = ["context", "audio", "tags", "artists"];
const COLOURS = { context: "#BBBBBB", audio: "#0072B2", tags: "#E69F00", artists: "#882255" };
const MEANINGS = {
  context: "language and the words so far",
  audio: "what the music sounds like",
  tags: "the tags you set",
  artists: "how the artists' shares are spread",
};

const DISAGREEMENT = "The branch with the largest share is not the one that this word depends on.";

const clock = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  return Math.floor(whole / 60) + ":" + String(whole % 60).padStart(2, "0");
};
const percent = (value) => {
  const scaled = value * 100;
  return (scaled > 0 && scaled < 1 ? "<1" : Math.round(scaled)) + "\u2009%";
};
const signed = (value) =>
  (value > 0.005 ? "+" : value < -0.005 ? "\u2212" : "") + Math.abs(value).toFixed(2);
const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : 0);
const plural = (count, word) => count + " " + word + (count === 1 ? "" : "s");
const argmax = (values) => values.indexOf(Math.max(...values));

// The first characters of a text. Half an emoji, as cutting by UTF-16 units leaves it, cannot be sent.
const cut = (text, most) => [...text.replace(/\p{Surrogate}/gu, "\ufffd")].slice(0, most).join("");

// Replaces what is in a node; empty children are left out. Keyboard focus is never lost by it.
function put(node, ...children) {
  const held = node !== document.activeElement && node.contains(document.activeElement);
  node.replaceChildren();
  fill(node, {}, children);
  if (held) node.focus({ preventScroll: true });
  return node;
}

// Draws a part of the page anew: what held the focus there holds it again, the caret where it was.
function keepingFocus(node, draw) {
  const held = document.activeElement || document.body;
  const key = (item) => item.dataset.id || item.getAttribute("aria-label") || item.textContent;
  const alike = () => [...node.querySelectorAll(held.tagName)].filter((item) => key(item) === key(held));
  const place = node === held ? -1 : alike().indexOf(held);
  const caret = [held.selectionStart, held.selectionEnd];
  draw();
  const again = place < 0 ? null : alike()[place];
  if (!again) return;
  again.focus({ preventScroll: true });
  if (typeof caret[0] === "number") again.setSelectionRange(...caret);
}

function swatch(part) {
  return h("span", { class: "swatch", style: { background: COLOURS[part] }, "aria-hidden": "true" });
}

function announce(text) {
  by("announce").textContent = text;
}

// Shows what opened, unless it is in view already; --over keeps it clear of the caption.
function reveal(card) {
  const { top, bottom } = card.getBoundingClientRect();
  if (bottom > 160 && top < innerHeight - 160) return;
  scrollGently(card);
}

function scrollGently(node) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  node.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

// A fold that stays as the visitor left it when the page is drawn anew; `draw` fills it when opened.
const folds = {};
function fold(name, title, draw) {
  const node = h("details", { open: Boolean(folds[name]) }, h("summary", {}, title));
  node.draw = () => { if (node.children.length === 1) node.append(draw()); };
  node.addEventListener("toggle", () => {
    folds[name] = node.open;
    if (node.open) node.draw();
  });
  if (node.open) node.draw();
  return node;
}

// A labelled slider row: name, range, readout, extra buttons. `input` gets the number.
function sliderRow({ name, label, value, max = 1, step = 0.01, note, input, show, buttons = [] }) {
  const text = show || ((v) => v.toFixed(2));
  const readout = h("span", { class: "readout" }, text(value));
  const range = h("input", {
    type: "range", min: 0, max, step, value, "aria-label": label, "aria-valuetext": text(value),
    oninput: () => {
      const number = Number(range.value);
      readout.textContent = text(number);
      range.setAttribute("aria-valuetext", text(number));
      range.style.setProperty("--fill", (100 * number) / max + "%");
      input(number);
    },
  });
  range.style.setProperty("--fill", (100 * value) / max + "%");
  const row = h("li", { class: "slider" },
    h("div", { class: "slider-name" }, h("span", { class: "name" }, name), note),
    range, readout, h("div", { class: "slider-end" }, buttons));
  row.refresh = () => {
    readout.textContent = text(Number(range.value));
    range.setAttribute("aria-valuetext", readout.textContent);
  };
  row.set = (number) => {
    range.value = number;
    range.style.setProperty("--fill", (100 * number) / max + "%");
    row.refresh();
  };
  return row;
}

// Left and right, Home and End move within a group of buttons; only one of them is a tab stop.
function roving(group, selector, onfocus) {
  group.addEventListener("keydown", (event) => {
    const items = [...group.querySelectorAll(selector)];
    const at = items.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? items.length - 1 : at + step;
    if (at < 0 || !(to >= 0 && to < items.length)) return;
    event.preventDefault();
    for (const item of items) item.tabIndex = -1;
    items[to].tabIndex = 0;
    items[to].focus();
    if (onfocus) onfocus(items[to]);
  });
}
