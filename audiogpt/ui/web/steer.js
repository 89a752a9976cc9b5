// Tags, branch strengths, artists, decoding and seed.

function touchTags() {
  state.auto = false;
  by("heard").hidden = !state.tracks.length;
}

function renderTags() {
  by("heard").hidden = state.auto || !state.tracks.length;
  keepingFocus(by("tags"), () => by("tags").replaceChildren(...state.tags.map((tag, index) => {
    const confidence = confidenceOf(tag.text);
    const known = KNOWN.has(tag.text.toLowerCase()) || confidence !== null;
    const note = confidence !== null
      ? h("span", { class: "soft small" }, "heard " + percent(confidence))
      : !known && h("span", { class: "soft small" }, first.tags_as_text ? "typed" : "not a listed tag");
    return sliderRow({
      name: tag.text, label: "Weight of the tag " + tag.text, value: tag.weight, note,
      input: (value) => { tag.weight = value; touchTags(); changed(); },
      buttons: [first.tags_ordered && h("button", {
        type: "button", class: "x", disabled: index === 0, "aria-label": "Tell the tag " + tag.text + " earlier",
        title: "Tell it earlier",
        onclick: () => {
          state.tags.splice(index - 1, 2, tag, state.tags[index - 1]);
          touchTags();
          renderTags();
          by("tags").children[index - 1].querySelector("input").focus();
          changed();
        },
      }, "\u2191"), h("button", {
        type: "button", class: "x", "aria-label": "Remove the tag " + tag.text,
        onclick: () => {
          state.tags.splice(index, 1);
          touchTags();
          renderTags();
          focusRow("tags", index, "tag");
          changed();
        },
      }, "\u00d7")],
    });
  })));
}

// Where a row was removed: the next one's ×. A text field would open a phone's keyboard.
function focusRow(list, index, field) {
  const rows = by(list).children;
  const row = rows[Math.min(index, rows.length - 1)];
  (row ? row.querySelector('.x[aria-label^="Remove"]') : by(field)).focus();
}

function addTag(text) {
  text = cut(text.trim().replace(/\s+/g, " "), 60);
  if (!text) return;
  const note = by("tag-note");
  if (state.tags.some((tag) => tag.text.toLowerCase() === text.toLowerCase())) {
    note.textContent = "\u201c" + text + "\u201d is already in the list.";
    return;
  }
  if (state.tags.length >= 100) { note.textContent = "A hundred tags are the most."; return; }
  state.tags.push({ text, weight: 1 });
  note.textContent = KNOWN.has(text.toLowerCase()) ? ""
    : "\u201c" + text + "\u201d is not among the tags that can be heard; " + (first.tags_as_text
      ? "the model reads any text, but rare words do less."
      : "words that the model has no vector for have no effect.");
  touchTags();
  renderTags();
  changed();
}

function suggestTags() {
  const typed = by("tag").value.trim().toLowerCase();
  const matches = first.known_tags
    .filter((tag) => tag.toLowerCase().includes(typed) && !state.tags.some((t) => t.text === tag))
    .sort((a, b) => a.toLowerCase().indexOf(typed) - b.toLowerCase().indexOf(typed));
  by("known").replaceChildren(...matches.slice(0, 30).map((tag) => h("option", { value: tag })));
}

function renderStrengths() {
  by("strengths").replaceChildren(...BRANCHES.filter(steerable).map((name) => {
    const off = h("button", {
      type: "button", class: "chip", "aria-label": "Without " + name,
      onclick: () => set(state.strengths[name] === 0 ? 1 : 0),
    });
    const row = sliderRow({
      name: [swatch(name), name], label: "Strength of " + name, value: state.strengths[name],
      max: 2, step: 0.05, show: (v) => v.toFixed(2) + "\u00d7",
      input: (value) => { state.strengths[name] = value; label(); changed(); },
      buttons: [off],
    });
    const label = () => {
      const without = state.strengths[name] === 0;
      off.textContent = without ? "bring back" : "without";
      off.setAttribute("aria-label", (without ? "Bring back " : "Without ") + name);
      row.classList.toggle("off", without);
    };
    const set = (value) => { state.strengths[name] = value; row.set(value); label(); changed(); };
    label();
    return row;
  }));
}

function renderVector() {
  const ranked = rankArtists(state);
  const figure = by("vector");
  figure.hidden = !ranked.length;
  if (!ranked.length) return;
  const bars = [...Array(10).keys()].map((i) => {
    const share = ranked[i] ? ranked[i][1] : 0;
    const height = share * 40;
    return [
      svg("rect", { class: "vector-bar", x: 4 + i * 30, y: 46 - height, width: 22, height: Math.max(height, 0.8) }),
      svg("text", { class: "tick", x: 15 + i * 30, y: 60 }, i + 1),
    ];
  });
  const spoken = ranked.map(([name, share]) => name + " " + percent(share)).join(", ");
  figure.replaceChildren(
    svg("svg", { viewBox: "0 0 304 64", role: "img", "aria-label": "The ten numbers of the artists branch: " + spoken }, bars),
    h("figcaption", { class: "soft small" },
      "What the model gets: ten shares, largest first. The names never enter the model; they are put into the caption afterwards."));
}

function renderArtists() {
  const total = () => state.artists.reduce((sum, artist) => sum + artist.share, 0);
  const rows = [];
  state.artists.forEach((artist, index) => {
    const row = sliderRow({
      name: artist.name, label: "Share of " + artist.name, value: artist.share, max: Math.max(1, artist.share),
      show: () => (total() ? percent(artist.share / total()) : "0\u2009%"),
      input: (value) => {
        artist.share = value;
        rows.forEach((other) => other.refresh());
        renderVector();
        changed();
      },
      buttons: [h("button", {
        type: "button", class: "x", "aria-label": "Remove " + artist.name,
        onclick: () => { state.artists.splice(index, 1); renderArtists(); focusRow("artists", index, "artist"); changed(); },
      }, "\u00d7")],
    });
    rows.push(row);
  });
  by("artists").replaceChildren(...rows);
  renderVector();
}

const MAX_ARTISTS = 50;

function addArtist(name) {
  name = cut(name.trim().replace(/\s+/g, " "), 100);
  if (!name) return;
  const note = by("artist-note");
  if (state.artists.some((artist) => artist.name.toLowerCase() === name.toLowerCase())) {
    note.textContent = "\u201c" + name + "\u201d is already in the list.";
    return;
  }
  if (state.artists.length >= MAX_ARTISTS) { note.textContent = "Fifty artists are the most."; return; }
  note.textContent = "";
  state.artists.push({ name, share: state.artists.length ? 0.5 : 1 });
  renderArtists();
  changed();
}

const FIELDS = [
  ["beams", "Beams", 1, 16, 1], ["n_best", "Captions to keep", 1, 16, 1],
  ["max_tokens", "Longest caption (tokens)", 1, first.longest, 1],
  ["min_words", "Fewest words", 0, 256, 1],
  ["max_words", "Most words (0: any)", 0, 256, 1],
  ["target_words", "Words aimed at (0: usual)", 0, 256, 1],
  ["length", "Bonus: that length", 0, 10, 0.05], ["length_penalty", "Length penalty", 0, 3, 0.1],
  ["no_repeat_ngram", "Never repeat n words", 0, 16, 1],
  ["target_coverage", "Tags\u2019 words to use (0: free)", 0, 1, 0.05],
  ["coverage", "Bonus: tags\u2019 words", 0, 10, 0.01],
  ["invention", "Penalty: invented or said again", 0, 10, 0.005],
  ["consensus", "Bonus: consensus (slower)", 0, 10, 0.5],
  ["temperature", "Temperature", 0.05, 5, 0.05], ["top_p", "Top p", 0.01, 1, 0.01],
];

const ABOUT_TAGS = ["target_coverage", "coverage", "invention"];

const METHODS = { beam: "beam search", sample: "sampling" };

function renderDecoding() {
  const sampling = state.decoding.method === "sample";
  const method = h("label", {}, "Method", h("select", {
    "data-id": "method",
    onchange: (event) => { state.decoding.method = event.target.value; renderDecoding(); changed(); },
  }, h("option", { value: "beam", selected: !sampling }, "Beam search"),
     h("option", { value: "sample", selected: sampling }, "Sampling")));
  // What the model itself is told (its controls) counts in both methods.
  const told = { target_words: "words", target_coverage: "coverage" };
  const others = sampling ? ["beams", "length_penalty", "length", "consensus"]
    : state.decoding.consensus ? [] : ["temperature", "top_p"];
  const idle = (name) => (name in told && !first.controls.includes(told[name]) &&
    (sampling || name === "target_coverage")) || (ABOUT_TAGS.includes(name) && !steerable("tags"));
  const fields = FIELDS
    .filter(([name]) => !others.includes(name) && !idle(name))
    .map(([name, text, min, max, step]) => h("label", {}, text, h("input", {
      type: "number", min, max, step, value: state.decoding[name], "data-id": "decoding-" + name,
      onchange: (event) => {
        const whole = Number.isInteger(step) && step >= 1;
        const value = within(event.target.valueAsNumber, min, max, DEFAULT_DECODING[name]);
        state.decoding[name] = whole ? Math.round(value) : value;
        event.target.value = state.decoding[name];
        if (name === "consensus") renderDecoding();
        changed();
      },
    })));
  const seed = h("label", {}, "Seed (sampling, consensus)", h("input", {
    type: "number", min: 0, max: 4294967295, step: 1, value: state.seed, "data-id": "seed",
    onchange: (event) => {
      state.seed = Math.round(within(event.target.valueAsNumber, 0, 4294967295, 0));
      event.target.value = state.seed;
      changed();
    },
  }));
  keepingFocus(by("decoding"), () => by("decoding").replaceChildren(method, ...fields, seed));
}

function renderSteer() {
  renderTags();
  renderStrengths();
  renderArtists();
  renderDecoding();
}

function startSteering() {
  by("tags-block").hidden = !steerable("tags");
  by("artists-block").hidden = !steerable("artists");
  by("strengths-block").hidden = !BRANCHES.some(steerable);
  by("weights-note").hidden = !first.weights_are_relative;
  renderSteer();
  suggestTags();
  by("tag").addEventListener("input", suggestTags);
  by("tag-form").addEventListener("submit", (event) => {
    event.preventDefault();
    addTag(by("tag").value);
    by("tag").value = "";
    suggestTags();
  });
  by("artist-form").addEventListener("submit", (event) => {
    event.preventDefault();
    addArtist(by("artist").value);
    by("artist").value = "";
  });
  by("heard").addEventListener("click", () => {
    state.auto = true;
    by("tags-title").focus({ preventScroll: true }); // a hidden button would lose it
    by("heard").hidden = true;
    ask(true);
  });
  by("decoding-reset").addEventListener("click", () => {
    state.decoding = { ...DEFAULT_DECODING };
    state.seed = 0;
    renderDecoding();
    changed();
  });
}
