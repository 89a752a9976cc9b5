// Save, load, link.

const SAVED = "audiogpt-caption";

function saveJson() {
  const { result } = view.answer;
  download(fileStem() + ".json", JSON.stringify({ kind: SAVED, saved: new Date().toISOString(), result }, null, 1), "application/json");
}

function link() {
  const url = new URL(location.href);
  url.hash = "s=" + encodeSettings();
  return url.href;
}

// The loaded caption that is to be made again, and which track of the page is which of its own.
const again = { result: null, found: new Map(), settings: "", otherwise: "" };

const sayLoaded = (words) => { by("load-note").textContent = words; };

async function readSaved(file) {
  if (file.size > 8e6) throw new Error("This file is too large to be a saved caption.");
  const text = await file.text();
  let saved;
  try { saved = JSON.parse(text); } catch { saved = null; }
  if (!saved || saved.kind !== SAVED || typeof saved.result !== "object")
    throw new Error("This file is not a caption that this page saved.");
  const said = await server.restore(JSON.stringify(saved.result));
  if (!said) throw new Error("The server has not answered: try again.");
  const reply = JSON.parse(said);
  if (reply.error) throw new Error(reply.error);
  return reply;
}

// A saved caption: its settings come back, and its audio where it is on the page. With all of it at
// hand the caption is made again; what is missing is waited for.
async function loadJson(file) {
  try {
    const { result, why, same_checkpoint } = await readSaved(file);
    dropFlight();
    applySettings(result.request);
    setBusy(false, "Loaded.");
    again.result = result;
    again.settings = JSON.stringify(settingsData());
    again.otherwise = same_checkpoint ? "" : " It was written by another checkpoint (" + result.checkpoint + "), so making it again may give other words.";
    bringSavedTracks();
    renderSteer();
    keepTab();
    showError("");
    showAnswer({ result, why: result.trace ? why : null, key: null,
      unexplained: result.trace ? "" : "This caption was saved without its reasons." }, null);
    if (!awaited().length) ask(true);
    expectSaved();
  } catch (error) {
    forgetSaved();
    sayLoaded("");
    showError(error.message);
  }
}

const isSaved = (own) => [...again.found.values()].includes(own);

const awaited = () => (again.result ? again.result.request.tracks : [])
  .filter((track) => !state.tracks.includes(again.found.get(track)));

// Until the server has heard a file, only its name tells what it is.
const isOf = (track) => (own) => (own.sha256 ? own.sha256 === track.sha256 : own.name === track.name);

const asSaved = ({ weight, start, end, artist }) => ({ weight, start, end, artist });

function forgetSaved() {
  if (again.result) sayLoaded("Loaded as it was saved." + again.otherwise);
  again.result = null;
  again.found.clear();
}

// Other music leaves the page: with it, this would be another caption.
function bringSavedTracks() {
  const { tracks } = again.result.request;
  again.found = new Map(tracks.map((track) => [track, state.tracks.find(isOf(track))]).filter(([, own]) => own)
    .map(([track, own]) => [track, { ...own, ...asSaved(track), name: track.name || own.name }]));
  state.tracks = [...again.found.values()];
  forgetParts();
  player.index = -1;
  player.audio.pause();
  selectTrack(state.tracks.length ? 0 : -1);
  renderTracks();
}

// Tracks that were waited for are used as they were saved, and stand in that order.
function fitAwaited() {
  let fitted = false;
  for (const track of awaited()) {
    const own = state.tracks.find((one) => !isSaved(one) && isOf(track)(one));
    if (!own) continue;
    Object.assign(own, asSaved(track));
    again.found.set(track, own);
    fitted = true;
  }
  if (!fitted) return false;
  const playing = state.tracks[player.index];
  const ordered = again.result.request.tracks.map((track) => again.found.get(track)).filter((own) => state.tracks.includes(own));
  state.tracks = [...ordered, ...state.tracks.filter((own) => !ordered.includes(own))];
  player.index = state.tracks.indexOf(playing);
  return true;
}

// What was added under another name turned out to be what is waited for.
function againAsSaved() {
  if (!fitAwaited()) return false;
  forgetParts();
  showPassage();
  renderTracks();
  ask(true);
  expectSaved();
  return true;
}

// Says what is still to be added; with all of it here, what comes is compared with what was saved.
function expectSaved() {
  const { result, settings, otherwise } = again;
  if (!result) return;
  const missing = awaited();
  if (missing.length)
    return sayLoaded("Loaded as it was saved. To make it again, add " + missing.map((track) => track.name || "its audio").join(", ") + "." + otherwise);
  const used = (tracks) => JSON.stringify(tracks.map(asSaved));
  const changed = state.auto || used(state.tracks) !== used(result.request.tracks) || JSON.stringify(settingsData()) !== settings;
  forgetSaved();
  if (changed) return; // made from what the visitor has added or set since, it is not the saved one
  sayLoaded("Loaded, and making it again\u2026");
  const heard = (one) => JSON.stringify(one.request.tracks.map((track) => track.sha256));
  view.expect = {
    run: flight.run,
    tell: (answer) => sayLoaded((captionText(answer.result) === captionText(result)
      ? "Loaded and made again: the same caption." : "Loaded, but made again it reads differently" +
        (heard(answer.result) === heard(result) ? "." : ": the audio of that name is other audio.")) + otherwise),
    drop: () => sayLoaded("Loaded as it was saved." + otherwise),
  };
}

function renderKeep() {
  const none = !view.answer || !view.answer.result.trace;
  const silent = none || !view.answer.result.row_times.length;
  // A newer caption may be on the page already, without its reasons.
  const explained = (save) => () => {
    if (view.answer && view.answer.result.trace) save();
    else tellStatus("Working out why\u2026");
  };
  const button = (text, id, save, disabled = none) =>
    h("button", { type: "button", class: "button", "data-id": id, disabled, onclick: explained(save) }, text);
  const load = h("input", { type: "file", accept: ".json,application/json", id: "agpt-load", "data-id": "load",
    onchange: (event) => { if (event.target.files[0]) loadJson(event.target.files[0]); event.target.value = ""; } });
  const note = by("load-note") ? by("load-note").textContent : "";
  keepingFocus(panels.keep, () => put(panels.keep,
    h("h3", {}, "Take it with you"),
    h("div", { class: "row" }, button("Everything (JSON)", "save-json", saveJson),
      button("Shares (CSV)", "save-csv", () => download(fileStem() + ".csv", sharesCsv(view.answer), "text/csv")),
      button("Strip (PNG)", "save-strip", () => savePng("strip")), button("Layers (PNG)", "save-layers", () => savePng("layers")),
      button("Time line (PNG)", "save-time", () => savePng("time"), silent)),
    h("p", { class: "soft small" }, "The JSON holds the request, the caption, the whole trace, versions and the checkpoint's hash; never the audio."),
    h("h3", {}, "Bring it back"),
    h("div", { class: "row" }, h("label", { class: "button", for: "agpt-load" }, "Load a saved JSON", load)),
    h("p", { class: "small", role: "status", "data-id": "load-note" }, note),
    h("h3", {}, "A link to these settings"),
    h("p", { class: "soft small" }, "Tags, artists, strengths, decoding and seed; never the audio."),
    h("div", { class: "row" }, h("input", { class: "grow", readonly: true, "aria-label": "Link to these settings", "data-id": "link", value: link(),
      onfocus: (event) => event.target.select() }),
      h("button", { type: "button", class: "button", "data-id": "copy-link", onclick: () => { by("link").value = link(); copy(link()); } }, "Copy link"))));
}

// A link opened in a tab that shows the page already changes the fragment and loads nothing.
function followLinks() {
  const follow = () => {
    if (!element.isConnected) return window.removeEventListener("hashchange", follow);
    if (!openLink("so the settings stay as they are: copy the whole link.")) return;
    forgetSaved();
    renderSteer();
    by("link").value = link();
    ask(false);
  };
  window.addEventListener("hashchange", follow);
}

function openLink(otherwise = "so the page starts afresh.") {
  const match = /^#s=([\w-]+)$/.exec(location.hash);
  if (!match) return false;
  try {
    applySettings(decodeSettings(match[1]));
    return true;
  } catch {
    showError("The link's settings could not be read, " + otherwise);
    return false;
  }
}
