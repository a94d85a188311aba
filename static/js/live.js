// The page's one socket: reconnects for as long as the page is open, says when it is lost, and keeps what people are doing.
(() => {
  const ANONYMOUS = 4401;
  const GONE = 4404;
  const ASLEEP_MS = 10000;
  const bar = document.getElementById("connection");
  let socket = null;
  let wrapper = null;
  let seen = Date.now();
  let timer = 0;

  htmx.config.wsReconnectDelay = (count) => 200 + Math.random() * Math.min(10000, 500 * 2 ** Math.min(count, 6));
  htmx.createWebSocket = (url) => (socket = new WebSocket(url));

  function tell(text) {
    bar.hidden = !text;
    if (text) bar.textContent = text;
  }

  function opened(event) {
    wrapper = event.detail.socketWrapper;
    tell("");
  }

  function closed(event) {
    const close = event.detail.event;
    if (close.target !== socket) return;
    if (close.code === ANONYMOUS) return location.reload();
    if (close.code === GONE) return tell("This page isn't there for you any more. What you see is how it was.");
    tell("Connection lost. What you see may be old; trying again…");
    // The extension comes back by itself after 1006, 1011, 1012 and 1013, and after no other code.
    if (![1006, 1011, 1012, 1013].includes(close.code)) timer = setTimeout(reconnect, 500 + Math.random() * 1500);
  }

  // After a laptop's sleep a socket may look open and be dead: a new one re-renders everything.
  function reconnect() {
    clearTimeout(timer);
    if (!wrapper || !socket || socket.readyState === WebSocket.CONNECTING) return;
    socket.onclose = null;
    socket.close();
    wrapper.reconnect();
  }

  function beat() {
    const slept = Date.now() - seen > ASLEEP_MS;
    seen = Date.now();
    if (slept) reconnect();
  }

  // Morphing leaves alone what people hold: ticked rows, open folds, text that is being written, what is being dragged,
  // the terminal's inside.
  const inTerminal = (node) => node.parentElement?.closest("[data-output]");
  Object.assign(Idiomorph.defaults, { ignoreActiveValue: true });
  Object.assign(Idiomorph.defaults.callbacks, {
    beforeNodeMorphed: (node) => !node.querySelector?.(":scope > .sortable-chosen"),
    beforeNodeRemoved: (node) => !inTerminal(node),
    beforeAttributeUpdated(name, node) {
      if (name === "open" && node.matches("details")) return false;
      if (name === "checked") return false;
      if (name === "value" && ["text", "textarea"].includes(node.type) && node.value !== node.defaultValue) return false;
      return !(node.matches("[data-output]") && !name.startsWith("data-"));
    },
  });

  document.addEventListener("htmx:wsOpen", opened);
  document.addEventListener("htmx:wsAfterMessage", () => (document.documentElement.dataset.live = "yes"));
  document.addEventListener("htmx:wsClose", closed);
  document.addEventListener("courier:stale", reconnect);
  window.addEventListener("online", reconnect);
  document.addEventListener("visibilitychange", () => document.hidden || beat());
  setInterval(beat, 2000);
})();
