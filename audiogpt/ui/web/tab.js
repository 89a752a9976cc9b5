// What the page holds, kept for this tab: gradio loads the page anew after every lost connection.

const TAB_KEY = "audiogpt-tab";
const TAB_LIMIT = 200_000; // characters; all that the page takes in is less than half of it

function keepTab() {
  const tracks = state.tracks.map(({ file, url, name, artist, weight, start, end, seconds }) =>
    ({ file, url, name, artist, weight, start, end, seconds }));
  const { auto, live } = state;
  try {
    const text = JSON.stringify({ v: 1, hash: location.hash, settings: settingsData(), auto, live, tracks });
    if (text.length <= TAB_LIMIT) sessionStorage.setItem(TAB_KEY, text);
    else sessionStorage.removeItem(TAB_KEY);
  } catch {
    // A browser may keep nothing: then a page loaded anew starts afresh, and all else works.
  }
}

// A link's settings count where it was opened, not where its page was loaded anew.
function opensLink(kept) {
  const [entry] = performance.getEntriesByType("navigation");
  return location.hash.startsWith("#s=") && !(entry && entry.type === "reload" && kept.hash === location.hash);
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
      weight: within(track.weight, 0, 1, 1), seconds: within(track.seconds, 0, 1e9, 0),
      start: within(track.start, 0, 86400, 0), end: within(track.end, 0, 86400, null),
    }));
  selectTrack(0);
  renderTracks();
  return true;
}
