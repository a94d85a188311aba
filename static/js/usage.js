// What a sandbox uses: asked for while somebody looks at it, drawn as charts; costs grow by the second in between.
import "./money.js";

const LOOK_MS = 5000;
// Moments farther apart than this have a pause between them.
const PAUSE_MS = 90000;
const panel = document.getElementById("usage");
const figures = document.getElementById("usage-figures");
const charts = new Map();
let library = null;

const visible = () => !document.hidden && panel.offsetParent !== null;

function load() {
  library ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: panel.dataset.chart, onload: done, onerror: failed });
    document.head.append(script);
  });
  return library;
}

function look() {
  if (visible()) htmx.trigger(figures, "look");
}

function bytes(value) {
  const units = ["B", "KB", "MB", "GB"];
  let at = 0;
  for (; value >= 1024 && at < units.length - 1; at++) value /= 1024;
  return `${value >= 10 || !at ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

const FORMS = { cpu: (value) => `${value} %`, memory: bytes, disk: bytes };
const clock = (at) => new Date(at).toLocaleTimeString("en-GB");

// The style sheet's colours as the browser resolves them: a canvas can't read custom properties.
function colours(canvas) {
  const { color, borderTopColor, outlineColor } = getComputedStyle(canvas);
  return { text: color, grid: borderTopColor, line: outlineColor };
}

function options(name, points, { text, grid }) {
  const ticks = { color: text, maxTicksLimit: 4, maxRotation: 0 };
  const border = { color: grid };
  return {
    animation: false,
    maintainAspectRatio: false,
    interaction: { intersect: false, mode: "index" },
    plugins: {
      legend: { display: false },
      tooltip: { displayColors: false, callbacks: { title: ([item]) => clock(item.parsed.x), label: (item) => FORMS[name](item.parsed.y) } },
    },
    scales: {
      x: { type: "linear", min: points[0].x, max: points.at(-1).x, border, grid: { display: false }, ticks: { ...ticks, callback: (at) => clock(at).slice(0, 5) } },
      y: { beginAtZero: true, suggestedMax: name === "cpu" ? 100 : undefined, border, grid: { color: grid }, ticks: { ...ticks, callback: FORMS[name] } },
    },
  };
}

function paint(canvas, points) {
  const name = canvas.dataset.series;
  const shades = colours(canvas);
  const line = { data: points, borderColor: shades.line, borderWidth: 1.5, pointRadius: points.length < 2 ? 2 : 0, pointHitRadius: 8, spanGaps: PAUSE_MS };
  const chart = charts.get(name);
  if (!chart) return charts.set(name, new Chart(canvas, { type: "line", data: { datasets: [line] }, options: options(name, points, shades) }));
  Object.assign(chart.data.datasets[0], line);
  chart.options = options(name, points, shades);
  chart.update();
}

async function draw() {
  const series = JSON.parse(document.getElementById("usage-series")?.dataset.series || "null");
  document.getElementById("usage-charts").hidden = !series;
  if (!series) return;
  await load();
  for (const canvas of panel.querySelectorAll("canvas[data-series]")) {
    const name = canvas.dataset.series;
    paint(canvas, series.at.map((x, at) => ({ x, y: series[name][at] })));
  }
}

// An error's page is no part of this one: the figures stay as they were until the next answer.
figures.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status !== 200) event.detail.shouldSwap = false;
});
// Morphing tells nobody that it is done; it is by the time that the request is.
figures.addEventListener("htmx:afterRequest", draw);
new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && look()).observe(panel);
document.addEventListener("visibilitychange", look);
setInterval(look, LOOK_MS);
