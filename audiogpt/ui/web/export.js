// Pictures as PNG and shares as CSV, made in the browser from what is on the screen.

function download(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

const fileStem = () =>
  "audiogpt-" + (view.answer.result.title || "caption").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40);

// One row per word: its text, its part, and every number of the strip.
function sharesCsv({ result, why }) {
  const { parts } = result.trace;
  const quote = (text) => {
    const safe = /^[=+\-@\t\r]/.test(text) ? "'" + text : text; // spreadsheets run formulas
    return '"' + safe.replaceAll('"', '""') + '"';
  };
  const gates = wordGates(result);
  const head = ["word", "part", ...parts.map((p) => "share_" + p), "gate_alpha", ...parts.slice(1).map((p) => "gate_" + p),
    "log_probability", ...parts.slice(1).map((p) => "drop_" + p), "disagree"];
  const rows = result.words.map((word, i) => [quote(word.text), word.part, ...why.shares[i], ...gates[i].map((g) => g.toFixed(5)),
    tokensOf(word).reduce((sum, t) => sum + result.trace.log_probability[t], 0).toFixed(5), ...why.drops[i], why.marks[i] ? 1 : 0]);
  return [head, ...rows].map((row) => row.join(",")).join("\r\n") + "\r\n";
}

const STYLED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-family", "font-weight", "text-anchor"];

function styledCopy(node) {
  const copy = node.cloneNode(true);
  const from = [node, ...node.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((original, i) => {
    const computed = getComputedStyle(original);
    for (const name of STYLED) to[i].style.setProperty(name, computed.getPropertyValue(name));
  });
  return copy;
}

// Drawings under one another with their captions, on the page's own background, at twice the size.
async function drawingsPng(items, heading) {
  const style = getComputedStyle(element.querySelector(".card"));
  const ink = getComputedStyle(element.querySelector(".agpt")).color;
  let y = 52, width = 400;
  const placed = items.map(([label, node]) => {
    const box = node.getBoundingClientRect();
    const copy = styledCopy(node);
    const at = y + (label ? 20 : 0);
    for (const [name, value] of [["x", 20], ["y", at], ["width", box.width], ["height", box.height]]) copy.setAttribute(name, value);
    const text = label && svg("text", { x: 20, y: y + 12, fill: ink, "font-size": 13, "font-family": "sans-serif" }, label);
    y = at + box.height + 14;
    width = Math.max(width, box.width + 40);
    return [text, copy];
  });
  const whole = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width, height: y + 26, viewBox: "0 0 " + width + " " + (y + 26) },
    svg("rect", { width, height: y + 26, fill: style.backgroundColor }),
    svg("text", { x: 20, y: 30, fill: ink, "font-size": 16, "font-family": "sans-serif", "font-weight": "bold" }, heading),
    placed,
    svg("text", { x: 20, y: y + 12, fill: ink, "font-size": 11, "font-family": "sans-serif", opacity: 0.7 }, HONESTY));
  const image = new Image();
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(whole)], { type: "image/svg+xml" }));
  try {
    image.src = url;
    await image.decode();
  } finally {
    URL.revokeObjectURL(url);
  }
  const canvas = h("canvas", { width: width * 2, height: (y + 26) * 2 });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// The word strip as one drawing: words in lines of at most `width`, bars below them.
function stripDrawing({ result }, width = 820) {
  const parts = partsOf(result);
  const values = wordValues(view.answer);
  const measure = h("canvas").getContext("2d");
  const nodes = [];
  let x = 0, y = 0, last = "";
  result.words.forEach((word, i) => {
    const size = word.part === "title" ? 24 : 17;
    measure.font = size + "px serif";
    const wide = measure.measureText(word.text).width;
    if (x + wide > width || (last && last !== word.part)) { x = 0; y += size + 26; }
    last = word.part;
    nodes.push(svg("text", { class: "strip-text", x, y: y + size, "font-size": size, "font-family": "serif" }, word.text));
    const total = view.mode === "gates" ? 1 : values[i].reduce((a, b) => a + b, 0) || 1;
    let at = x;
    values[i].forEach((value, p) => {
      const gates = view.mode === "gates";
      nodes.push(svg("rect", { class: "part", x: gates ? x : at, y: y + size + 6 + (gates ? p * 3 : 0), width: (value / total) * wide,
        height: gates ? 2.5 : 8, fill: COLOURS[parts[p]] || "#666" }));
      at += (value / total) * wide;
    });
    x += wide + (word.part === "title" ? 10 : 7);
  });
  return svg("svg", { width, height: y + 70, viewBox: "0 0 " + width + " " + (y + 70) }, nodes,
    parts.map((part, p) => [svg("rect", { class: "part", x: p * 110, y: y + 52, width: 12, height: 12, fill: COLOURS[part] || "#666" }),
      svg("text", { class: "strip-text", x: p * 110 + 18, y: y + 62, "font-size": 12, "font-family": "sans-serif" }, part)]));
}

async function savePng(kind) {
  let items, heading;
  if (kind === "strip") {
    const drawing = stripDrawing(view.answer);
    const stage = h("div", { class: "stage" }, drawing); // styles are computed only in the page
    element.querySelector(".agpt").append(stage);
    items = [["", drawing]];
    heading = view.mode === "gates" ? "Raw gates per word" : "Exact shares per word";
    const blob = await drawingsPng(items, heading);
    stage.remove();
    return download(fileStem() + "-strip.png", blob);
  }
  const hidden = panels.why.hidden;
  panels.why.hidden = false;
  if (kind === "layers") {
    items = [...panels.why.querySelectorAll(".layers figure")].map((figure) => [figure.querySelector("figcaption").textContent, figure.querySelector("svg")]);
    items.push(["", panels.why.querySelector("svg.axis")]);
    heading = "Layers by words";
  } else {
    const every = panels.why.querySelector(".time details");
    const open = every && every.open;
    if (every) { every.draw(); every.open = true; }
    items = [...panels.why.querySelectorAll(".time svg")].map((node) => ["", node]);
    heading = "Attention along the music";
    if (every) queueMicrotask(() => { every.open = open; });
  }
  const blob = drawingsPng(items, heading); // measures before it waits
  panels.why.hidden = hidden;
  download(fileStem() + "-" + kind + ".png", await blob);
}
