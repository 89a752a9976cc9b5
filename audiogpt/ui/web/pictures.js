// Drawings from a trace: layers by words, and words by segments under the waveform.

const tokensOf = ({ start, end }) => [...Array(end - start).keys()].map((i) => start + i);

// (L, W) of one part: exact share, or raw gate, per layer and word.
function layerMatrix(result, part) {
  const { trace, words } = result;
  const p = trace.parts.indexOf(part);
  const value = view.mode === "gates"
    ? (l, t) => (p === 0 ? trace.alpha[l][t] : trace.gates[l][t][p - 1])
    : (l, t) => trace.shares[l][t][p];
  return trace.alpha.map((_, l) => words.map((word) => mean(tokensOf(word).map((t) => value(l, t)))));
}

const room = () => panels.why.clientWidth || by("hero").clientWidth || 600;

// Cells are as wide as the room allows, so that a short caption fills its line.
const LEFT = 26;
const cellWidth = (words) => Math.max(15, Math.min(34, Math.floor((room() - LEFT - 44) / words)));

function heatPanel(result, part, matrix, top, onpick) {
  const tall = 15, cell = cellWidth(matrix[0].length), rows = matrix.length, high = rows * tall;
  const width = matrix[0].length * cell, left = LEFT;
  let best = [0, 0];
  const cells = matrix.map((row, l) => row.map((value, w) => {
    if (value > matrix[best[0]][best[1]]) best = [l, w];
    return svg("rect", {
      x: left + w * cell, y: (rows - 1 - l) * tall, width: cell, height: tall, fill: COLOURS[part],
      "fill-opacity": (value / (top || 1)).toFixed(3),
    });
  }));
  const words = result.words.map((word) => word.text);
  const drawing = svg("svg", {
    width: left + width + 2, height: high + 2, viewBox: "0 -1 " + (left + width + 2) + " " + (high + 2), role: "img", class: "heat",
    "aria-label": (view.mode === "gates" ? "Gate of " : "Share of ") + part + " by layer and word; largest, " +
      percent(matrix[best[0]][best[1]]) + ", in layer " + (best[0] + 1) + " at \u201c" + words[best[1]] + "\u201d",
  }, cells,
    svg("rect", { class: "frame", x: left, y: 0, width, height: high }),
    svg("text", { class: "tick end", x: left - 5, y: 10 }, rows),
    svg("text", { class: "tick end", x: left - 5, y: high - 3 }, "1"),
    view.word >= 0 && svg("rect", { class: "picked", x: left + view.word * cell, y: 0, width: cell, height: high }));
  const locate = (event) => {
    const rect = drawing.getBoundingClientRect();
    const w = Math.floor((event.clientX - rect.left - left) / cell);
    const l = rows - 1 - Math.floor((event.clientY - rect.top) / tall);
    return words[w] !== undefined && matrix[l] ? [l, w] : null;
  };
  drawing.addEventListener("click", (event) => { const at = locate(event); if (at) onpick(at[1]); });
  return [drawing, locate];
}

function wordAxis(words) {
  const cell = cellWidth(words.length), left = LEFT, high = 74;
  return svg("svg", { width: left + words.length * cell + 40, height: high, class: "axis", "aria-hidden": "true" },
    words.map((word, w) => svg("text", {
      class: "tick turned" + (w === view.word ? " strong" : ""),
      transform: "translate(" + (left + (w + 0.5) * cell - 4) + ",6) rotate(55)",
    }, word.text.slice(0, 14))));
}

function drawLayers(answer, onpick) {
  const { result } = answer;
  const gates = view.mode === "gates";
  const shown = gates ? partsOf(result) : partsOf(result).slice(1);
  const matrices = shown.map((part) => layerMatrix(result, part));
  const top = gates ? 1 : Math.max(...matrices.flat(2), 1e-6);
  const readout = h("p", { class: "soft small readline" }, "Point at a cell to read it; pick a word to mark it.");
  const figures = shown.map((part, i) => {
    const [drawing, locate] = heatPanel(result, part, matrices[i], top, onpick);
    drawing.addEventListener("pointermove", (event) => {
      const at = locate(event);
      if (at) readout.textContent = "\u201c" + result.words[at[1]].text + "\u201d, layer " + (at[0] + 1) +
        ": " + part + " " + percent(matrices[i][at[0]][at[1]]);
    });
    return h("figure", {}, h("figcaption", {}, swatch(part), part), drawing);
  });
  const scale = h("p", { class: "scale soft small" }, "0", h("span", { class: "ramp", "aria-hidden": "true" }), percent(top),
    " \u2014 one scale for all; layers run upwards, words left to right.");
  return h("div", { class: "layers" }, scale, readout,
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Layers by words" }, figures, wordAxis(result.words)));
}

// (R,) attention of one word over the audio segments, mean over layers and the word's tokens.
function wordAttention(result, word, branch) {
  const rows = result.trace.attention[branch];
  if (!rows || !rows.length || !rows[0].length) return [];
  const tokens = tokensOf(word);
  return rows[0][0].map((_, r) => mean(rows.map((layer) => mean(tokens.map((t) => layer[t][r])))));
}

// One axis for all tracks, one after the other.
function timeAxis(result) {
  const tracks = [...new Set(result.row_times.map(([track]) => track))];
  const spans = tracks.map((track) => {
    const of = result.row_times.filter(([t]) => t === track);
    return [track, Math.min(...of.map((r) => r[1])), Math.max(...of.map((r) => r[2]))];
  });
  const total = spans.reduce((sum, [, from, to]) => sum + to - from, 0) || 1;
  const at = (track, seconds) => {
    let before = 0;
    for (const [t, from, to] of spans) {
      if (t === track) return (before + Math.min(Math.max(seconds, from), to) - from) / total;
      before += to - from;
    }
    return 0;
  };
  return { spans, at };
}

// Where the page holds the track that a caption was made of (-1: nowhere): after a file was loaded
// or tracks came and went, its number on the page is not its number in the caption.
function placeOf(result, track) {
  const { sha256 } = result.request.tracks[track] || {};
  if (!sha256) return -1;
  const same = (own) => own && own.sha256 === sha256;
  return same(state.tracks[track]) ? track : state.tracks.findIndex(same);
}

function playRow(result, r, stopAt = null) {
  const [track, from] = result.row_times[r];
  seek(placeOf(result, track), from, stopAt);
}

function drawTime(answer) {
  const { result } = answer;
  const R = result.row_times.length;
  if (!R) return h("p", { class: "soft" }, "No audio was used for this caption, so there is no time line.");
  const axis = timeAxis(result), width = room(), wave = 54, bars = 46;
  const words = result.words;
  const all = words.map((word) => wordAttention(result, word, "audio"));
  const uniform = 1 / R, top = Math.max(...all.flat(), uniform * 1.5);
  const box = result.row_times.map(([t, from, to]) => [axis.at(t, from) * width, axis.at(t, to) * width]);
  const chosen = view.word >= 0 ? all[view.word] : null;
  const shown = chosen || all[0].map((_, r) => mean(all.map((row) => row[r])));
  const most = argmax(shown);
  const lit = box.map(([x, to], r) => svg("rect", {
    x, y: 0, width: to - x, height: wave, fill: COLOURS.audio, "fill-opacity": (0.5 * Math.min(1, shown[r] / top)).toFixed(3),
  }));
  const waves = axis.spans.map(([track, from, to]) => {
    const own = state.tracks[placeOf(result, track)];
    if (!own || !own.peaks) return null;
    const low = Math.floor((from / own.seconds) * own.peaks.length);
    const peaks = own.peaks.slice(low, Math.ceil((to / own.seconds) * own.peaks.length));
    const x = axis.at(track, from) * width;
    return svg("path", { class: "wave-line", d: wavePath(peaks, x, axis.at(track, to) * width - x, wave) });
  });
  const height = wave + bars + 14;
  const heights = box.map(([x, to], r) => {
    const size = (bars - 4) * (shown[r] / top);
    return svg("rect", { class: "attention", x: x + 0.5, y: wave + bars - size, width: Math.max(1, to - x - 1), height: size });
  });
  const level = wave + bars - (bars - 4) * (uniform / top);
  const ticks = box.map(([x], r) => (r % Math.ceil((R * 44) / width) === 0) &&
    svg("text", { class: "tick start", x: x + 2, y: height - 2 }, clock(result.row_times[r][1])));
  const jump = (fraction) => {
    const r = box.findIndex(([x, to]) => fraction * width >= x && fraction * width < to);
    if (r >= 0) playRow(result, r);
  };
  const drawing = svg("svg", {
    viewBox: "0 0 " + width + " " + height, role: "img", class: "timeline",
    "aria-label": "Attention over " + plural(R, "segment") + (chosen ? " for \u201c" + words[view.word].text + "\u201d" : ", mean over all words") +
      "; most, " + percent(shown[most]) + ", at " + result.rows.audio[most] + "; uniform would be " + percent(uniform),
  }, lit, waves, heights, svg("line", { class: "uniform", x1: 0, x2: width, y1: level, y2: level }),
    svg("text", { class: "tick stop", x: width - 2, y: level - 3 }, "uniform"), ticks);
  drawing.addEventListener("click", (event) => {
    const rect = drawing.getBoundingClientRect();
    jump((event.clientX - rect.left) / rect.width);
  });
  return h("div", { class: "time" },
    h("p", { class: "small" }, chosen ? ["Where ", h("strong", {}, "\u201c" + words[view.word].text + "\u201d"), " listened"] : "Where the whole caption listened",
      h("span", { class: "soft" }, R === 1 && shown[0] > 0.999 ? " \u2014 one segment: its attention is 1 by construction, only the gate informs." :
        result.request.strengths.audio === 0 ? " \u2014 without audio (strength 0) this attention had no effect." :
        " \u2014 " + percent(Math.max(0, 1 - shown.reduce((a, b) => a + b, 0))) + " of it rested on no segment.")),
    drawing,
    h("div", { class: "row plays" }, [...shown.keys()].filter((r) => placeOf(result, result.row_times[r][0]) >= 0)
      .sort((a, b) => shown[b] - shown[a]).slice(0, 3).map((r) =>
      h("button", { type: "button", class: "chip", onclick: () => playRow(result, r, result.row_times[r][2]) },
        "\u25b6 " + result.rows.audio[r] + " (" + percent(shown[r]) + ")"))),
    fold("every", "Every word and segment", () => drawMatrix(result, all, box, top, uniform, width)));
}

function drawMatrix(result, all, box, top, uniform, width) {
  const cell = 13, left = 90;
  const darkest = percent(Math.max(0, ...all.flat())); // the scale may end above it
  const squeeze = (x) => left + (x / width) * (width - left);
  const height = all.length * cell + 16;
  const rows = all.map((row, w) => [
    svg("text", { class: "tick end" + (w === view.word ? " strong" : ""), x: left - 6, y: w * cell + 10 }, result.words[w].text.slice(0, 14)),
    row.map((value, r) => svg("rect", {
      x: squeeze(box[r][0]), y: w * cell, width: squeeze(box[r][1]) - squeeze(box[r][0]), height: cell,
      fill: COLOURS.audio, "fill-opacity": Math.min(1, value / top).toFixed(3),
    })),
  ]);
  const drawing = svg("svg", {
    viewBox: "0 0 " + width + " " + height, role: "img", class: "matrix",
    "aria-label": "Attention of every word over the audio segments; uniform would be " + percent(uniform) + ", the darkest cell is " + darkest,
  }, rows, svg("rect", { class: "frame", x: left, y: 0, width: width - left, height: all.length * cell }));
  drawing.addEventListener("click", (event) => {
    const rect = drawing.getBoundingClientRect();
    const x = ((event.clientX - rect.left) / rect.width) * width;
    const w = Math.floor((((event.clientY - rect.top) / rect.height) * height) / cell);
    const r = box.findIndex(([from, to]) => x >= squeeze(from) && x < squeeze(to));
    if (r >= 0) playRow(result, r);
    if (w >= 0 && w < all.length) selectWord(w);
  });
  return h("div", {}, drawing, h("p", { class: "soft small" },
    "Darkest: " + darkest + "; uniform attention is " + percent(uniform) + "." +
    (result.row_times.some(([track]) => placeOf(result, track) >= 0) ? " A click plays from there." : "")));
}
