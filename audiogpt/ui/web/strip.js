// The caption as a strip of words, each with its bar. The same markup serves while words stream in,
// so that nothing moves when the bars fill.

function shareBar(parts, values, className = "bar") {
  const total = values.reduce((a, b) => a + b, 0) || 1;
  return h("span", { class: className, "aria-hidden": "true" }, parts.map((part, p) =>
    h("span", { style: { width: (100 * values[p]) / total + "%", background: COLOURS[part] || "#666" } })));
}

function gateBars(parts, values) {
  return h("span", { class: "gates", "aria-hidden": "true" }, parts.map((part, p) =>
    h("span", { style: { width: 100 * Math.min(1, values[p]) + "%", background: COLOURS[part] || "#666" } })));
}

const spoken = (parts, values) =>
  parts.map((part, p) => part + " " + percent(values[p])).join(", ");

// The branch (never the context) with the largest value, and how strongly to tint the word.
function tint(parts, values, scale) {
  const branches = values.slice(1);
  if (!branches.length || Math.max(...branches) < 0.01) return null;
  const best = argmax(branches);
  return { part: parts[best + 1], amount: Math.min(1, branches[best] / (scale || 1)) };
}

// The tint always follows the shares: a gate may stand open where there is nothing to let through.
function wordButton(word, index, parts, values, shares, marked, scale) {
  const colour = shares && tint(parts, shares, scale);
  const what = view.mode === "gates" ? "gates: " : "";
  const label = word.text + (values ? " \u2014 " + what + spoken(parts, values) : "") +
    (marked ? ". " + DISAGREEMENT : "");
  return h("button", {
    type: "button", class: "word" + (marked ? " marked" : ""), "data-word": index,
    tabindex: -1, "aria-label": label, title: marked && "\u2260: " + DISAGREEMENT, "aria-pressed": String(index === view.word),
    style: colour ? { "--tint": COLOURS[colour.part], "--amount": Math.round(8 + 22 * colour.amount) + "%" } : {},
  },
    h("span", { class: "text" }, word.text, marked && h("sup", { "aria-hidden": "true" }, "\u2260")),
    values ? (view.mode === "gates" ? gateBars(parts, values) : shareBar(parts, values))
      : h("span", { class: "bar empty", "aria-hidden": "true" }));
}

function plainWord(text) {
  return h("span", { class: "word" }, h("span", { class: "text" }, text),
    h("span", { class: "bar empty", "aria-hidden": "true" }));
}

function renderPartial({ title, description }) {
  for (const [id, text] of [["title", title], ["description", description]])
    by(id).replaceChildren(...text.split(/\s+/).filter(Boolean).map(plainWord));
}

// Which words of `after` are not in `before` in this order (longest common subsequence).
function changedWords(before, after) {
  const plain = (word) => word.toLowerCase().replace(/[.,;:!?]+$/, "");
  const a = before.map(plain), b = after.map(plain);
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const fresh = new Set(b.keys());
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) { fresh.delete(j); i++; j++; }
    else if (table[i + 1][j] >= table[i][j + 1]) i++; else j++;
  }
  return fresh;
}

function renderWords(before) {
  const { result, why } = view.answer;
  const parts = partsOf(result);
  const values = why && result.trace ? wordValues(view.answer) : null;
  const shares = values && why.shares;
  const scale = shares && Math.max(...shares.flatMap((row) => row.slice(1)), 1e-6);
  const fresh = before ? changedWords(before, result.words.map((word) => word.text)) : new Set();
  for (const part of ["title", "description"]) {
    const buttons = [];
    result.words.forEach((word, index) => {
      if (word.part !== part) return;
      const marked = Boolean(values && why.marks[index]);
      const button = wordButton(word, index, parts, values && values[index], shares && shares[index], marked, scale);
      if (fresh.has(index)) button.classList.add("fresh");
      buttons.push(button);
    });
    const chosen = buttons.find((button) => Number(button.dataset.word) === view.word);
    if (buttons.length) (chosen || buttons[0]).tabIndex = 0;
    const held = by(part).contains(document.activeElement);
    by(part).replaceChildren(...buttons);
    if (held && buttons.length) (chosen || buttons[0]).focus({ preventScroll: true });
  }
}

function selectWord(index) {
  view.word = index;
  for (const button of by("hero").querySelectorAll("button.word"))
    button.setAttribute("aria-pressed", String(Number(button.dataset.word) === index));
  renderWhy();
}

function startStrip() {
  for (const id of ["title", "description"]) {
    roving(by(id), "button.word", (button) => selectWord(Number(button.dataset.word)));
    by(id).addEventListener("click", (event) => {
      const button = event.target.closest("button.word");
      if (!button || !view.answer || !view.answer.result.trace) return;
      for (const other of by(id).querySelectorAll("button.word")) other.tabIndex = -1;
      button.tabIndex = 0;
      selectWord(Number(button.dataset.word));
      showTab("why");
      reveal(element.querySelector(".why"));
    });
  }
  for (const mode of ["shares", "gates"])
    by("mode-" + mode).addEventListener("click", () => {
      view.mode = mode;
      for (const other of ["shares", "gates"])
        by("mode-" + other).setAttribute("aria-pressed", String(other === mode));
      if (view.answer && view.answer.result.trace) { renderWords(); renderWhy(); }
      renderLegend();
    });
}

function renderLegend() {
  const trace = view.answer && view.answer.result.trace;
  const parts = trace ? trace.parts : ["context", ...BRANCHES];
  const totals = trace ? overall(wordValues(view.answer)) : null;
  by("legend").replaceChildren(...parts.map((part, p) =>
    h("li", { title: MEANINGS[part] || part }, swatch(part), part,
      h("span", { class: "number" }, totals && totals.length ? percent(totals[p]) : ""))));
}
