// The charts of a report, drawn from the tables beside them; a cost that grows while it is looked at.
(() => {
  const rows = (id) => Array.from(document.querySelectorAll(`#${id} tbody tr[data-label]`), (row) => row.dataset);
  const money = (value) => `$${value.toLocaleString("en-US", { maximumFractionDigits: value < 1 ? 4 : 2 })}`;
  // As many as can be told apart.
  const MOST = 12;
  let charts = [];

  function colours(canvas) {
    const { color, borderTopColor, outlineColor, textDecorationColor } = getComputedStyle(canvas);
    return { text: color, grid: borderTopColor, models: outlineColor, machines: textDecorationColor };
  }

  function options(shades, stacked) {
    const axis = (lines) => ({ stacked, border: { color: shades.grid }, grid: { display: lines, color: shades.grid }, ticks: { color: shades.text, maxRotation: 0 } });
    return {
      animation: false,
      maintainAspectRatio: false,
      interaction: { intersect: false, mode: "index", axis: stacked ? "x" : "y" },
      plugins: {
        legend: { display: stacked, labels: { color: shades.text, boxWidth: 12 } },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${money(item.raw)}` } },
      },
      scales: { x: axis(!stacked), y: axis(stacked) },
    };
  }

  function trend(canvas) {
    const found = rows("trend-table");
    const shades = colours(canvas);
    const bars = (label, name) => ({ label, data: found.map((row) => Number(row[name])), backgroundColor: shades[name], maxBarThickness: 48 });
    const made = options(shades, true);
    made.scales.y.ticks.callback = money;
    return new Chart(canvas, { type: "bar", data: { labels: found.map((row) => row.label), datasets: [bars("Models", "models"), bars("Machines", "machines")] }, options: made });
  }

  function split(canvas) {
    const found = rows("split-table").slice(0, MOST);
    const shades = colours(canvas);
    const made = { ...options(shades, false), indexAxis: "y" };
    made.scales.x.ticks.callback = money;
    made.scales.y.ticks.callback = (_, at) => (found[at].label.length > 22 ? `${found[at].label.slice(0, 21)}…` : found[at].label);
    return new Chart(canvas, { type: "bar", data: { labels: found.map((row) => row.label), datasets: [{ label: "Cost", data: found.map((row) => Number(row.cost)), backgroundColor: shades.models, maxBarThickness: 24 }] }, options: made });
  }

  function draw() {
    for (const chart of charts) chart.destroy();
    charts = [["trend", trend], ["split", split]].flatMap(([id, make]) => {
      const canvas = document.getElementById(id);
      return canvas ? [make(canvas)] : [];
    });
  }

  draw();
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
  window.addEventListener("beforeprint", () => charts.forEach((chart) => chart.resize()));
})();
