// Files in, tracks and waveform out.

const MAX_TRACKS = 50;
const MAX_BYTES = 200e6;

// Stop opens another round: what an upload of an earlier one still brings is left out.
const uploads = { round: 0, pending: 0 };

function stopUploads() {
  uploads.round += 1;
  uploads.pending = 0;
}

const roomLeft = () => Math.max(0, MAX_TRACKS - state.tracks.length - uploads.pending);
const tooMany = (count) => "A playlist has at most " + MAX_TRACKS + " tracks: " + plural(count, "file") + " left out.";

async function addFiles(files) {
  const room = roomLeft();
  const chosen = [...files].slice(0, room);
  if (!files.length) return;
  const { round } = uploads;
  uploads.pending += chosen.length;
  showError("");
  setBusy(true, "Uploading\u2026");
  const added = [], problems = [];
  if (files.length > room) problems.push(tooMany(files.length - room));
  for (const file of chosen) {
    try {
      const { path, url } = await upload(file);
      added.push(newTrack(path, url, file.name));
    } catch {
      problems.push(file.name + " could not be uploaded: " +
        (file.size > MAX_BYTES ? "files may have at most 200 MB." : "try again."));
    }
    if (round !== uploads.round) return;
  }
  uploads.pending -= chosen.length;
  if (asking()) setBusy(true, allHeard() ? "Writing\u2026" : "Listening\u2026");
  else if (!uploads.pending) setBusy(false, "");
  addTracks(added);
  if (problems.length) showError(problems.join(" "));
}

const newTrack = (file, url, name) => ({
  file, url, name: cut(name, 200), artist: "", weight: 1, start: 0, end: null,
  seconds: 0, peaks: null, partly: false, heard: null,
});

function addTracks(tracks) {
  if (!tracks.length) return;
  // What a saved caption still waits for is used as it was saved: without tags, if it had none.
  if (!state.tracks.length && !state.tags.length && !awaited().length) state.auto = true;
  state.tracks.push(...tracks);
  fitAwaited();
  freeHeight();
  forgetParts();
  selectTrack(state.tracks.indexOf(tracks[0]));
  renderTracks();
  ask(true);
  expectSaved();
}

function addExample(example) {
  const root = (window.gradio_config && window.gradio_config.root) || "";
  const url = root + "/gradio_api/file=" + example.path;
  const [only] = state.tracks;
  if (state.tracks.length === 1 && only.file.startsWith("example:") && !isSaved(only)) {
    state.tracks = []; // trying the next example replaces the last one
    player.index = -1;
    if (state.auto) state.tags = [];
  } else if (!roomLeft()) return showError(tooMany(1));
  addTracks([newTrack("example:" + example.name, url, example.name)]);
  if (!state.auto) renderTags(); // how surely they were heard in the last one says nothing of this one
}

function removeTrack(index) {
  state.tracks.splice(index, 1);
  forgetParts();
  if (!state.tracks.length && state.auto) state.tags = [];
  const next = Math.min(index, state.tracks.length - 1);
  if (index < player.index) player.index -= 1; // another one plays on
  else if (index === player.index) {
    player.index = -1;
    player.audio.pause();
    selectTrack(next);
  }
  renderTracks();
  (next < 0 ? by("files") : by("tracks").children[next].querySelector("button.x")).focus();
  renderTags();
  renderWhy(); // what is no longer here cannot be played from there
  changed();
  if (awaited().length) expectSaved(); // what has left is to be added again, too
}

function selectTrack(index) {
  const track = state.tracks[index];
  by("player").hidden = !track;
  if (!track || player.index === index) return;
  player.index = index;
  player.audio.onloadedmetadata = null;
  player.audio.src = track.url;
  refreshTracks();
  showPassage();
}

function showPassage() {
  const { start = 0, end = null } = state.tracks[player.index] || {};
  by("from").value = start;
  by("to").value = end ?? "";
  renderWave();
}

// What hearing and choosing change, in place: an artist may be being typed in.
function refreshTracks() {
  [...by("tracks").children].forEach((item, index) => {
    const track = state.tracks[index];
    if (!track) return;
    item.querySelector(".track-name").setAttribute("aria-pressed", String(player.index === index));
    item.querySelector(".length").textContent = track.seconds ? clock(track.seconds) : "";
  });
}

function renderTracks() {
  const many = state.tracks.length > 1;
  keepingFocus(by("tracks"), () => by("tracks").replaceChildren(...state.tracks.map((track, index) => {
    const remove = h("button", {
      type: "button", class: "x", "aria-label": "Remove " + track.name,
      onclick: () => removeTrack(index),
    }, "\u00d7");
    const artist = steerable("artists") && h("input", {
      class: "artist", value: track.artist, maxlength: 100, placeholder: "Artist (optional)",
      "aria-label": "Artist of " + track.name,
      oninput: (event) => { track.artist = cut(event.target.value, 100); changed(); },
    });
    const name = h("button", {
      type: "button", class: "track-name", "aria-pressed": String(player.index === index),
      onclick: () => selectTrack(index),
    }, track.name);
    const line = h("div", { class: "track-line" }, name,
      h("span", { class: "soft small length" }, track.seconds ? clock(track.seconds) : ""), remove);
    // A weight that is not 1 counts for a single track too: it must be seen, and set back.
    const weight = (many || track.weight !== 1) && sliderRow({
      name: "weight", label: "Weight of " + track.name, value: track.weight, show: percent,
      input: (value) => { track.weight = value; changed(); },
    });
    return h("li", { class: "track" }, line, artist, weight && h("ul", { class: "sliders" }, weight));
  })));
}

const passageOf = ({ file, start, end }) => [file, start, end].join(" ");
const allHeard = () => state.tracks.every((track) => track.heardAs === passageOf(track));

// How long the browser takes the track in the player to be (s), 0 where it cannot tell.
const browserLength = () => (Number.isFinite(player.audio.duration) ? player.audio.duration : 0);

// What was heard belongs to the tracks as they were asked for; the visitor may have moved on.
function takeHeard(heard, asked) {
  heard.forEach((found, index) => {
    const key = asked[index] && passageOf(asked[index]);
    for (const track of state.tracks.filter((own) => passageOf(own) === key)) {
      track.heard = found.tags;
      track.heardAs = key;
      track.sha256 = found.sha256;
      const whole = track.start === 0 && track.end === null;
      if (whole) Object.assign(track, { seconds: found.seconds, peaks: found.peaks, partly: false });
      else if (!track.peaks || track.partly) addPassage(track, found);
    }
  });
  refreshTracks();
  renderWave();
}

// A passage of a track that was never heard whole: its peaks join those of other passages, and the
// track may be longer than what is known of it.
function addPassage(track, found) {
  const own = state.tracks.indexOf(track) === player.index ? browserLength() : 0;
  const seconds = Math.max(track.start + found.seconds, own, track.seconds);
  const before = placed(track.peaks || [], 0, track.seconds, seconds);
  const peaks = placed(found.peaks, track.start, found.seconds, seconds)
    .map((peak, i) => Math.max(peak, before[i] || 0));
  Object.assign(track, { seconds, peaks, partly: true });
}

// Peaks of what starts at `start` and lasts `length`, at their place in a track of `seconds`.
function placed(peaks, start, length, seconds) {
  return peaks.map((_, i) => {
    const at = ((i + 0.5) / peaks.length) * seconds - start;
    return at >= 0 && at < length ? peaks[Math.floor((at / length) * peaks.length)] : 0;
  });
}

// The heard confidence of a tag, the largest over the tracks.
function confidenceOf(text) {
  const found = state.tracks.flatMap((track) => track.heard || [])
    .filter((tag) => tag.text === text).map((tag) => tag.confidence);
  return found.length ? Math.max(...found) : null;
}

const SEGMENT = 3; // s: one row of the audio branch

function wavePath(peaks, x, width, height) {
  const count = Math.min(peaks.length, Math.max(40, Math.round(width / 2)));
  const size = peaks.length / count;
  const loud = Math.max(...peaks, 1e-6);
  let path = "";
  for (let i = 0; i < count; i++) {
    const slice = peaks.slice(Math.floor(i * size), Math.max(Math.floor((i + 1) * size), Math.floor(i * size) + 1));
    const half = Math.max(0.6, (Math.max(...slice) / loud) * (height / 2 - 2));
    const at = (x + ((i + 0.5) / count) * width).toFixed(1);
    path += "M" + at + " " + (height / 2 - half).toFixed(1) + "V" + (height / 2 + half).toFixed(1);
  }
  return path;
}

function renderWave() {
  const track = state.tracks[player.index];
  const box = by("wave");
  if (!track) return;
  const width = 800, height = 64;
  const length = track.seconds || browserLength();
  const from = track.start, to = track.end ?? length;
  by("seek").max = length || 1;
  for (const id of ["from", "to"]) by(id).max = length || "";
  by("passage-text").textContent = from > 0 || track.end !== null ? clock(from) + "\u2013" + (to ? clock(to) : "the end")
    : "the whole track" + (length ? " (" + clock(length) + ")" : "");
  if (!track.peaks) {
    box.onclick = null;
    box.replaceChildren(h("div", { class: "wave-empty" }, asking() ? "listening\u2026" : "not heard yet"));
    return;
  }
  const scale = width / track.seconds;
  const marks = [];
  const step = SEGMENT * Math.ceil(track.seconds / SEGMENT / 60);
  for (let t = step; t < track.seconds - 0.05; t += step)
    marks.push(svg("line", { class: "mark", x1: t * scale, x2: t * scale, y1: 0, y2: height }));
  const drawing = svg("svg", {
    viewBox: "0 0 " + width + " " + height, preserveAspectRatio: "none", role: "img",
    "aria-label": "Waveform of " + track.name + ", " + clock(track.seconds) + " long, marked every " +
      step + " seconds; the passage from " + clock(from) + " to " + clock(to) + " is used",
  },
    marks,
    svg("path", { class: "wave-line", d: wavePath(track.peaks, 0, width, height) }),
    from > 0 && svg("rect", { class: "unused", x: 0, y: 0, width: from * scale, height }),
    to < track.seconds && svg("rect", { class: "unused", x: to * scale, y: 0, width: width - to * scale, height }),
    svg("line", { class: "cursor", "data-id": "cursor", x1: 0, x2: 0, y1: 0, y2: height }));
  box.replaceChildren(drawing);
  box.onclick = (event) => {
    const rect = drawing.getBoundingClientRect();
    seek(player.index, ((event.clientX - rect.left) / rect.width) * track.seconds);
  };
}

function setPassage() {
  const track = state.tracks[player.index];
  if (!track) return;
  const start = Number(by("from").value) || 0;
  const end = by("to").value === "" ? null : Number(by("to").value);
  if (end !== null && end - start < 0.5) {
    return showError("A passage must end at least half a second after it starts.");
  }
  const length = track.partly ? 0 : track.seconds; // what was heard may not reach to its end
  if (length && start > length - 0.5) {
    return showError("The passage starts after the end of the track, which is " + clock(length) + " long.");
  }
  showError("");
  const before = passageOf(track);
  track.start = start;
  track.end = end !== null && !(length && end >= length) ? end : null;
  if (passageOf(track) !== before) forgetParts(); // they are parts of the passage left
  renderWave();
  changed();
}

function startListening() {
  by("files").addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = "";
  });
  const drop = by("drop");
  for (const name of ["dragover", "dragenter"])
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"])
    drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); addFiles(event.dataTransfer.files); });
  // The second click of a double one would undo the first: open another microphone where it closed one.
  by("record").addEventListener("click", (event) => { if (event.detail < 2) toggleRecording(); });
  by("examples").replaceChildren(...props.examples.map((example) =>
    h("button", { type: "button", class: "chip", onclick: () => addExample(example) },
      example.name.replace(/\.\w+$/, "").replaceAll("-", " "))));
  for (const id of ["from", "to"]) by(id).addEventListener("change", setPassage);
  by("whole").addEventListener("click", () => {
    by("from").value = 0;
    by("to").value = "";
    setPassage();
  });
  const { audio } = player;
  by("play").addEventListener("click", () => {
    player.stopAt = null;
    if (audio.paused) audio.play().catch(() => {}); else audio.pause();
  });
  const icon = () => {
    by("play").textContent = audio.paused ? "\u25b6" : "\u275a\u275a";
    by("play").setAttribute("aria-label", audio.paused ? "Play" : "Pause");
  };
  for (const name of ["play", "pause", "emptied"]) audio.addEventListener(name, icon);
  const playable = (yes) => {
    by("play").disabled = by("seek").disabled = !yes;
    by("clock").textContent = yes ? clock(0) : "not playable here";
  };
  audio.addEventListener("loadstart", () => playable(true));
  audio.addEventListener("error", () => playable(false)); // the server may read what a browser cannot
  audio.addEventListener("loadedmetadata", renderWave);
  audio.addEventListener("timeupdate", () => {
    const track = state.tracks[player.index];
    if (!track) return;
    if (player.stopAt !== null && audio.currentTime >= player.stopAt) {
      audio.pause();
      player.stopAt = null;
    }
    by("clock").textContent = clock(audio.currentTime);
    by("seek").value = audio.currentTime;
    by("seek").setAttribute("aria-valuetext", clock(audio.currentTime));
    const cursor = by("cursor"), at = (audio.currentTime / (track.seconds || 1)) * 800;
    if (cursor) for (const end of ["x1", "x2"]) cursor.setAttribute(end, at);
  });
  by("seek").addEventListener("input", (event) => {
    player.stopAt = null;
    audio.currentTime = Number(event.target.value);
  });
}
