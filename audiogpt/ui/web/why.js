// Tabs, and everything about one word.

const TABS = [
  ["why", "See why"], ["others", "Other captions"], ["through", "Through the song"],
  ["compare", "Compare"], ["keep", "Keep"],
];
const panels = {};
const HONESTY = "These pictures show what the layers mixed in, not proof of why a word was chosen.";

function startTabs() {
  const buttons = TABS.map(([name, text], i) => h("button", {
    type: "button", role: "tab", id: "agpt-tab-" + name, "aria-controls": "agpt-panel-" + name,
    "aria-selected": String(i === 0), tabindex: i === 0 ? 0 : -1, onclick: () => showTab(name),
  }, text));
  by("tabs").replaceChildren(...buttons);
  roving(by("tabs"), "[role=tab]", (tab) => showTab(tab.id.replace("agpt-tab-", "")));
  for (const [name] of TABS)
    panels[name] = h("div", {
      role: "tabpanel", id: "agpt-panel-" + name, "aria-labelledby": "agpt-tab-" + name, tabindex: 0, hidden: name !== "why",
    });
  by("panels").replaceChildren(...Object.values(panels));
}

function showTab(name) {
  for (const [other] of TABS) {
    const tab = element.querySelector("#agpt-tab-" + other);
    tab.setAttribute("aria-selected", String(other === name));
    tab.tabIndex = other === name ? 0 : -1;
    panels[other].hidden = other !== name;
  }
}

function layerBars(result, word) {
  const { trace } = result;
  const width = 260, cell = 16, left = 22;
  const tokens = tokensOf(word);
  const rows = trace.shares.map((layer, l) => {
    const values = trace.parts.map((_, p) => mean(tokens.map((t) => layer[t][p])));
    let x = left;
    const y = (trace.shares.length - 1 - l) * cell;
    return [svg("text", { class: "tick end", x: left - 5, y: y + 11 }, l + 1), values.map((value, p) => {
      const rect = svg("rect", { class: "part", x, y, width: value * width, height: cell - 4, fill: COLOURS[trace.parts[p]] });
      x += value * width;
      return rect;
    })];
  });
  return svg("svg", {
    viewBox: "0 0 " + (left + width + 2) + " " + trace.shares.length * cell, role: "img", class: "layer-bars",
    "aria-label": "Exact shares of \u201c" + word.text + "\u201d in each of " + plural(trace.shares.length, "layer") + "; numbers in the table below",
  }, rows);
}

// Gates stand below the shares, each under its part: beside them they would not fit the column.
function layerTable(result, word) {
  const { trace } = result;
  const tokens = tokensOf(word);
  const at = (value) => h("td", {}, percent(mean(tokens.map(value))));
  const rows = (title, values) => h("tbody", {},
    h("tr", {}, h("th", { scope: "rowgroup", colspan: 1 + trace.parts.length }, title)),
    trace.shares.map((_, l) => h("tr", {}, h("th", { scope: "row" }, l + 1), values(l))));
  return fold("layers", "Numbers per layer", () => h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Numbers per layer" },
    h("table", {},
      h("thead", {}, h("tr", {}, ["layer", ...trace.parts].map((text) => h("th", { scope: "col" }, text)))),
      rows("shares", (l) => trace.parts.map((_, p) => at((t) => trace.shares[l][t][p]))),
      rows("gates (the context\u2019s is \u03b1)", (l) => [at((t) => trace.alpha[l][t]),
        ...trace.parts.slice(1).map((_, m) => at((t) => trace.gates[l][t][m]))]))));
}

const MATTERS = 0.1; // nats: what a branch's removal changes less than this, it hardly changes

// Why a word is marked: the branch with the largest share is not the one that it depends on.
function disagreement(branches, shares, drops) {
  const most = branches[argmax(shares)];
  const mixed = "The layers mixed in much of \u201c" + most + "\u201d, yet ";
  if (Math.max(...drops) >= MATTERS)
    return "The largest share is " + most + ", but the word depends most on " + branches[argmax(drops)] + ".";
  if (drops.every((drop) => Math.abs(drop) < MATTERS)) return mixed + "taking any one branch away hardly changes this word.";
  return mixed + "no branch\u2019s removal makes this word clearly less likely; without " +
    branches[argmax(drops.map((drop) => -drop))] + " it would be likelier.";
}

const factor = (drop) =>
  Math.abs(drop) < 0.005 ? "no change" : Math.abs(drop) < 0.05 ? "hardly any change"
    : Math.abs(drop) > 6.9 ? (drop > 0 ? "over 1000\u00d7 less likely" : "over 1000\u00d7 likelier")
      : Math.exp(Math.abs(drop)).toFixed(1) + "\u00d7 " + (drop > 0 ? "less likely" : "likelier");

function branchTable(answer, index) {
  const { result, why, key } = answer;
  const { parts } = result.trace;
  const values = why.shares[index], drops = why.drops[index], exact = key && view.shapley[key];
  const row = (part, p) => h("tr", {}, h("th", { scope: "row" }, swatch(part), part),
    h("td", {}, percent(values[p])),
    h("td", {}, p === 0 ? "" : [signed(drops[p - 1]), h("span", { class: "soft small" }, " " + factor(drops[p - 1]))]),
    exact && h("td", {}, p === 0 ? "" : signed(exact[index][p - 1])));
  const head = ["", "share", "without it", exact && "Shapley"].filter((text) => text !== null && text !== undefined && text !== false);
  return h("div", {},
    h("table", { class: "branches" }, h("caption", { class: "sr" }, "Share and causal check per branch"),
      h("thead", {}, h("tr", {}, head.map((text) => h(text ? "th" : "td", text ? { scope: "col" } : {}, text)))),
      h("tbody", {}, parts.map(row))),
    h("p", { class: "soft small" }, "\u201cWithout it\u201d: how much log-probability (nats) the word loses when that branch is taken away."),
    why.marks[index] && h("p", { class: "disagree" }, h("strong", {}, "\u2260 "), disagreement(parts.slice(1), values.slice(1), drops)),
    !exact && h("button", { type: "button", class: "button", "data-id": "shapley", disabled: !key, onclick: (event) => {
      panels.why.focus({ preventScroll: true }); // a disabled button would lose it
      event.target.disabled = true;
      event.target.textContent = "Computing\u2026";
      flight.run += 1; // answers repeat it: one that is told again still comes as another one
      send("shapley", { key });
    } }, "Exact Shapley values"),
    exact && h("p", { class: "soft small" }, "Shapley values (nats) share out fairly what all branches together add, over all " + 2 ** drops.length + " combinations."));
}

// The model says artist0, artist1, ...; the page says who that is.
function tokenName(text, request) {
  if (text === first.end) return "(end of the caption)";
  const rank = /^\s*artist(\d+)$/.exec(text);
  return rank ? (rankArtists(request)[Number(rank[1])] || ["another artist"])[0] : text.trim() || "\u2423";
}

function nearWinners(answer, index) {
  const { result, why } = answer;
  const word = result.words[index];
  if (!why.candidates)
    return h("p", { class: "soft small" }, "Another checkpoint wrote this caption: only that one can spell what else was likely.");
  return h("div", {}, tokensOf(word).map((t) => {
    const chosen = result.token_texts[t];
    const seen = why.candidates[t].slice(0, 5);
    return h("div", { class: "near" },
      tokensOf(word).length > 1 && h("p", { class: "soft small" }, "piece \u201c" + tokenName(chosen, result.request) + "\u201d, " + percent(Math.exp(result.trace.log_probability[t]))),
      h("ul", { class: "candidates" }, seen.map(([text, logp]) => h("li", { class: text === chosen ? "chosen" : "" },
        h("span", { class: "candidate" }, tokenName(text, result.request)), h("span", { class: "track-bar", "aria-hidden": "true" },
          h("span", { style: { width: 100 * Math.exp(logp) + "%" } })), h("span", { class: "number" }, percent(Math.exp(logp)))))));
  }));
}

function tagAttention(result, word) {
  const labels = result.rows.tags || [];
  const values = labels.length > 1 ? wordAttention(result, word, "tags") : [];
  if (!values.length) return null;
  const order = [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, 4);
  return h("p", { class: "small" }, "Tags looked at: ", order.map((r) => labels[r] + " " + percent(values[r])).join(", "));
}

function wordDetail() {
  const { result } = view.answer;
  const word = result.words[view.word];
  if (!word) return h("div", { class: "hint" }, h("p", {}, "Pick a word of the caption to see what it was made of, what else was likely in its place, and where in the music the model listened."));
  const probability = Math.exp(tokensOf(word).reduce((sum, t) => sum + result.trace.log_probability[t], 0));
  return h("div", { class: "detail", "data-id": "detail" },
    h("div", { class: "detail-head" }, h("h3", {}, "\u201c" + word.text + "\u201d"),
      h("span", { class: "soft" }, "probability " + percent(probability) + (word.end - word.start > 1 ? " \u00b7 " + (word.end - word.start) + " pieces, together" : ""))),
    h("div", { class: "columns" },
      h("div", {}, h("h4", {}, "Made of"), branchTable(view.answer, view.word), tagAttention(result, word)),
      h("div", {}, h("h4", {}, "Likeliest here"), nearWinners(view.answer, view.word)),
      h("div", {}, h("h4", {}, "Shares per layer"), layerBars(result, word), layerTable(result, word))));
}

function renderWhy() {
  const panel = panels.why;
  const traced = view.answer && view.answer.result.trace;
  if (!traced) {
    put(panel, h("p", { class: "soft" }, view.answer ? view.answer.unexplained || "Working out why\u2026" : "Once there is a caption, every word of it can be opened here."));
    return;
  }
  if (!view.answer.result.words.length)
    return put(panel, h("p", { class: "soft" }, "This caption has no words: allow more tokens under Decoding."));
  // A word is picked in the layers, too: they stay where they were scrolled to.
  const layers = () => panel.querySelector(".layers .scroll") || {};
  const left = layers().scrollLeft || 0;
  put(panel, wordDetail(),
    h("h3", {}, "Along the music"), drawTime(view.answer),
    h("h3", {}, view.mode === "gates" ? "Raw gates, layer by layer" : "Shares, layer by layer"), drawLayers(view.answer, selectWord),
    view.mode === "gates" && h("p", { class: "soft small" }, "A gate says how far a layer opens, not how much came through: beside an empty branch, or a large context, an open gate adds little. The exact shares count what arrived."),
    h("p", { class: "honest" }, HONESTY + " A word\u2019s shares, gates and attention are the means of its pieces; its probability, drops and Shapley values count all of them together. \u2260: " + DISAGREEMENT));
  layers().scrollLeft = left;
}

function takeShapley(answer) {
  if (answer.error) showError(answer.error);
  else if (answer.shapley) view.shapley[answer.key] = answer.shapley;
  if (view.answer && view.answer.result.trace) renderWhy();
}
