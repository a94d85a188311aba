// The output of one job in a terminal: follows its socket from where this browser is, comes back after every loss.
// Frames: first and last row as 64-bit numbers, then bytes. What is printed is never trusted to act on the page.
import { colours, look, open, recolour, tame } from "./screen.js";

const { Terminal, FitAddon, WebLinksAddon } = globalThis;

const HEADER = 16;
const TAIL_LINES = 10000;
const ASLEEP_MS = 10000;
const ANONYMOUS = 4401;
const GONE = 4404;

const screens = new Map();

class Screen {
  constructor(element) {
    this.element = element;
    this.terminal = new Terminal({
      ...look(element), convertEol: true, disableStdin: true, scrollback: TAIL_LINES,
      cursorStyle: "underline", cursorInactiveStyle: "none", linkHandler: { activate: open },
    });
    this.fit = new FitAddon.FitAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.loadAddon(new WebLinksAddon.WebLinksAddon(open));
    this.bar = this.part("div", "output-bar");
    this.bar.setAttribute("role", "status");
    this.newest = this.part("button", "btn btn-sm output-newest", "Jump to newest");
    this.newest.type = "button";
    this.newest.addEventListener("click", () => this.terminal.scrollToBottom());
    this.tame();
    this.terminal.onScroll(() => this.showNewest());
    element.addEventListener("wheel", () => requestAnimationFrame(() => this.showNewest()), { passive: true });
    new ResizeObserver(() => this.resize()).observe(element);
    this.follow();
  }

  part(tag, classes, text = "") {
    const made = document.createElement(tag);
    made.className = classes;
    made.textContent = text;
    made.hidden = true;
    this.element.append(made);
    return made;
  }

  tame() {
    tame(this.terminal);
    // Mouse reports and the alternate screen make sense only where somebody can type.
    this.terminal.parser.registerCsiHandler({ prefix: "?", final: "h" }, (modes) => modes.some((mode) => mode !== 25 && mode !== 7));
  }

  // In a hidden tab xterm.js would measure every letter in vain, for seconds: it waits until it is seen.
  resize() {
    if (!this.element.clientHeight) return;
    if (!this.terminal.element) this.terminal.open(this.element);
    this.fit.fit();
    if (this.waits) this.follow();
  }

  // Another job, or the first one: begin anew.
  follow() {
    this.drop();
    clearTimeout(this.timer);
    this.waits = !this.element.clientHeight;
    if (this.waits) return;
    this.url = this.element.dataset.url || "";
    this.last = 0;
    this.over = false;
    this.attempt = 0;
    this.terminal.reset();
    this.say("");
    this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    this.drop();
    if (!this.url || this.over) return;
    const query = this.last ? `?after=${this.last}` : "?tail=1";
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${this.url}${query}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.take(socket, event.data);
    socket.onclose = (event) => this.closed(event.code);
    this.socket = socket;
  }

  drop() {
    if (!this.socket) return;
    this.socket.onclose = this.socket.onmessage = null;
    this.socket.close();
    this.socket = null;
  }

  closed(code) {
    this.socket = null;
    if (this.over) return;
    if (code === ANONYMOUS) return location.reload();
    if (code === GONE) return this.say("This output isn't there for you any more.");
    this.say("Connection lost. Trying again…");
    const longest = Math.min(15000, 250 * 2 ** this.attempt++);
    this.timer = setTimeout(() => this.connect(), longest * (0.5 + Math.random() / 2));
  }

  take(socket, data) {
    if (typeof data === "string") return this.told(JSON.parse(data));
    const view = new DataView(data);
    const first = Number(view.getBigUint64(0));
    const last = Number(view.getBigUint64(8));
    if (last <= this.last) return this.acknowledge(socket, last);
    if (this.last && first > this.last + 1) this.missing(first - this.last - 1);
    this.last = last;
    this.terminal.write(new Uint8Array(data, HEADER), () => this.acknowledge(socket, last));
  }

  acknowledge(socket, seq) {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ack: seq }));
  }

  told(message) {
    if (message.start) {
      this.attempt = 0;
      this.say("");
      if (!this.last) this.last = message.start.first - 1;
      if (message.start.skipped) this.remark(`${kilobytes(message.start.skipped)} before this are in the raw download`);
    }
    if (message.end) {
      if (message.end.last > this.last) this.missing(message.end.last - this.last);
      this.over = true;
    }
  }

  missing(count) {
    this.remark(`${count} records missing`);
  }

  remark(text) {
    this.terminal.write(`\x1b[0m\r\n\x1b[2m[${text}]\x1b[0m\r\n`);
  }

  say(text) {
    this.bar.textContent = text;
    this.bar.hidden = !text;
  }

  showNewest() {
    const buffer = this.terminal.buffer.active;
    this.newest.hidden = buffer.viewportY >= buffer.baseY;
  }

  changed() {
    if ((this.element.dataset.url || "") !== this.url) this.follow();
  }

  // After sleep, or when the network is back: at once, not when the back-off says so.
  hurry() {
    if (this.waits || this.over || (this.socket && this.socket.readyState === WebSocket.CONNECTING)) return;
    this.attempt = 0;
    this.connect();
  }
}

function kilobytes(count) {
  return count < 1024 * 1024 ? `${Math.ceil(count / 1024)} KB` : `${(count / 1024 / 1024).toFixed(1)} MB`;
}

function find() {
  for (const element of document.querySelectorAll("[data-output]")) {
    if (screens.has(element)) screens.get(element).changed();
    else screens.set(element, new Screen(element));
  }
  for (const [element, screen] of screens) {
    if (element.isConnected) continue;
    clearTimeout(screen.timer);
    screen.drop();
    screen.terminal.dispose();
    screens.delete(element);
  }
}

// What a terminal does inside itself is no change of the page.
function changed(records) {
  if (records.some((record) => record.type === "attributes" || !record.target.closest("[data-output]"))) find();
}

function hurryAll() {
  for (const screen of screens.values()) screen.hurry();
}

let seen = Date.now();
function beat() {
  const slept = Date.now() - seen > ASLEEP_MS;
  seen = Date.now();
  if (slept) hurryAll();
}

new MutationObserver(changed).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-url"] });
recolour(() => screens.forEach((screen, element) => (screen.terminal.options.theme = colours(element))));
window.addEventListener("online", hurryAll);
document.addEventListener("visibilitychange", () => document.hidden || beat());
setInterval(beat, 2000);
find();
