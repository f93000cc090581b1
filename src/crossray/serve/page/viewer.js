// The page: asks the server, shows the answers.
import { ask, forget, picture, pictureIn, upload } from "/ask.js";
import { Pane, START, change as changeView, colour, view } from "/film.js";
import { fillFindings, meaningsOf, neighbour } from "/lists.js";

const $ = (id) => document.getElementById(id);
const LONGEST_MAP = 768; // pixels: a map of a few regions is as smooth at this size as at the film's
const NEIGHBOURS = 5;
let about = { runs: [], index: false };
let panes = [];
let film = null;
let phrase = null; // the one that is shown
let linked = null; // words, attention, regions and grid of the report that is linked
let region = null; // the one whose words are shown

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

async function attempt(what) {
  try {
    await what();
  } catch (error) {
    say(error.message, true);
  }
}

const openFilm = (file) => attempt(async () => {
  say(`Reading ${file.name} …`);
  const opened = await upload(file);
  const grey = await picture(opened.film);
  if (film) forget(film);
  film = opened.film;
  phrase = linked = region = null;
  $("words").replaceChildren();
  $("words-hint").hidden = true;
  $("empty").hidden = true;
  panes.forEach((pane) => pane.setFilm(grey));
  change({ ...START });
  say(`${file.name}: ${opened.width} × ${opened.height} pixels`);
  await Promise.all([findings(), nearest()]);
});

const shownPanes = () => panes.filter((pane) => !pane.figure.hidden);

function needFilm() {
  if (!film) throw new Error("Open a film first.");
  return film;
}

const showPhrase = (text) => attempt(async () => {
  const asked = needFilm();
  if (!text) throw new Error("Write a sentence first.");
  phrase = text;
  say(`Looking for “${text}” …`);
  for (const pane of shownPanes()) {
    if (!pane.run.grounds_phrases) {
      pane.clear();
      pane.note(pane.run.regions_are_places ? "says nothing about places" : "its regions are no places: no map");
      continue;
    }
    const found = await ask("/api/ground", { film: asked, phrase: text, run: pane.run.number, longest: LONGEST_MAP });
    const heat = await pictureIn(found.heat_png);
    if (film !== asked || phrase !== text) return; // another question was asked meanwhile
    pane.setHeat(heat, found.peak, found.seen);
  }
  say(`“${text}”: the ring marks where it points most. Where, not whether. Dashes: what the model saw.`);
});

const linkWords = () => attempt(async () => {
  const asked = needFilm();
  const text = $("report").value.trim();
  if (!text) throw new Error("Write or paste a report first.");
  const run = about.runs.find((one) => one.grounds_words);
  if (!run) throw new Error("No run that is served links words to regions: use a method with a local term.");
  const found = await ask("/api/words", { film: asked, text, run: run.number });
  if (film !== asked) return;
  linked = { ...found, run };
  phrase = region = null;
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
  say(`“${linked.words[word]}” and the regions at which it looks.`);
}

function wordsOf(chosen) { // the words that look more than evenly at a region
  region = chosen;
  const strength = linked.attention.map((row) => row[region] * linked.regions.length);
  const most = strength.map((value, k) => [value, k]).filter(([value]) => value > 1).sort((a, b) => b[0] - a[0]).slice(0, 5).map(([, k]) => k);
  mark("speaks", (k) => most.includes(k));
  paneOfWords().setBoxes([{ box: linked.regions[region], strength: 0.75, chosen: true }]);
  say(most.length ? `Words that look here most: ${most.map((k) => linked.words[k]).join(", ")}` : "No word looks here more than evenly.");
}

function clicked([x, y]) {
  const found = linked ? linked.regions.findIndex(([x0, y0, x1, y1]) => x >= x0 && x < x1 && y >= y0 && y < y1) : -1;
  if (found >= 0) wordsOf(found);
}

function stepRegion(right, down) { // the same without a pointer
  if (!linked) return;
  const [rows, columns] = linked.grid;
  const at = region ?? Math.floor(rows / 2) * columns + Math.floor(columns / 2);
  const row = Math.min(Math.max(Math.floor(at / columns) + (region === null ? 0 : down), 0), rows - 1);
  const column = Math.min(Math.max((at % columns) + (region === null ? 0 : right), 0), columns - 1);
  wordsOf(row * columns + column);
}

async function findings() {
  const asked = film;
  const runs = shownPanes().map((pane) => pane.run).filter((run) => run.reads_reports);
  const answers = await Promise.all(runs.map((run) => ask("/api/findings", { film: asked, run: run.number })));
  if (!answers.length || film !== asked) return;
  fillFindings($("findings"), runs, answers);
  $("findings-hint").replaceChildren(...meaningsOf(runs, answers));
}

async function nearest() {
  if (!about.index) return;
  const asked = film;
  const { hits } = await ask("/api/search", { film: asked, side: "reports", k: NEIGHBOURS });
  if (film === asked) showNear("Reports nearest to this film", hits);
}

const searchIndex = () => attempt(async () => {
  const text = $("phrase").value.trim();
  if (!text) throw new Error("Write a sentence first.");
  const { hits } = await ask("/api/search", { text, side: "films", k: NEIGHBOURS });
  showNear(`Films nearest to “${text}”`, hits);
  $("near-section").scrollIntoView({ block: "start" });
});

function showNear(title, hits) {
  $("h-near").textContent = title;
  $("near").replaceChildren(...hits.map((hit) => neighbour(hit, (report) => {
    $("report").value = report;
    $("words-section").scrollIntoView({ block: "start" });
    linkWords();
  })));
}

function change(what) {
  changeView(what);
  $("level").value = $("level-value").value = Math.round(view.level);
  $("window").value = $("window-value").value = Math.round(view.window);
  $("opacity").value = Math.round(100 * view.opacity);
  $("opacity-value").value = `${Math.round(100 * view.opacity)} %`;
  $("zoom-value").value = `${Math.round(100 * view.zoom)} %`;
  $("invert").checked = view.invert;
  const greys = ["level", "window", "invert"].some((name) => name in what);
  panes.forEach((pane) => (greys ? pane.window() : pane.draw()));
}

function compare(both) {
  $("compare").checked = both;
  panes.forEach((pane, k) => { pane.figure.hidden = k > 0 && !both; });
  panes.forEach((pane) => pane.draw());
  if (!film) return;
  attempt(findings);
  if (both && phrase) showPhrase(phrase);
}

let before = START.opacity; // the overlay's before it was hidden
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
  "/": () => { $("phrase").focus(); $("phrase").select(); },
  "?": () => help(),
  ArrowLeft: (shift) => (shift ? stepRegion(-1, 0) : change({ x: view.x - 0.05 })),
  ArrowRight: (shift) => (shift ? stepRegion(1, 0) : change({ x: view.x + 0.05 })),
  ArrowUp: (shift) => (shift ? stepRegion(0, -1) : change({ y: view.y - 0.05 })),
  ArrowDown: (shift) => (shift ? stepRegion(0, 1) : change({ y: view.y + 0.05 })),
};

function help() {
  $("help").hidden = !$("help").hidden;
  $("help-button").setAttribute("aria-expanded", String(!$("help").hidden));
}

function onKey(event) {
  if (event.key === "Escape" && !$("help").hidden) help();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]):not([type=file]), textarea")) return;
  const what = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!what) return;
  event.preventDefault();
  what(event.shiftKey);
}

function listenToFiles() {
  $("file").addEventListener("change", () => { if ($("file").files[0]) openFilm($("file").files[0]); $("file").value = ""; });
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files[0]) openFilm(event.dataTransfer.files[0]);
  });
}

function listen() {
  listenToFiles();
  $("choose").addEventListener("click", () => $("file").click());
  $("level").addEventListener("input", () => change({ level: Number($("level").value) }));
  $("window").addEventListener("input", () => change({ window: Number($("window").value) }));
  $("opacity").addEventListener("input", () => change({ opacity: Number($("opacity").value) / 100 }));
  $("invert").addEventListener("change", () => change({ invert: $("invert").checked }));
  $("reset").addEventListener("click", () => change({ ...START }));
  $("compare").addEventListener("change", () => compare($("compare").checked));
  $("help-button").addEventListener("click", help);
  $("phrase-form").addEventListener("submit", (event) => { event.preventDefault(); showPhrase($("phrase").value.trim()); });
  $("examples").addEventListener("click", (event) => {
    const example = event.target.closest("button");
    if (!example) return;
    $("phrase").value = example.textContent;
    showPhrase(example.textContent);
  });
  $("search").addEventListener("click", searchIndex);
  $("words-form").addEventListener("submit", (event) => { event.preventDefault(); linkWords(); });
  window.addEventListener("resize", () => panes.forEach((pane) => pane.draw()));
  document.addEventListener("keydown", onKey);
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
  panes = about.runs.map((run) => new Pane(run, change, clicked));
  $("panes").replaceChildren(...panes.map((pane) => pane.figure));
  panes.forEach((pane, k) => { pane.figure.hidden = k > 0; });
  $("compare-label").hidden = panes.length < 2;
  $("near-section").hidden = $("search").hidden = !about.index;
  change({ ...START });
  document.body.dataset.ready = "yes";
});
