// Tables sort by their headers. One listener for the page: gradio replaces the tables inside it.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button.sort");
  if (!button) return;
  const head = button.closest("th");
  const body = head.closest("table").tBodies[0];
  const column = head.cellIndex;
  const falls = head.getAttribute("aria-sort") === "descending";
  const value = (row) => {
    const cell = row.cells[column];
    const text = (cell.dataset.value ?? cell.innerText).trim();
    const number = parseFloat(text.replace("−", "-"));
    return text === "" || text === "–" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const rows = [...body.rows].map((row) => [value(row), row]);
  const sign = falls ? 1 : -1;
  rows.sort(([a], [b]) => (a === null) - (b === null) || (a === b ? 0 : (a > b ? 1 : -1) * sign));
  for (const [, row] of rows) body.append(row);
  for (const other of head.parentElement.cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", falls ? "ascending" : "descending");
});

// What a visitor asked for is read out when it comes; gradio has no attribute for it.
new MutationObserver(() => {
  for (const region of document.querySelectorAll(".live:not([aria-live])")) region.setAttribute("aria-live", "polite");
}).observe(document, { childList: true, subtree: true });
