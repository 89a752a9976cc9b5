// What the visitor chose, what came back, and how both travel.

const first = JSON.parse(props.first);
const DEFAULT_DECODING = first.decoding;
const BRANCHES = first.branches.filter((name) => PARTS.includes(name));
// What can be steered: tags need a branch, and a way to read their names.
const steerable = (name) => BRANCHES.includes(name) && (name !== "tags" || first.reads_tags);
const KNOWN = new Set(first.known_tags.map((tag) => tag.toLowerCase()));

const page = [...crypto.getRandomValues(new Uint8Array(16))]
  .map((byte) => byte.toString(16).padStart(2, "0")).join("");

const state = {
  tracks: [], // {file, url, name, artist, weight, start, end, seconds, peaks, heard}
  tags: [], // {text, weight}
  auto: true, // tags follow what is heard until the visitor touches them
  artists: [], // {name, share}
  strengths: { audio: 1, tags: 1, artists: 1 },
  decoding: { ...DEFAULT_DECODING },
  seed: 0,
  live: true,
};

const view = {
  answer: null, // {result, why, key}: the caption shown
  mode: "shares",
  word: -1,
  pinned: null,
  history: [],
  shapley: {}, // by key
  expect: null, // {run, tell, drop}: a loaded caption that is being made again
};

const flight = { run: 0, asked: 0, done: 0, superseded: 0, since: 0, tracks: [] };

// The newest run asked for and the newest one answered: equal when the page is at rest.
function note(changes) {
  Object.assign(flight, changes);
  Object.assign(element.firstElementChild.dataset, { asked: flight.asked, done: flight.done });
}

const asking = () => flight.asked > flight.done;

// Runs before this one are no longer wanted. A server that cannot be reached stops by itself.
function supersede(kind, run) {
  server.supersede([page + ":" + kind, run]).catch(() => {});
}

const hasInput = () =>
  state.tracks.length > 0 || state.tags.length > 0 || state.artists.length > 0;

function requestData() {
  const { tracks, tags, artists, strengths, decoding, seed } = state;
  return {
    tracks: tracks.map(({ file, name, artist, weight, start, end }) =>
      ({ file, name, artist, weight, start, end })),
    tags: tags.map(({ text, weight }) => ({ text, weight })),
    artists: artists.map(({ name, share }) => ({ name, share })),
    strengths, decoding, seed,
  };
}

const EVENTS = { caption: "ask_caption", segments: "ask_segments", shapley: "ask_shapley" };

function send(kind, extra) {
  props.value = JSON.stringify({
    page: page + ":" + kind, run: flight.run, request: requestData(), auto: state.auto && state.tracks.length > 0, extra,
  });
  trigger(EVENTS[kind]);
}

// A loaded caption is compared with its own run alone; what else comes is another caption.
function dropExpected() {
  const { expect } = view;
  view.expect = null;
  if (expect) expect.drop();
}

// Whatever is still being made is no longer wanted: its answers will be ignored.
function dropFlight() {
  dropExpected();
  flight.run += 1;
  note({ shown: flight.run, done: flight.asked });
  supersede("caption", flight.run);
}

// Artists as the model gets them: shares normalised, largest first, ten of them; [name, share].
function rankArtists({ artists, tracks }) {
  let shares = artists.map(({ name, share }) => [name, share]);
  if (!shares.length) {
    const counts = new Map();
    for (const { artist, weight } of tracks)
      if (artist.trim() && weight > 0) counts.set(artist.trim(), (counts.get(artist.trim()) || 0) + 1);
    shares = [...counts];
  }
  const total = shares.reduce((sum, [, share]) => sum + share, 0);
  return shares.filter(([, share]) => share > 0).map(([name, share]) => [name, share / total])
    .sort((a, b) => b[1] - a[1]).slice(0, 10);
}

// The settings a link carries: never the audio, nor its name.
function settingsData() {
  const { tags, artists, strengths, decoding, seed } = requestData();
  return structuredClone({ v: 1, tags, artists, strengths, decoding, seed });
}

function encodeSettings() {
  const bytes = new TextEncoder().encode(JSON.stringify(settingsData()));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function decodeSettings(text) {
  const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(raw, (c) => c.charCodeAt(0))));
}

const within = (value, low, high, otherwise) =>
  typeof value === "number" && Number.isFinite(value)
    ? Math.min(high, Math.max(low, value)) : otherwise;

// Takes over settings from a link, a saved file or the history; ignores what is not understood.
function applySettings(data) {
  const list = (items) => (Array.isArray(items) ? items : []);
  state.tags = list(data.tags).slice(0, 100)
    .filter((tag) => tag && typeof tag.text === "string" && tag.text.trim())
    .map((tag) => ({ text: cut(tag.text, 60), weight: within(tag.weight, 0, 1, 1) }));
  state.artists = list(data.artists).slice(0, MAX_ARTISTS)
    .filter((artist) => artist && typeof artist.name === "string" && artist.name.trim())
    .map((artist) => ({ name: cut(artist.name, 100), share: within(artist.share, 0, 1e9, 1) }));
  for (const name of BRANCHES)
    state.strengths[name] = within((data.strengths || {})[name], 0, 2, 1);
  for (const [name, value] of Object.entries(DEFAULT_DECODING)) {
    const given = (data.decoding || {})[name];
    state.decoding[name] = typeof given === typeof value ? given : value;
  }
  state.seed = Math.round(within(data.seed, 0, 4294967295, 0));
  state.auto = false;
}

// What each word was made of: context first, then the branches of this checkpoint.
const partsOf = (result) => (result.trace ? result.trace.parts : ["context", ...BRANCHES]);

// Mean gate per word: alpha for the context, g for each branch.
function wordGates(result) {
  const { alpha, gates } = result.trace;
  return result.words.map(({ start, end }) => {
    const tokens = [...Array(end - start).keys()].map((i) => start + i);
    const layers = alpha.map((row) => mean(tokens.map((t) => row[t])));
    const branch = result.trace.parts.slice(1).map((_, m) =>
      mean(gates.map((row) => mean(tokens.map((t) => row[t][m])))));
    return [mean(layers), ...branch];
  });
}

const wordValues = (answer) =>
  view.mode === "gates" ? wordGates(answer.result) : answer.why.shares;

const overall = (rows) => (rows.length ? rows[0].map((_, p) => mean(rows.map((r) => r[p]))) : []);
