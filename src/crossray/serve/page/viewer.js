// The page: asks the server, shows the answers. All text from answers is set as text, never as markup.
import { Pane, START, colour, view } from "/film.js";

const $ = (id) => document.getElementById(id);
const MOST_ZOOM = 30;
let about = { runs: [], index: false };
let panes = [];
let film = null;
let linked = null; // words, attention, regions of the report that is linked

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.problem);
  return content;
}

async function attempt(what) {
  try {
    await what();
  } catch (error) {
    say(error.message, true);
  }
}

async function greyOf(blob) { // the values of a grey picture
  const picture = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const paper = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  paper.drawImage(picture, 0, 0);
  const { data } = paper.getImageData(0, 0, picture.width, picture.height);
  return { width: picture.width, height: picture.height, values: Uint8ClampedArray.from({ length: data.length / 4 }, (_, k) => data[4 * k]) };
}

const blobOf = (base64) => new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" });

const openFilm = (file) => attempt(async () => {
  say(`Reading ${file.name} ...`);
  const answer = await fetch("/api/film", { method: "POST", body: file });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.problem);
  if (film) fetch(`/api/film/${film}`, { method: "DELETE" });
  film = content.film;
  linked = null;
  $("words").replaceChildren();
  const grey = await greyOf(await (await fetch(`/api/film/${film}/picture`)).blob());
  panes.forEach((pane) => pane.setFilm(grey));
  change({ ...START });
  say(`${content.width} × ${content.height} pixels`);
  await Promise.all([findings(), nearest()]);
});

const shownPanes = () => panes.filter((pane) => !pane.figure.hidden);

const showPhrase = () => attempt(async () => {
  if (!film) throw new Error("Open a film first.");
  const phrase = $("phrase").value.trim();
  if (!phrase) throw new Error("Write a sentence first.");
  say("Looking ...");
  for (const pane of shownPanes()) {
    if (!pane.run.grounds_phrases) {
      pane.setHeat(null);
      pane.caption.textContent = `${pane.run.method}: ${pane.run.name} — says nothing about places`;
      continue;
    }
    const found = await ask("/api/ground", { film, phrase, run: pane.run.number });
    pane.setHeat(await greyOf(blobOf(found.heat_png)));
  }
  say(`“${phrase}”: brightest where it points. Where, not whether.`);
});

const linkWords = () => attempt(async () => {
  if (!film) throw new Error("Open a film first.");
  const text = $("report").value.trim();
  if (!text) throw new Error("Write or paste a report first.");
  const run = about.runs.find((one) => one.grounds_words);
  if (!run) throw new Error("No run that is served links words to regions: use a method with a local term.");
  linked = await ask("/api/words", { film, text, run: run.number });
  linked.run = run;
  $("words").replaceChildren(...linked.words.map((word, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = word;
    button.addEventListener("pointerenter", () => lookOf(k));
    button.addEventListener("focus", () => lookOf(k));
    return button;
  }));
  $("words-hint").hidden = false;
  say(`${linked.words.length} words linked to ${linked.regions.length} regions.`);
});

function mark(name, test) {
  [...$("words").children].forEach((button, k) => {
    button.classList.remove("chosen", "speaks");
    if (test(k)) button.classList.add(name);
  });
}

const paneOfWords = () => panes.find((pane) => pane.run.number === linked.run.number);

function lookOf(word) { // the regions at which a word looks
  const row = linked.attention[word];
  const [low, high] = [Math.min(...row), Math.max(...row)];
  mark("chosen", (k) => k === word);
  paneOfWords().setBoxes(linked.regions.map((box, k) => ({ box, strength: high > low ? (row[k] - low) / (high - low) : 0 })));
}

function wordsAt([x, y]) { // the words that look more than evenly at the region of a point
  if (!linked) return;
  const region = linked.regions.findIndex(([x0, y0, x1, y1]) => x >= x0 && x < x1 && y >= y0 && y < y1);
  if (region < 0) return;
  const strength = linked.attention.map((row) => row[region] * linked.regions.length);
  const chosen = strength.map((value, k) => [value, k]).filter(([value]) => value > 1).sort((a, b) => b[0] - a[0]).slice(0, 5).map(([, k]) => k);
  mark("speaks", (k) => chosen.includes(k));
  paneOfWords().setBoxes([{ box: linked.regions[region], strength: 1 }]);
  say(chosen.length ? `Words that look here most: ${chosen.map((k) => linked.words[k]).join(", ")}` : "No word looks here more than evenly.");
}

async function findings() {
  const runs = shownPanes().map((pane) => pane.run).filter((run) => run.reads_reports);
  const tables = await Promise.all(runs.map((run) => ask("/api/findings", { film, run: run.number })));
  if (!tables.length) return;
  const names = Object.keys(tables[0].scores).sort((a, b) => tables[0].scores[b] - tables[0].scores[a]);
  $("findings").tBodies[0].replaceChildren(...names.map((name) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    tables.forEach((table) => { row.insertCell().textContent = table.scores[name].toFixed(3); });
    return row;
  }));
}

async function nearest() {
  if (!about.index) return;
  const { hits } = await ask("/api/search", { film, side: "reports", k: 4 });
  $("near").replaceChildren(...hits.map((hit) => {
    const item = document.createElement("li");
    const picture = document.createElement("img");
    picture.alt = `Film of study ${hit.study}`;
    if (hit.has_picture) picture.src = `/api/neighbour?study=${encodeURIComponent(hit.study)}`;
    const text = document.createElement("p");
    text.textContent = `${hit.cosine.toFixed(3)} (cosine)  ${hit.report ?? hit.study}`;
    item.append(picture, text);
    return item;
  }));
}

function change(what) {
  Object.assign(view, what);
  view.zoom = Math.min(Math.max(view.zoom, 0.5), MOST_ZOOM);
  view.level = Math.min(Math.max(view.level, 0), 255);
  view.window = Math.min(Math.max(view.window, 2), 512);
  $("level").value = view.level;
  $("window").value = view.window;
  $("opacity").value = 100 * view.opacity;
  $("invert").checked = view.invert;
  const greys = ["level", "window", "invert"].some((name) => name in what);
  panes.forEach((pane) => (greys ? pane.window() : pane.grey && pane.draw()));
}

function compare(both) {
  $("compare").checked = both;
  panes.forEach((pane, k) => { pane.figure.hidden = k > 0 && !both; });
  panes.forEach((pane) => pane.draw());
  if (film) attempt(findings);
  if (film && both) showPhrase();
}

let before = 0.5; // the overlay's opacity before it was hidden
const KEYS = {
  o: () => $("file").click(),
  i: () => change({ invert: !view.invert }),
  "+": () => change({ zoom: view.zoom * 1.25 }),
  "=": () => change({ zoom: view.zoom * 1.25 }),
  "-": () => change({ zoom: view.zoom / 1.25 }),
  "[": () => change({ level: view.level - 8 }),
  "]": () => change({ level: view.level + 8 }),
  "{": () => change({ window: view.window - 16 }),
  "}": () => change({ window: view.window + 16 }),
  0: () => change({ ...START }),
  h: () => { if (view.opacity) before = view.opacity; change({ opacity: view.opacity ? 0 : before }); },
  c: () => panes.length > 1 && compare(!$("compare").checked),
  "/": () => $("phrase").focus(),
  "?": () => help(),
  ArrowLeft: () => change({ x: view.x - 0.05 }),
  ArrowRight: () => change({ x: view.x + 0.05 }),
  ArrowUp: () => change({ y: view.y - 0.05 }),
  ArrowDown: () => change({ y: view.y + 0.05 }),
};

function help() {
  $("help").hidden = !$("help").hidden;
  $("help-button").setAttribute("aria-expanded", String(!$("help").hidden));
}

function listen() {
  $("file").addEventListener("change", () => { if ($("file").files[0]) openFilm($("file").files[0]); $("file").value = ""; });
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files[0]) openFilm(event.dataTransfer.files[0]);
  });
  $("level").addEventListener("input", () => change({ level: Number($("level").value) }));
  $("window").addEventListener("input", () => change({ window: Number($("window").value) }));
  $("opacity").addEventListener("input", () => change({ opacity: Number($("opacity").value) / 100 }));
  $("invert").addEventListener("change", () => change({ invert: $("invert").checked }));
  $("reset").addEventListener("click", () => change({ ...START }));
  $("compare").addEventListener("change", () => compare($("compare").checked));
  $("help-button").addEventListener("click", help);
  $("phrase-form").addEventListener("submit", (event) => { event.preventDefault(); showPhrase(); });
  $("words-form").addEventListener("submit", (event) => { event.preventDefault(); linkWords(); });
  window.addEventListener("resize", () => panes.forEach((pane) => pane.draw()));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !$("help").hidden) help();
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]):not([type=file]), textarea")) return;
    const what = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (what) { event.preventDefault(); what(); }
  });
}

function legend() {
  const paper = $("legend").getContext("2d");
  for (let x = 0; x < 128; x++) {
    paper.fillStyle = `rgb(${colour(x / 127).join(" ")})`;
    paper.fillRect(x, 0, 1, 10);
  }
}

attempt(async () => {
  listen();
  legend();
  about = await ask("/api/about");
  panes = about.runs.map((run) => new Pane(run, change, wordsAt));
  $("panes").replaceChildren(...panes.map((pane) => pane.figure));
  panes.forEach((pane, k) => { pane.figure.hidden = k > 0; });
  $("compare-label").hidden = panes.length < 2;
  $("near-section").hidden = !about.index;
  document.body.dataset.ready = "yes";
});
