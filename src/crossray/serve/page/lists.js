// Findings and neighbours as elements. All text from answers is set as text, never as markup.

function element(name, text = "", more = {}) {
  const made = Object.assign(document.createElement(name), more);
  made.textContent = text;
  return made;
}

const percent = (share) => `${Math.round(100 * share)} %`;

export function fillFindings(table, runs, answers) { // one answer of /api/findings for each run
  const [first] = answers;
  const names = Object.keys(first.scores);
  const strength = (name) => first.standing[name];
  if (first.standing) names.sort((a, b) => strength(b) - strength(a)); // scores of two findings have no common scale
  table.classList.toggle("compared", runs.length > 1);
  const head = element("tr");
  const titles = ["Finding", ...(first.standing ? ["Films below"] : []), ...runs.map((run) => (runs.length > 1 ? run.method : "Score"))];
  head.append(...titles.map((title) => element("th", title, { scope: "col" })));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...names.map((name) => {
    const row = element("tr");
    row.append(element("th", name, { scope: "row" }));
    if (first.standing) {
      const cell = element("td", "", { className: "standing" });
      cell.append(element("meter", "", { max: 1, value: strength(name), ariaLabel: `${name}: higher than in ${percent(strength(name))} of the index's films` }), element("span", percent(strength(name))));
      row.append(cell);
    }
    row.append(...answers.map((answer) => element("td", answer.scores[name].toFixed(3))));
    return row;
  }));
}

export const meaningOf = (answer) => answer.standing
  ? `Films below: the share of the index's ${answer.films.toLocaleString("en")} films that score lower. A place among films, not a probability.`
  : "Uncalibrated differences of cosines, not probabilities. Compare films by one finding, not findings with each other.";

export function neighbour(hit, useReport) {
  const item = element("li");
  if (hit.has_picture) {
    const film = hit.film ? `&film=${encodeURIComponent(hit.film)}` : "";
    item.append(element("img", "", { alt: `Film of study ${hit.study}`, loading: "lazy", src: `/api/neighbour?study=${encodeURIComponent(hit.study)}${film}` }));
  }
  const said = element("div");
  said.append(element("h3", `Study ${hit.study}`), element("p", `cosine ${hit.cosine.toFixed(3)}`, { className: "hint" }), element("p", hit.report ?? "No report at hand.", { className: "report", tabIndex: 0 }));
  if (hit.report) {
    const button = element("button", "Link its words", { type: "button" });
    button.addEventListener("click", () => useReport(hit.report));
    said.append(button);
  }
  item.append(said);
  return item;
}
