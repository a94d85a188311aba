// Costs that grow by the second.
const skew = Date.now() - Date.parse(document.body.dataset.now);

function money(value) {
  if (value > 0 && value < 0.0001) return "<$0.0001";
  if (value >= 1) return `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  return value ? `$${value.toFixed(4)}` : "$0.00";
}

// The same amounts as the template filter `usd` writes.
function tick() {
  for (const cost of document.querySelectorAll("data[data-per-second]")) {
    const seconds = Math.max(0, (Date.now() - skew - Date.parse(cost.dataset.since)) / 1000);
    // The clock of this page may be a moment behind the one that the server reckoned by.
    const text = money(Math.max(Number(cost.dataset.known || 0), Number(cost.value) + Number(cost.dataset.perSecond) * seconds));
    if (cost.textContent !== text) cost.textContent = text;
  }
}

setInterval(tick, 1000);
// What the server answers is older than what is shown by now: an amount must not go back, not even for a moment.
for (const answer of ["htmx:afterRequest", "htmx:wsAfterMessage"]) document.body.addEventListener(answer, tick);
tick();
