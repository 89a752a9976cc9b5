// The caption, its other versions, its short form, and captions of every part of the song.

function showError(text) {
  const box = by("error");
  box.textContent = text;
  box.hidden = !text;
}

function setBusy(busy, text) {
  by("hero").classList.toggle("busy", busy);
  renderStop();
  if (text !== undefined) tellStatus(text);
}

// A live region that is written anew is read out again: only what differs is written, and how far
// something has come is for the eye alone.
function tellStatus(text, share = "") {
  const [told, shown] = by("status").childNodes;
  if (!shown || told.nodeValue !== text)
    by("status").replaceChildren(text, h("span", { "aria-hidden": "true" }, share));
  else if (shown.textContent !== share) shown.textContent = share;
}

// Parts are captioned, and files uploaded, beside a caption that may be at rest: Stop ends them all.
function renderStop() {
  const idle = !(by("hero").classList.contains("busy") || through.running || uploads.pending);
  by("go").disabled = !hasInput();
  // A disabled button would lose the focus.
  if (idle && by("stop") === document.activeElement)
    by(hasInput() ? "go" : "files").focus({ preventScroll: true });
  by("stop").disabled = idle;
}

// The hero never shrinks while captions come and go, so nothing below it jumps.
function holdHeight() {
  const hero = by("hero");
  hero.style.minHeight = Math.max(hero.offsetHeight, parseFloat(hero.style.minHeight) || 0) + "px";
}

// For other music, or at another width, it may: what stood there before says nothing of it.
function freeHeight() {
  by("hero").style.minHeight = "";
}

const captionText = ({ title, description }) => [title, description].filter(Boolean).join("\n");

// One line: the title, or the first clause of the description where there is none.
function shortForm({ title, description }) {
  const sentence = (description.match(/^.*?[.!?](?=\s|$)/) || [description])[0];
  const clause = sentence.length > 110 ? sentence.slice(0, 110).replace(/[\s,;]+\S*$/, "") + "\u2026" : sentence;
  return title ? title + " \u2014 " + clause : clause;
}

function renderResult(before) {
  const { result } = view.answer;
  renderWords(before);
  renderLegend();
  const warnings = by("warnings");
  warnings.hidden = !result.warnings.length;
  warnings.replaceChildren(...result.warnings.map((text) => h("li", {}, text)));
  by("short").textContent = shortForm(result);
  for (const id of ["copy", "short-form", "pin"]) by(id).disabled = false;
  renderOthers();
}

function renderOthers() {
  const panel = panels.others;
  if (!view.answer) return put(panel, h("p", { class: "soft" }, "Other captions that nearly won appear here."));
  const { alternatives, request } = view.answer.result;
  const shown = alternatives[0].log_probability;
  put(panel, 
    h("p", { class: "soft small" }, request.decoding && request.decoding.method === "sample"
      ? "Drawn with the same settings; the seed decides which." :
      "The best captions that the search kept. The score ranks them: higher is better." + rankedBy(request)),
    h("ol", { class: "others" }, alternatives.map((other, index) =>
      h("li", {},
        h("p", { class: "other-text" }, other.title && h("strong", {}, other.title), other.title && " ", other.description),
        h("p", { class: "soft small" }, (index === 0 ? "shown above \u00b7 " : "") + "score " + other.score.toFixed(3) +
          " \u00b7 log-probability " + other.log_probability.toFixed(2) + " over " + plural(other.tokens.length, "token") +
          (index ? " \u00b7 " + likelier(other.log_probability - shown) : "")))))
  );
}

const rankedBy = ({ decoding, tags, strengths }) => {
  const { coverage = 0, invention = 0, length = 0, consensus = 0 } = decoding || {};
  const heard = strengths.tags !== 0 && tags.some((tag) => tag.weight > 0);
  const terms = [
    heard && coverage && "a bonus for using the tags\u2019 words, the more where they stand together",
    heard && invention && "a penalty for each instrument that no tag names, each word that a tag rules out and each tag told again",
    length && "a bonus for about as many words as are usual or asked for",
    consensus && "a bonus for agreeing with captions drawn at random",
  ].filter(Boolean);
  return terms.length ? " It is the log-probability over the length, with " + terms.join("; ") + " (Decoding turns each off)." : "";
};

const likelier = (difference) => {
  if (Math.abs(difference) < 0.05) return "as likely as the one shown";
  const times = Math.abs(difference) > 6.9 ? "over 1000" : Math.exp(Math.abs(difference)).toFixed(1);
  return times + "\u00d7 " + (difference > 0 ? "likelier, but the score decides" : "less likely than the one shown");
};

const PART_SECONDS = [6, 15, 30, 60];
const through = { seconds: 15, list: [], settings: "", running: false, error: "", run: 0 };

// What the captions of parts follow besides their music: tags are heard in each part.
function partsSettings() {
  const { artists, tracks, strengths, decoding, seed } = requestData();
  return JSON.stringify([artists.length ? artists : tracks.map(({ artist }) => artist.trim()), strengths, decoding, seed]);
}

// The server goes on with every part that it was asked for until it is told otherwise.
function stopParts() {
  if (through.run) supersede("segments", through.run + 1);
  through.running = false;
}

// The tracks have changed: what was said of their parts is no longer about what is heard.
function forgetParts() {
  stopParts();
  Object.assign(through, { list: [], running: false, error: "", run: 0 });
  keepParts();
}

function renderThrough() {
  renderStop();
  const panel = panels.through;
  const options = PART_SECONDS.map((s) =>
    h("option", { value: s, selected: s === through.seconds }, s + " s"));
  const start = h("button", {
    type: "button", class: "button", "data-id": "segments-go", disabled: !state.tracks.length || through.running,
    onclick: () => {
      stopParts();
      flight.run += 1;
      Object.assign(through, { running: true, error: "", list: [], settings: partsSettings(), run: flight.run });
      renderThrough();
      send("segments", { seconds: through.seconds });
    },
  }, through.running ? "Listening\u2026" : "Caption each part");
  const whole = view.answer && view.answer.result;
  const many = state.tracks.length > 1;
  const trackOf = (part) => (state.tracks[part.track] || {}).name;
  const stale = through.list.length > 0 && !through.running && through.settings !== partsSettings();
  const rows = through.list.map((part) => h("li", {},
    h("button", {
      type: "button", class: "chip", "aria-label": "Play " + (many ? trackOf(part) + " " : "") + "from " + clock(part.start),
      onclick: () => seek(part.track, part.start, part.end),
    }, "\u25b6 " + clock(part.start) + "\u2013" + clock(part.end)),
    h("p", {}, many && h("span", { class: "soft" }, trackOf(part) + " \u00b7 "),
      part.title && h("strong", {}, part.title + " "), part.description)));
  keepingFocus(panel, () => put(panel,
    h("div", { class: "row" }, h("label", {}, "Parts of ", h("select", {
      "data-id": "segment-seconds", onchange: (event) => { through.seconds = Number(event.target.value); },
    }, options)), start,
    h("button", { type: "button", class: "button", disabled: !through.list.length, onclick: () => copy(
      through.list.map((p) => (many ? trackOf(p) + "  " : "") + clock(p.start) + "\u2013" + clock(p.end) + "  " + captionText(p).replace("\n", " \u2014 ")).join("\n")) }, "Copy list")),
    through.error && h("p", { class: "error" }, through.error),
    stale && h("p", { class: "small stale", "data-id": "parts-stale" }, "Captioned with other settings: press Caption each part to renew them."),
    whole && state.tracks.length > 0 && h("p", { class: "whole" }, h("strong", {}, "The whole: "), shortForm(whole)),
    h("ol", { class: "through", "data-id": "segments" }, rows),
    h("p", { class: "soft small" }, (state.tracks.length ? "" : "Add music to caption it part by part. ") +
      "Each part is heard for itself: it takes the tags heard in it, not those under Steer. Artists, strengths and decoding hold.")));
}

function takeSegments(answer) {
  if (answer.run !== through.run) return;
  if (answer.segments) {
    through.list = answer.segments;
    keepParts();
  }
  if (answer.done) through.running = false;
  if (answer.error) return failParts(answer.error);
  if (answer.done && !answer.stopped) announce(plural(through.list.length, "part") + " captioned.");
  renderThrough();
}

function failParts(error) {
  Object.assign(through, { running: false, error });
  announce(error); // its paragraph is drawn anew too often to be an alert
  renderThrough();
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied.");
    tellStatus("Copied");
  } catch {
    showError("The browser did not allow copying: select the text instead.");
  }
}

function startReading() {
  by("copy").addEventListener("click", () => {
    const { result } = view.answer;
    copy(by("short").hidden ? captionText(result) : shortForm(result));
  });
  by("short-form").addEventListener("click", () => {
    const short = by("short").hidden;
    by("short").hidden = !short;
    by("title").hidden = by("description").hidden = short;
    by("short-form").setAttribute("aria-pressed", String(short));
  });
  by("live").addEventListener("change", (event) => {
    state.live = event.target.checked;
    if (state.live) changed();
    else keepTab();
  });
  by("go").addEventListener("click", () => ask(true));
  by("stop").addEventListener("click", stop);
}
