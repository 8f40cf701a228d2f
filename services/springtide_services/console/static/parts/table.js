// Tables that sort by a click on a head, or by Enter on it.

import {html, nothing, render} from "../vendor/lit-html.js";

// Draws a table into an element and returns {update(rows)}. A column is {title, value(row), cell(row), align, sort}:
// `value` is what it sorts by, `cell` what it shows, if that is another thing; `align: "end"` is for numbers. `sort` of
// the table names the column to begin with, such as {by: 2, down: true}. `onOpen(row)` makes rows that Enter and a click
// open. `empty` is shown where there is no row.
export function table(element, {columns, rows = [], caption, sort = null, onOpen, empty = "Nothing yet."}) {
  let [shown, order] = [rows, sort];
  const by = (at) => () => {
    order = order?.by === at ? {by: at, down: !order.down} : {by: at, down: columns[at].align === "end"};
    draw();
  };
  const opens = (row) => (event) => {
    if (event.type === "click" ? event.target.closest("a,button") : event.key !== "Enter" || event.target !== event.currentTarget) return;
    event.preventDefault();  // Else the same Enter would press what has the focus then, such as a dialog's button.
    onOpen(row);
  };
  function draw() {
    const sorted = order === null ? shown : [...shown].sort((a, b) => compare(columns[order.by].value(a), columns[order.by].value(b)) * (order.down ? -1 : 1));
    render(
      html`<div class="table-frame" tabindex="0" role="region" aria-label=${caption}><table>
        <caption class="unseen">${caption}</caption>
        <thead><tr>${columns.map((column, at) => html`<th scope="col" class=${column.align ?? nothing}
          aria-sort=${order?.by === at ? (order.down ? "descending" : "ascending") : nothing}>
          ${column.value && column.title ? html`<button type="button" class="head" @click=${by(at)}>${column.title}</button>` : column.title}</th>`)}</tr></thead>
        <tbody>${sorted.map((row) => html`<tr tabindex=${onOpen ? 0 : nothing} class=${onOpen ? "opens" : nothing}
          @click=${onOpen ? opens(row) : nothing} @keydown=${onOpen ? opens(row) : nothing}>
          ${columns.map((column) => html`<td class=${column.align ?? nothing}>${(column.cell ?? column.value)(row)}</td>`)}</tr>`)}</tbody>
      </table>${sorted.length ? "" : html`<p class="empty-line">${empty}</p>`}</div>`,
      element,
    );
  }
  draw();
  return {
    update(next) {
      shown = next;
      draw();
    },
  };
}

const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a ?? "").localeCompare(String(b ?? ""), undefined, {numeric: true}));
