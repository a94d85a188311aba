// The conversation: follows its socket from where this page is, comes back after every loss, loads what is older on the
// way up. Parts have ids: one that is here is brought up to date, any other goes into the part that it names.
const ASLEEP_MS = 10000;
const NEAR_PX = 60;
const ANONYMOUS = 4401;
const GONE = 4404;
const pane = document.getElementById("conversation");

class Conversation {
  constructor() {
    this.turns = document.getElementById("turns");
    this.newest = document.getElementById("newest");
    this.after = pane.dataset.after || "";
    this.attempt = 0;
    this.stuck = true;
    this.top = 0;
    this.begun = false;
    this.above = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && this.earlier(), { root: pane, rootMargin: "300px 0px 0px" });
    pane.addEventListener("scroll", () => this.scrolled(), { passive: true });
    pane.addEventListener("toggle", (event) => this.toggled(event.target), true);
    pane.addEventListener("click", (event) => this.clicked(event));
    this.newest.addEventListener("click", () => this.toNewest());
    new ResizeObserver(() => this.shown()).observe(pane);
    new ResizeObserver(() => this.hold()).observe(this.turns);
  }

  // Hidden panes have no height and forget where they were scrolled to.
  shown() {
    if (!pane.clientHeight) return;
    if (!this.begun) this.begin();
    if (this.stuck) this.toNewest();
    else pane.scrollTop = this.top;
  }

  begin() {
    this.begun = true;
    const linked = location.hash.startsWith("#talk-") && document.getElementById(location.hash.slice(1));
    if (linked) {
      this.stuck = false;
      linked.scrollIntoView();
      this.top = pane.scrollTop;
    }
    this.watchTop();
    this.connect();
  }

  scrolled() {
    if (!pane.clientHeight) return;
    this.top = pane.scrollTop;
    this.stuck = pane.scrollHeight - pane.scrollTop - pane.clientHeight < NEAR_PX;
    this.newest.hidden = this.stuck;
  }

  toNewest() {
    this.stuck = true;
    pane.scrollTop = pane.scrollHeight;
    this.newest.hidden = true;
  }

  hold() {
    if (this.stuck && !selected(pane)) pane.scrollTop = pane.scrollHeight;
    else this.newest.hidden = pane.scrollHeight - pane.scrollTop - pane.clientHeight < NEAR_PX;
  }

  // --- the socket ---

  connect() {
    clearTimeout(this.timer);
    this.drop();
    this.url = pane.dataset.conversation;
    if (!this.url) return;
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${this.url}?after=${this.after}`);
    socket.onopen = () => (pane.dataset.live = "yes");
    socket.onmessage = (event) => this.take(socket, JSON.parse(event.data));
    socket.onclose = (event) => this.closed(event.code);
    this.socket = socket;
  }

  // The page shows another sandbox's: begin anew.
  changed() {
    if (pane.dataset.conversation === this.url || !this.begun) return;
    this.turns.replaceChildren();
    this.after = "";
    this.attempt = 0;
    this.stuck = true;
    this.connect();
  }

  drop() {
    if (!this.socket) return;
    this.socket.onclose = this.socket.onmessage = null;
    this.socket.close();
    this.socket = null;
  }

  closed(code) {
    delete pane.dataset.live;
    if (code === ANONYMOUS) return location.reload();
    if (code === GONE) return;
    const longest = Math.min(15000, 250 * 2 ** this.attempt++);
    this.timer = setTimeout(() => this.connect(), longest * (0.5 + Math.random() / 2));
  }

  // After a laptop's sleep a socket may look open and be dead.
  hurry() {
    if (!this.begun || (this.socket && this.socket.readyState === WebSocket.CONNECTING)) return;
    this.attempt = 0;
    this.connect();
  }

  take(socket, message) {
    this.attempt = 0;
    const parts = parsed(message.html);
    if (message.anew) this.replace(parts);
    else for (const part of [...parts.children]) this.put(part);
    this.after = message.after;
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ done: true }));
  }

  replace(parts) {
    for (const part of parts.querySelectorAll(".call")) keepInside(document.getElementById(part.id), part);
    Idiomorph.morph(this.turns, parts, { morphStyle: "innerHTML" });
    this.watchTop();
  }

  put(part) {
    const found = document.getElementById(part.id);
    if (!found) return document.getElementById(part.dataset.into)?.append(part);
    // What somebody is copying out of a text that streams stays until the text is complete.
    if (part.matches(".draft") && part.childElementCount && selected(found)) return;
    const inside = keepInside(found, part);
    Idiomorph.morph(found, part, { morphStyle: "outerHTML" });
    if (inside) this.inside(document.getElementById(part.id));
  }

  // --- what is older ---

  watchTop() {
    this.above.disconnect();
    const link = this.turns.querySelector(":scope > .older");
    if (link) this.above.observe(link);
  }

  async earlier() {
    const link = this.turns.querySelector(":scope > .older");
    if (!link || this.loading) return;
    this.loading = true;
    try {
      const parts = await fetched(`${pane.dataset.older}?before=${link.dataset.before}`);
      const below = pane.scrollHeight - pane.scrollTop;
      link.remove();
      this.before(parts);
      pane.scrollTop = pane.scrollHeight - below;
    } catch {
      // The link stays: a click tries again.
    } finally {
      this.loading = false;
    }
    this.watchTop();
  }

  before(parts) {
    for (const talk of parts.querySelectorAll(".talk")) {
      const here = document.getElementById(talk.id);
      if (!here) continue;
      const events = [...talk.querySelector(".events").children].filter((event) => !document.getElementById(event.id));
      here.querySelector(".events").prepend(...events);
      talk.remove();
    }
    this.turns.prepend(parts);
  }

  // --- what is inside ---

  toggled(call) {
    if (call.matches(".call") && call.open && !("loaded" in call.dataset)) this.inside(call);
  }

  async inside(call) {
    try {
      const parts = await fetched(`${call.dataset.inside}?inside`);
      call.querySelector("[data-body]").replaceChildren(parts);
      call.dataset.loaded = "";
    } catch {
      // The link in it stays and leads to the same.
    }
  }

  clicked(event) {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (link.matches(".older")) {
      event.preventDefault();
      this.earlier();
    } else if (link.matches("[data-all]")) {
      event.preventDefault();
      this.all(link);
    }
  }

  async all(link) {
    const body = link.closest("[data-body]") || link.parentElement.querySelector("[data-body]");
    try {
      body.replaceChildren(await fetched(`${link.pathname}?inside&all`));
      link.remove();
    } catch {
      location.assign(link.href);
    }
  }
}

function parsed(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  return made.content;
}

async function fetched(url) {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
  return parsed(await answer.text());
}

function selected(element) {
  const selection = getSelection();
  return !selection.isCollapsed && element.contains(selection.anchorNode);
}

// An opened call keeps what it shows; true when that has to be read anew.
function keepInside(here, part) {
  if (!here?.matches(".call") || !("loaded" in here.dataset)) return false;
  part.querySelector("[data-body]").innerHTML = here.querySelector("[data-body]").innerHTML;
  part.dataset.loaded = "";
  return here.dataset.state !== part.dataset.state;
}

if (pane) {
  const conversation = new Conversation();
  let seen = Date.now();
  const beat = () => {
    const slept = Date.now() - seen > ASLEEP_MS;
    seen = Date.now();
    if (slept) conversation.hurry();
  };
  new MutationObserver(() => conversation.changed()).observe(pane, { attributeFilter: ["data-conversation"] });
  window.addEventListener("online", () => conversation.hurry());
  document.addEventListener("visibilitychange", () => document.hidden || beat());
  setInterval(beat, 2000);
}
