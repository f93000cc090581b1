// Findings and neighbours as elements. All text from answers is set as text, never as markup.

function element(name, text = "", more = {}) {
  const made = Object.assign(document.createElement(name), more);
  made.textContent = text;
  return made;
}

const percent = (share) => (share < 0.005 ? "<1 %" : share > 0.995 ? ">99 %" : `${Math.round(100 * share)} %`);

function measured(share, label, withMeter) { // a share as a number, and as a bar if there is room
  const cell = element("td", "", { className: "share" });
  if (withMeter) cell.append(element("meter", "", { max: 1, value: share, ariaLabel: `${label}: ${percent(share)}` }));
  cell.append(element("span", percent(share)));
  return cell;
}

function orderOf(answer) { // only what can be compared between findings orders them
  const names = Object.keys(answer.scores);
  const strength = (name) => (answer.calibrated ? answer.probabilities[name] ?? -1 : answer.standing?.[name] ?? 0);
  return names.sort((a, b) => strength(b) - strength(a));
}

const minus = (value) => value.toFixed(3).replace("-", "−");

const scoreOf = (answer, name) => element("td", minus(answer.scores[name]));

const nameOf = (run, runs) => (runs.filter((other) => other.method === run.method).length > 1 ? run.name : run.method);

function probabilityOf(answer, name, withMeter) {
  const found = answer.probabilities[name];
  return found === undefined ? element("td", "–", { ariaLabel: "not calibrated" }) : measured(found, `${name}, probability`, withMeter);
}

function columnsOf(runs, answers) { // titles, and the cell of a finding below each
  const [first] = answers;
  const columns = [];
  if (runs.length > 1) {
    runs.forEach((run, k) => columns.push(answers[k].calibrated
      ? [`${nameOf(run, runs)}, probability`, (name) => probabilityOf(answers[k], name, false)]
      : [`${nameOf(run, runs)}, score`, (name) => scoreOf(answers[k], name)]));
  } else if (first.calibrated) {
    columns.push(["Probability", (name) => probabilityOf(first, name, true)]);
    columns.push(["Prevalence", (name) => element("td", name in first.prevalence ? percent(first.prevalence[name]) : "")]);
  }
  if (first.standing) columns.push(["Films below", (name) => measured(first.standing[name], `${name}, index's films below`, runs.length === 1 && !first.calibrated)]);
  // A score alone says least, and the column has no room for it beside two better numbers.
  if (runs.length === 1 && !(first.calibrated && first.standing)) columns.push(["Score", (name) => scoreOf(first, name)]);
  return columns;
}

export function fillFindings(table, runs, answers) { // one answer of /api/findings for each run
  const columns = columnsOf(runs, answers);
  const head = element("tr");
  head.append(...["Finding", ...columns.map(([title]) => title)].map((title) => element("th", title, { scope: "col" })));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...orderOf(answers[0]).map((name) => {
    const row = element("tr");
    row.append(element("th", name, { scope: "row" }), ...columns.map(([, cell]) => cell(name)));
    return row;
  }));
}

export function meaningsOf(runs, answers) { // as elements
  return runs.flatMap((run, k) => meaningOf(answers[k], runs.length > 1 ? `${nameOf(run, runs)}: ` : ""));
}

function meaningOf(answer, whose) {
  const said = [];
  if (answer.calibrated) {
    said.push(element("p", `${whose}Probability: calibrated on ${answer.calibrated_on}. It holds for films like those only. Prevalence: how many of those have the finding.`, { className: "warning" }));
    const reasons = Object.entries(answer.not_calibrated);
    if (reasons.length) {
      const why = element("details");
      why.append(element("summary", `${whose}${reasons.length} of ${Object.keys(answer.scores).length} findings have no probability (–)`), ...reasons.map(([name, reason]) => element("p", `${name}: ${reason}.`)));
      said.push(why);
    }
  }
  if (answer.standing) said.push(element("p", `${whose}Films below: the share of the index's ${answer.films.toLocaleString("en")} films that score lower. A place among films, not a probability.`));
  if (!answer.calibrated) said.push(element("p", `${whose}Score: an uncalibrated difference of cosines (${Object.values(answer.not_calibrated)[0]}), not a probability. Compare films by one finding, not findings with each other.`));
  return said;
}

export function neighbour(hit, useReport) {
  const item = element("li");
  if (hit.has_picture) {
    const film = hit.film ? `&film=${encodeURIComponent(hit.film)}` : "";
    item.append(element("img", "", { alt: `Film of study ${hit.study}`, loading: "lazy", src: `/api/neighbour?study=${encodeURIComponent(hit.study)}${film}` }));
  }
  const said = element("div");
  said.append(element("h3", `Study ${hit.study}`), element("p", `cosine ${minus(hit.cosine)}`, { className: "hint" }), element("p", hit.report ?? "No report at hand.", { className: "report", tabIndex: 0 }));
  if (hit.report) {
    const button = element("button", "Link its words", { type: "button" });
    button.addEventListener("click", () => useReport(hit.report));
    said.append(button);
  }
  item.append(said);
  return item;
}
