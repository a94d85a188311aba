// Shells in the sandbox's machine, each in a tab: bytes both ways over a socket of its own, and found again after a reload.
import { colours, look, open, recolour, tame } from "./screen.js";

const { Terminal, FitAddon, WebLinksAddon } = globalThis;

const ANONYMOUS = 4401;
const GONE = 4404;
const ASLEEP = 4410;
const ENDED = 4411;
const MACHINE_GONE = 4412;
const FLOOD = 1009;
const ENTER = 13;
const PIECE = 32 * 1024;
const WINDOW = 512 * 1024;
const LOOPBACK = ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"];

class Shell {
  constructor(bench, handle) {
    this.bench = bench;
    this.handle = handle;
    this.panel = bench.template.content.firstElementChild.cloneNode(true);
    this.bar = this.panel.querySelector(".output-bar");
    this.attempt = 0;
    this.last = "";
    this.waiting = [];
    this.encoder = new TextEncoder();
    bench.element.append(this.panel);
    this.show();
    this.connect(false);
  }

  show() {
    this.terminal = new Terminal({
      ...look(this.panel), theme: this.theme(), cursorBlink: true, scrollback: 5000, macOptionIsMeta: true,
      linkHandler: { activate: (event, address) => this.follow(event, address), hover: (event, address) => (this.panel.title = address), leave: () => (this.panel.title = "") },
    });
    this.fit = new FitAddon.FitAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.loadAddon(new WebLinksAddon.WebLinksAddon((event, address) => this.follow(event, address)));
    tame(this.terminal, { links: true });
    this.terminal.attachCustomKeyEventHandler((event) => this.key(event));
    this.terminal.open(this.panel);
    this.terminal.onData((text) => this.type(this.encoder.encode(text)));
    this.terminal.onBinary((text) => this.type(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
    this.terminal.onResize(({ cols, rows }) => this.tell({ size: [cols, rows] }));
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.panel);
    this.resize();
  }

  theme() {
    const theme = colours(this.panel);
    return { ...theme, cursor: theme.foreground, cursorAccent: theme.background };
  }

  resize() {
    if (this.panel.clientHeight) this.fit.fit();
  }

  // What listens in the machine is not on this computer: such an address opens as a preview.
  follow(event, address) {
    const url = URL.canParse(address) ? new URL(address) : null;
    if (!url || !LOOPBACK.includes(url.hostname) || !url.port) return open(event, address);
    const to = encodeURIComponent(url.pathname + url.search);
    open(event, new URL(`${this.bench.element.dataset.previews}${url.port}/?to=${to}`, location.href).href);
  }

  // Ctrl-C is the shell's; with Shift, or with Insert, it copies. Ctrl-Shift-V and the menu paste by themselves.
  key(event) {
    if (event.type !== "keydown" || !event.ctrlKey || !this.terminal.hasSelection()) return true;
    if (!(event.code === "KeyC" && event.shiftKey) && event.code !== "Insert") return true;
    event.preventDefault();
    navigator.clipboard.writeText(this.terminal.getSelection());
    return false;
  }

  connect(wake) {
    clearTimeout(this.timer);
    this.drop();
    this.waiting = [];
    const query = new URLSearchParams({ columns: this.terminal.cols, rows: this.terminal.rows });
    if (this.handle) query.set("shell", this.handle);
    if (wake) query.set("wake", "1");
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${this.bench.element.dataset.url}?${query}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.take(socket, event.data);
    socket.onclose = (event) => this.closed(event.code);
    Object.assign(this, { socket, ready: false, asleep: false, ended: false, printed: 0, shown: 0, replay: 0, typed: 0, took: 0 });
  }

  drop() {
    if (!this.socket) return;
    this.socket.onclose = this.socket.onmessage = null;
    this.socket.close();
    this.socket = null;
  }

  closed(code) {
    this.socket = null;
    this.ready = false;
    if (code === ANONYMOUS) return location.reload();
    if (code === GONE) return this.say("This sandbox isn't there for you any more.");
    if (code === FLOOD) this.say("That was too much at once. Press a key to go on.");
    if (code === ASLEEP || code === FLOOD) return (this.asleep = true);
    if (code === ENDED || code === MACHINE_GONE) return this.end(code);
    this.say(`${this.last || "Connection lost."} Trying again…`);
    const longest = Math.min(15000, 250 * 2 ** this.attempt++);
    this.timer = setTimeout(() => this.connect(false), longest * (0.5 + Math.random() / 2));
  }

  end(code) {
    this.ended = true;
    this.final = code === MACHINE_GONE;
    this.handle = "";
    this.bench.keep();
    this.say(`${this.last} ${this.final ? "" : "Press Enter for a new one."}`);
  }

  take(socket, data) {
    if (typeof data === "string") return this.told(JSON.parse(data));
    this.printed += data.byteLength;
    const upto = this.printed;
    this.terminal.write(new Uint8Array(data), () => {
      this.shown = upto;
      if (socket === this.socket) this.tell({ ack: upto });
    });
  }

  told(message) {
    if (message.say) this.say(message.say);
    if (message.over) this.say((this.last = message.over));
    if (message.took) this.took = message.took;
    if (message.shell) this.begin(message);
    this.flush();
  }

  begin({ shell, replay }) {
    Object.assign(this, { handle: shell, replay, ready: true, attempt: 0, last: "" });
    this.terminal.reset();
    this.say("");
    this.tell({ size: [this.terminal.cols, this.terminal.rows] });
    this.bench.keep();
  }

  tell(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  type(bytes) {
    if (this.asleep) return this.connect(true);
    if (this.ended) return bytes[0] === ENTER && !this.final && this.connect(true);
    // What is shown again may ask the terminal things that it answered the first time.
    if (!this.ready || this.shown < this.replay) return;
    for (let at = 0; at < bytes.length; at += PIECE) this.waiting.push(bytes.subarray(at, at + PIECE));
    this.flush();
  }

  // A long paste goes as fast as the shell reads it.
  flush() {
    while (this.ready && this.waiting.length && this.typed - this.took < WINDOW) {
      const bytes = this.waiting.shift();
      this.typed += bytes.length;
      this.socket.send(bytes);
    }
  }

  say(text) {
    this.bar.textContent = text;
    this.bar.hidden = !text;
  }

  close() {
    this.tell({ end: true });
    clearTimeout(this.timer);
    this.watcher.disconnect();
    // The socket goes once the shell has ended, so that the word of it is not lost.
    if (this.socket) this.socket.onclose = this.socket.onmessage = null;
    this.terminal.dispose();
    this.panel.remove();
  }
}

class Bench {
  constructor(element) {
    this.element = element;
    this.template = element.querySelector("template");
    this.tabs = element.querySelector(".terminal-tabs");
    this.shells = [];
    this.key = `terminals-${element.dataset.terminals}`;
    element.querySelector("[data-new]").addEventListener("click", () => this.add(""));
    // Nothing is opened before somebody looks.
    this.watcher = new ResizeObserver(() => element.clientHeight && this.begin());
    this.watcher.observe(element);
  }

  begin() {
    this.watcher.disconnect();
    const handles = JSON.parse(sessionStorage.getItem(this.key) || "[]");
    for (const handle of handles.length ? handles : [""]) this.add(handle);
  }

  add(handle) {
    const shell = new Shell(this, handle);
    shell.number = Math.max(0, ...this.shells.map((other) => other.number)) + 1;
    this.shells.push(shell);
    this.choose(shell);
  }

  remove(shell) {
    shell.close();
    this.shells = this.shells.filter((other) => other !== shell);
    this.keep();
    this.choose(shell === this.chosen ? this.shells.at(-1) : this.chosen);
  }

  choose(shell) {
    this.chosen = shell;
    for (const other of this.shells) other.panel.hidden = other !== shell;
    this.tabs.replaceChildren(...this.shells.map((other) => this.tab(other)));
    shell?.resize();
    shell?.terminal.focus();
  }

  tab(shell) {
    const chosen = shell === this.chosen;
    const group = make("span", `terminal-tab${chosen ? " active" : ""}`);
    const tab = make("button", `nav-link${chosen ? " active" : ""}`, `Terminal ${shell.number}`);
    tab.setAttribute("aria-pressed", chosen);
    tab.addEventListener("click", () => this.choose(shell));
    const close = make("button", "btn-close btn-sm");
    close.setAttribute("aria-label", `Close terminal ${shell.number}`);
    close.title = "Ends what runs in it";
    close.addEventListener("click", () => this.remove(shell));
    group.append(tab, close);
    return group;
  }

  keep() {
    sessionStorage.setItem(this.key, JSON.stringify(this.shells.map((shell) => shell.handle).filter(Boolean)));
  }
}

function make(tag, classes, text = "") {
  const made = document.createElement(tag);
  made.className = classes;
  made.textContent = text;
  if (tag === "button") made.type = "button";
  return made;
}

const benches = Array.from(document.querySelectorAll("[data-terminals]"), (element) => new Bench(element));
const shells = () => benches.flatMap((bench) => bench.shells);
recolour(() => shells().forEach((shell) => (shell.terminal.options.theme = shell.theme())));
window.addEventListener("online", () => shells().forEach((shell) => !shell.socket && !shell.asleep && !shell.ended && shell.connect(false)));
