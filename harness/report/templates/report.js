"use strict";
// A click on a column's header sorts its table; a second click turns the order round.  A form above
// the table of all claims says which of its rows are shown.

function valueOf(row, column) {
  const cell = row.cells[column];
  const text = cell.textContent.trim();
  const number = Number(cell.dataset.value ?? (text === "" ? NaN : text));
  return { text, number: cell.dataset.value === "inf" ? Infinity : cell.dataset.value === "-inf" ? -Infinity : number };
}

// Numbers come in their order, then texts, and what is missing comes last either way.
function rank({ text, number }) {
  if (!Number.isNaN(number)) return 0;
  return text === "" || text === "nan" ? 2 : 1;
}

function compare(a, b, sign) {
  const byKind = rank(a) - rank(b);
  if (byKind !== 0) return byKind;
  if (rank(a) === 0) return a.number === b.number ? 0 : sign * (a.number < b.number ? -1 : 1);
  return sign * a.text.localeCompare(b.text, "en", { numeric: true });
}

function sort(table, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, value: valueOf(row, header.cellIndex) }));
  rows.sort((a, b) => compare(a.value, b.value, ascending ? 1 : -1));
  body.append(...rows.map(({ row }) => row));
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header));
    header.append(button);
  }
}

function filter(form, rows) {
  const words = form.elements.words.value.trim().toLowerCase();
  const chosen = (name) => new Set(Array.from(form.querySelectorAll(`[name=${name}]:checked`), (box) => box.value));
  const verdicts = chosen("verdict"), roles = chosen("role");
  let shown = 0;
  for (const row of rows) {
    const fits = verdicts.has(row.dataset.verdict) && roles.has(row.dataset.role) && row.textContent.toLowerCase().includes(words);
    row.hidden = !fits;
    shown += fits;
  }
  form.querySelector("output").value = `${shown} of ${rows.length} claims`;
}

for (const form of document.querySelectorAll("form.filters")) {
  const rows = form.parentNode.querySelectorAll("tbody tr");
  form.addEventListener("input", () => filter(form, rows));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter(form, rows);
}
