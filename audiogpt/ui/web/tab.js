// What the page holds, kept for this tab: gradio loads the page anew after every lost connection.

const TAB_KEY = "audiogpt-tab";
const TAB_LIMIT = 200_000; // characters; all that the page takes in is less than half of it
const HISTORY_KEY = "audiogpt-history";
const HISTORY_LIMIT = 1_500_000; // characters; browsers keep some five million
const PARTS_KEY = "audiogpt-parts";
const PARTS_LIMIT = 500_000; // characters; the most parts that are captioned take less than half of it
const UNEXPLAINED = "The page has been loaded anew since this caption: press Caption for its reasons.";

function keepTab() {
  const tracks = state.tracks.map(({ file, url, name, artist, weight, start, end, seconds, partly, sha256 }) =>
    ({ file, url, name, artist, weight, start, end, seconds, partly, sha256 }));
  const { auto, live } = state;
  try {
    const text = JSON.stringify({ v: 1, hash: location.hash, settings: settingsData(), auto, live, tracks });
    if (text.length <= TAB_LIMIT) sessionStorage.setItem(TAB_KEY, text);
    else sessionStorage.removeItem(TAB_KEY);
  } catch {
    // A browser may keep nothing: then a page loaded anew starts afresh, and all else works.
  }
}

// A link's settings count where it was opened, not where its page was loaded anew or gone back to.
function opensLink(kept) {
  const [entry] = performance.getEntriesByType("navigation");
  const again = entry && ["reload", "back_forward"].includes(entry.type);
  return location.hash.startsWith("#s=") && !(again && kept.hash === location.hash);
}

// Brings back what the tab held before; the server looks at each track's file as at any other's.
function bringBack() {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem(TAB_KEY)); } catch { /* as in keepTab */ }
  if (!kept || kept.v !== 1 || !kept.settings || opensLink(kept)) return false;
  applySettings(kept.settings);
  state.auto = kept.auto !== false;
  state.live = kept.live !== false;
  by("live").checked = state.live;
  const tracks = Array.isArray(kept.tracks) ? kept.tracks : [];
  state.tracks = tracks.slice(0, MAX_TRACKS)
    .filter((track) => track && [track.file, track.url, track.name].every((text) => typeof text === "string"))
    .map((track) => ({
      ...newTrack(track.file, track.url, track.name),
      artist: typeof track.artist === "string" ? cut(track.artist, 100) : "",
      weight: within(track.weight, 0, 1, 1), seconds: within(track.seconds, 0, 1e9, 0), partly: track.partly === true,
      sha256: typeof track.sha256 === "string" ? track.sha256 : undefined,
      start: within(track.start, 0, 86400, 0), end: within(track.end, 0, 86400, null),
    }));
  selectTrack(0);
  renderTracks();
  bringParts();
  return true;
}

// Captions of parts take minutes to make; each comes with whose parts they are.
function keepParts() {
  const { seconds, list, settings } = through;
  try {
    const text = JSON.stringify({ v: 1, passages: state.tracks.map(passageOf), seconds, list, settings });
    if (list.length && text.length <= PARTS_LIMIT) sessionStorage.setItem(PARTS_KEY, text);
    else sessionStorage.removeItem(PARTS_KEY);
  } catch { /* as in keepTab */ }
}

function bringParts() {
  try {
    const { v, passages, seconds, list, settings } = JSON.parse(sessionStorage.getItem(PARTS_KEY));
    const same = JSON.stringify(passages) === JSON.stringify(state.tracks.map(passageOf));
    const whole = ({ track, start, end, title, description }) => state.tracks[track] &&
      [start, end].every(Number.isFinite) && [title, description].every((text) => typeof text === "string");
    if (v !== 1 || !same || !list.every(whole)) return;
    Object.assign(through, { list, settings });
    if (PART_SECONDS.includes(seconds)) through.seconds = seconds;
  } catch { /* nothing was kept, or nothing that can be read */ }
}

// The captions with their shares, without what only the pictures need: that is most of an answer.
function keepHistory() {
  const bare = ({ result, why, parts }) =>
    ({ result: { ...result, trace: null }, why: why && { shares: why.shares }, parts: parts || partsOf(result) });
  const entries = view.history.map(({ settings, text, answer, time, tracks, auto }) =>
    ({ settings, text, answer: bare(answer), time, auto, tracks: tracks.map((track) => ({ ...track, peaks: null, heard: null, heardAs: null })) }));
  const pinned = view.pinned && bare(view.pinned);
  try {
    let text = JSON.stringify({ v: 1, entries, pinned });
    while (text.length > HISTORY_LIMIT && entries.pop()) text = JSON.stringify({ v: 1, entries, pinned });
    sessionStorage.setItem(HISTORY_KEY, text);
  } catch { /* as in keepTab */ }
}

function bringHistory() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(HISTORY_KEY));
    if (!kept || kept.v !== 1) return;
    const whole = (answer) => ({ ...answer, key: null, unexplained: UNEXPLAINED });
    view.history = kept.entries.slice(0, MAX_HISTORY)
      .map((entry) => ({ ...entry, answer: whole(entry.answer), time: new Date(entry.time) }));
    view.pinned = kept.pinned && whole(kept.pinned);
    renderCompare();
  } catch {
    Object.assign(view, { history: [], pinned: null });
  }
}
