// Asks for captions, shows the answers, and starts the page.

// A slider moved: with Live on, the newest settings are asked for as soon as the server is free.
function changed() {
  keepTab();
  if (by("link")) by("link").value = link();
  renderThrough();
  renderVector();
  if (state.live || !hasInput()) return ask(false);
  showError("");
  if (!asking()) setBusy(false, "Press Caption to see the change.");
}

function ask(deliberate) {
  keepTab();
  if (!hasInput()) {
    if (deliberate) showError("Add music, a tag or an artist first.");
    else {
      showError("");
      dropFlight(); // or the caption of what was removed would come back
      setBusy(false, "Add music or a tag to begin.");
      clearCaption();
    }
    return;
  }
  showError("");
  dropExpected();
  flight.run += 1;
  flight.since = performance.now();
  flight.tracks = state.tracks.map((track) => ({ ...track }));
  if (asking() && flight.superseded < flight.asked) {
    flight.superseded = flight.asked;
    supersede("caption", flight.run);
  }
  note({ asked: flight.run, shown: flight.run });
  holdHeight();
  setBusy(true, allHeard() ? "Writing\u2026" : "Listening\u2026");
  if (!allHeard()) renderWave();
  send("caption", { heard: allHeard() });
  awaitAnswer();
}

function stop() {
  dropFlight();
  stopParts();
  stopUploads();
  settle("Stopped.");
  renderThrough();
}

// Nothing more comes: half-written words give way to the caption that the buttons are about.
function settle(text) {
  setBusy(false, text);
  renderWave();
  if (!view.answer) return clearCaption();
  if (!view.answer.result.trace && !view.answer.unexplained) {
    view.answer.unexplained = "Stopped before the reasons were worked out.";
    renderEverything(); // or another caption's reasons would stay
  }
  renderWords();
}

function clearCaption() {
  view.answer = null;
  view.word = -1;
  freeHeight();
  for (const id of ["title", "description"]) by(id).replaceChildren();
  by("short").textContent = "";
  by("warnings").hidden = true;
  for (const id of ["copy", "short-form", "pin"]) by(id).disabled = true;
  renderEverything();
}

function renderEverything() {
  renderLegend();
  renderWhy();
  renderOthers();
  renderThrough();
  renderCompare();
  renderKeep();
}

// Partial captions replace a caption on the screen only when the wait is long enough to be felt.
const PATIENCE = 450; // ms

function takeCaption(answer) {
  if (answer.run < flight.shown) return;
  awaitAnswer();
  if (answer.error) {
    note({ done: Math.max(flight.done, answer.run) });
    dropExpected();
    settle("No caption.");
    return showError(answer.error);
  }
  if (answer.stopped) return;
  if (!answer.result) {
    const listening = answer.listening !== undefined && !answer.heard && !answer.auto_tags && !answer.partial;
    if (listening) tellStatus("Listening\u2026", " " + percent(answer.listening));
    else tellStatus("Writing\u2026");
  }
  if (answer.heard && flight.heard !== answer.run) {
    flight.heard = answer.run;
    takeHeard(answer.heard, flight.tracks);
    if (!by("tags").contains(document.activeElement)) renderTags(); // never under a moving finger
    if (againAsSaved()) return; // what was just heard is to be used as it was saved
  }
  const same = flight.tracks.map(passageOf).join() === state.tracks.map(passageOf).join();
  if (answer.auto_tags) flight.auto = answer.run;
  if (answer.auto_tags && state.auto && same && flight.tagged !== answer.run) {
    flight.tagged = answer.run;
    state.tags = answer.auto_tags;
    renderTags();
  }
  const late = performance.now() - flight.since > PATIENCE || !view.answer;
  if (answer.partial && !answer.result && late) renderPartial(answer.partial);
  if (answer.result) {
    const speak = flight.said !== answer.run;
    // The words come again with their reasons: what changed is marked in both.
    if (speak) flight.before = view.answer && view.answer.result.words.map((w) => w.text);
    flight.said = answer.run;
    showAnswer({ run: answer.run, result: answer.result, why: answer.why || null, key: answer.key || null }, flight.before, speak);
    if (answer.done) {
      setBusy(false, "Done in " + ((performance.now() - flight.since) / 1000).toFixed(2) + " s");
      if (view.expect && view.expect.run === answer.run) {
        view.expect.tell(view.answer);
        view.expect = null;
      }
      remember(view.answer);
      note({ done: Math.max(flight.done, answer.run) });
    }
  }
}

// The chosen word in another caption: the second "a" stays the second one, or becomes the last.
function sameWord(words, index, others) {
  const chosen = words[index];
  if (!chosen) return -1;
  const alike = (all) => [...all.keys()].filter((i) => all[i].text === chosen.text && all[i].part === chosen.part);
  const places = alike(others);
  return places[Math.min(alike(words).indexOf(index), places.length - 1)] ?? -1;
}

function showAnswer(answer, before, speak = true) {
  const chosen = view.answer ? sameWord(view.answer.result.words, view.word, answer.result.words) : -1;
  // What was pinned before its reasons came gets them too.
  if (view.pinned && view.pinned === view.answer && answer.run && answer.run === view.answer.run) {
    view.pinned = answer;
    keepHistory();
  }
  view.answer = answer;
  view.word = chosen;
  renderResult(before);
  if (speak) announce("Caption: " + captionText(answer.result));
  if (!answer.result.trace && !answer.unexplained) return; // the pictures follow in a moment; until then the last ones stay
  renderWhy();
  renderThrough();
  renderCompare();
  renderKeep();
}

window.audiogptAnswer = (kind, text) => {
  if (!text) return;
  const answer = JSON.parse(text);
  ({ caption: takeCaption, segments: takeSegments, shapley: takeShapley })[kind](answer);
};

const THEME_KEY = "audiogpt-theme";

// Colours are chosen once per browser; an address that names a theme (gradio's `__theme`) still decides.
function startTheme() {
  const button = by("theme");
  const show = () => {
    const dark = document.body.classList.contains("dark");
    button.setAttribute("aria-pressed", String(dark));
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", dark ? "Use light colours" : "Use dark colours");
  };
  button.addEventListener("click", () => {
    const dark = document.body.classList.toggle("dark");
    try { localStorage.setItem(THEME_KEY, dark ? "dark" : "light"); } catch { /* as in keepTab */ }
    show();
  });
  let chosen = null;
  try { chosen = localStorage.getItem(THEME_KEY); } catch { /* as in keepTab */ }
  if (chosen && !new URLSearchParams(location.search).has("__theme"))
    document.body.classList.toggle("dark", chosen === "dark");
  show();
}

startTabs();
startTheme();
startListening();
const brought = bringBack();
bringHistory();
const linked = !brought && openLink();
startSteering();
startStrip();
startReading();
by("pin").addEventListener("click", () => pin(view.answer));
renderEverything();
followLinks();
startPeek();
if (hasInput() && (linked || (brought && state.live))) ask(false);
else if (hasInput()) setBusy(false, "Press Caption to go on.");
element.firstElementChild.dataset.ready = "yes";
