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

// A saved caption: its settings come back; with the same audio at hand it can be made again.
async function loadJson(file) {
  const say = (words) => { by("load-note").textContent = words; };
  try {
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
    const { result, why } = reply;
    dropFlight();
    applySettings(result.request);
    setBusy(false, "Loaded.");
    renderSteer();
    const wanted = result.request.tracks;
    const here = wanted.every((track) => state.tracks.some((own) => own.sha256 === track.sha256));
    if (here) {
      state.tracks = wanted.map((track) => ({ ...state.tracks.find((own) => own.sha256 === track.sha256),
        weight: track.weight, start: track.start, end: track.end, artist: track.artist, name: track.name }));
      forgetParts();
      player.index = -1;
      player.audio.pause();
      selectTrack(state.tracks.length ? 0 : -1);
      renderTracks();
    }
    keepTab();
    showError("");
    showAnswer({ result, why: result.trace ? why : null, key: null,
      unexplained: result.trace ? "" : "This caption was saved without its reasons." }, null);
    const same = reply.same_checkpoint ? "" : " It was written by another checkpoint (" + result.checkpoint + "), so making it again may give other words.";
    if (!here) say("Loaded as it was saved. To make it again, add " + wanted.map((t) => t.name || "its audio").join(", ") + "." + same);
    else {
      say("Loaded, and making it again\u2026");
      const saidBefore = captionText(result);
      ask(true);
      view.expect = {
        run: flight.run,
        tell: (answer) => say((captionText(answer.result) === saidBefore
          ? "Loaded and made again: the same caption." : "Loaded, but made again it reads differently.") + same),
        drop: () => say("Loaded as it was saved." + same),
      };
    }
  } catch (error) {
    say("");
    showError(error.message);
  }
}

function renderKeep() {
  const none = !view.answer || !view.answer.result.trace;
  const silent = none || !view.answer.result.row_times.length;
  // A newer caption may be on the page already, without its reasons.
  const explained = (save) => () => {
    if (view.answer && view.answer.result.trace) save();
    else by("status").textContent = "Working out why\u2026";
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
