// What every terminal of the portal has in common: its colours, its links, and what may not act on the page.

// OSC sequences that would rename the page's title or reach the clipboard or the colours.
const IGNORED_OSC = [0, 1, 2, 4, 8, 10, 11, 12, 52, 104, 110, 111, 112];

// `links` lets hyperlinks through whose text says something else than their address; whoever does shows the address.
export function tame(terminal, { links = false } = {}) {
  for (const code of IGNORED_OSC) {
    if (!(links && code === 8)) terminal.parser.registerOscHandler(code, () => true);
  }
  // CSI t asks about the window and moves it.
  terminal.parser.registerCsiHandler({ final: "t" }, () => true);
}

export function open(event, address) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url && ["http:", "https:"].includes(url.protocol)) window.open(url.href, "_blank", "noopener,noreferrer");
}

export function look(element) {
  return {
    fontSize: 13, allowProposedApi: false, screenReaderMode: false, theme: colours(element),
    fontFamily: getComputedStyle(element).getPropertyValue("--tblr-font-monospace") || "monospace",
  };
}

export function colours(element) {
  const style = getComputedStyle(element);
  const of = (name, other) => style.getPropertyValue(name).trim() || other;
  const background = of("--output-background", of("--tblr-bg-surface", "#ffffff"));
  const foreground = of("--output-foreground", of("--tblr-body-color", "#1f2937"));
  return { background, foreground, cursor: background, selectionBackground: of("--output-selection", "#7aa2f766"), ...palette(element) };
}

// Colours of the ANSI set that can be read on a light page; on a dark one xterm's own are right.
function palette(element) {
  const dark = element.closest("[data-bs-theme=dark]") || document.documentElement.dataset.bsTheme === "dark";
  if (dark) return {};
  return {
    black: "#24292f", red: "#b42318", green: "#116329", yellow: "#7a5200", blue: "#0550ae", magenta: "#8250df", cyan: "#0f6b74",
    white: "#57606a", brightBlack: "#57606a", brightRed: "#c0392b", brightGreen: "#1a7f37", brightYellow: "#8a6100",
    brightBlue: "#2563eb", brightMagenta: "#9333ea", brightCyan: "#0e7490", brightWhite: "#24292f",
  };
}

export function recolour(change) {
  new MutationObserver(change).observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", change);
}
