// A beside B, and the history of this tab.

const MAX_HISTORY = 30;

// What has been heard of a track's passage since, on this page, belongs to it.
function withHeard(track) {
  const now = state.tracks.find((own) => own.heardAs === passageOf(track)) || track;
  const { seconds, peaks, partly, heard, heardAs, sha256 } = now;
  return { ...track, seconds, peaks, partly, heard, heardAs, sha256 };
}

function remember(answer) {
  // The settings that made this caption, not those that the page has moved on to.
  const { tags, artists, strengths, decoding, seed } = answer.result.request;
  const settings = { v: 1, tags, artists, strengths, decoding, seed };
  const tracks = flight.tracks.map(withHeard);
  const text = captionText(answer.result);
  const auto = flight.auto === answer.run; // its tags followed what was heard
  const last = view.history[0];
  const heard = ({ result }) => JSON.stringify(result.request.tracks);
  if (last && JSON.stringify(last.settings) === JSON.stringify(settings) && last.text === text && heard(last.answer) === heard(answer))
    Object.assign(last, { answer, tracks, auto });
  else view.history.unshift({ settings, text, answer, time: new Date(), tracks, auto });
  view.history.length = Math.min(view.history.length, MAX_HISTORY);
  keepTab();
  keepHistory();
  renderCompare();
}

function restoreEntry(entry) {
  forgetSaved();
  applySettings(entry.settings);
  state.auto = Boolean(entry.auto);
  state.tracks = entry.tracks.map(withHeard);
  forgetParts();
  player.index = -1;
  player.audio.pause();
  selectTrack(state.tracks.length ? 0 : -1);
  renderTracks();
  renderSteer();
  dropFlight();
  keepTab();
  showError("");
  setBusy(false, "Restored.");
  showAnswer(entry.answer, null);
  announce("Restored: " + entry.text);
}

// As the page's own field calls it: "Bonus: that length" becomes "bonus (that length)".
function settingName(name) {
  const field = FIELDS.find(([key]) => key === name);
  if (!field) return name;
  const text = field[1].replace(/ \(.*\)$/, "").replace(/^(\w+): (.*)$/, "$1 ($2)");
  return text[0].toLowerCase() + text.slice(1);
}

// What differs between what made two captions, in words.
function differences(one, other) {
  const { request: a } = one, { request: b } = other;
  const found = [];
  if (one.checkpoint_sha256 !== other.checkpoint_sha256)
    found.push("another checkpoint" + (one.checkpoint === other.checkpoint ? "" : ": " + one.checkpoint + " \u2192 " + other.checkpoint));
  const pairs = (items, name, value) => new Map(items.map((item) => [item[name], item[value]]));
  const compareMaps = (x, y, what, show) => {
    for (const name of new Set([...x.keys(), ...y.keys()]))
      if (x.get(name) !== y.get(name))
        found.push(what + name + ": " + (x.has(name) ? show(x.get(name)) : "none") + " \u2192 " + (y.has(name) ? show(y.get(name)) : "none"));
  };
  const number = (v) => (typeof v === "number" ? String(Math.round(v * 1000) / 1000) : String(v));
  compareMaps(pairs(a.tags, "text", "weight"), pairs(b.tags, "text", "weight"), "tag ", number);
  const common = (x, y) => JSON.stringify(x.map((tag) => tag.text).filter((text) => y.some((tag) => tag.text === text)));
  if (first.tags_ordered && common(a.tags, b.tags) !== common(b.tags, a.tags)) found.push("the order of the tags");
  compareMaps(pairs(a.artists, "name", "share"), pairs(b.artists, "name", "share"), "artist ", number);
  compareMaps(new Map(Object.entries(a.strengths)), new Map(Object.entries(b.strengths)), "strength of ", number);
  const settings = ({ decoding }) => new Map(Object.entries(decoding || {}).map(([name, value]) => [settingName(name), value]));
  compareMaps(settings(a), settings(b), "", (value) => METHODS[value] || number(value));
  if (a.seed !== b.seed) found.push("seed: " + a.seed + " \u2192 " + b.seed);
  const tracks = (request) => JSON.stringify(request.tracks.map((t) => [t.sha256, t.weight, t.start, t.end]));
  if (tracks(a) !== tracks(b)) found.push("the audio");
  // Tracks' artists count only where no artists are given.
  const played = (request) => JSON.stringify(rankArtists({ artists: [], tracks: request.tracks }));
  if (!(a.artists.length && b.artists.length) && played(a) !== played(b)) found.push("the tracks\u2019 artists");
  return found;
}

function sideCard(letter, answer, other) {
  const { result, why } = answer;
  const parts = answer.parts || partsOf(result);
  const rows = why ? why.shares : [];
  const fresh = other ? changedWords(other.result.words.map((w) => w.text), result.words.map((w) => w.text)) : new Set();
  const words = (part) => result.words.map((word, index) => {
    if (word.part !== part) return null;
    return h("span", { class: "side-word" }, fresh.has(index) ? h("mark", {}, word.text) : h("span", {}, word.text),
      rows.length > 0 && shareBar(parts, rows[index], "bar thin"));
  });
  const totals = overall(rows);
  return h("article", { class: "side", "aria-label": "Caption " + letter },
    h("p", { class: "letter" }, letter),
    h("p", { class: "side-title" }, words("title")), h("p", { class: "side-text" }, words("description")),
    totals.length > 0 && h("div", { class: "totals" }, shareBar(parts, totals, "bar wide"),
      h("p", { class: "small soft" }, spoken(parts, totals))));
}

function renderCompare() {
  const panel = panels.compare;
  const { pinned, answer } = view;
  const pieces = [];
  if (!pinned) pieces.push(h("p", { class: "soft" }, "Pin a caption as A, then move a slider: B appears beside it with every changed word marked."));
  else {
    const changes = answer ? differences(pinned.result, answer.result) : [];
    pieces.push(
      h("div", { class: "sides" }, sideCard("A", pinned, answer), answer && sideCard("B", answer, pinned)),
      h("p", { class: "small" }, h("strong", {}, "Changed from A to B: "), changes.length ? changes.join("; ") : "nothing yet"),
      h("button", { type: "button", class: "button", onclick: unpin }, "Unpin A"));
  }
  pieces.push(h("h3", {}, "History of this tab"),
    view.history.length ? h("ol", { class: "history", "data-id": "history" }, view.history.map((entry) => h("li", {},
      h("div", {}, h("p", { class: "history-text" }, entry.text.replace("\n", " \u2014 ")),
        h("p", { class: "soft small" }, entry.time.toLocaleTimeString() + " \u00b7 " + summary(entry))),
      h("div", { class: "row" },
        h("button", { type: "button", class: "chip", onclick: () => restoreEntry(entry) }, "Restore"),
        h("button", { type: "button", class: "chip", onclick: () => pin(entry.answer) }, "Pin as A")))))
      : h("p", { class: "soft" }, "Every caption you make is listed here, with its settings."));
  keepingFocus(panel, () => put(panel, ...pieces));
}

function summary({ settings, tracks }) {
  const bits = [tracks.length ? tracks.map((t) => t.name).slice(0, 2).join(", ") : "no audio", plural(settings.tags.length, "tag")];
  if (settings.artists.length) bits.push(plural(settings.artists.length, "artist"));
  for (const [name, value] of Object.entries(settings.strengths))
    if (value !== 1) bits.push(name + " " + value + "\u00d7");
  return bits.join(" \u00b7 ");
}

function unpin() {
  view.pinned = null;
  keepHistory();
  renderCompare();
}

function pin(answer) {
  view.pinned = answer;
  keepHistory();
  renderCompare();
  showTab("compare");
  reveal(element.querySelector(".why"));
  announce("Pinned as A.");
}
