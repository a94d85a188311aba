// Cards by hand: dragged to a column, a priority or a place, or moved with Alt and an arrow key. Each move is a post whose
// answer brings the page up to date; what is refused comes back to where it was, with the reason.
const Sortable = window.Sortable;
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
const ARROWS = { ArrowUp: "up", ArrowDown: "down" };

function send(card, values) {
  const query = location.search;
  return window.htmx.ajax("POST", card.dataset.place + query, { source: card, values, swap: "none" });
}

function neighbour(card, side) {
  const near = side === "before" ? card.previousElementSibling : card.nextElementSibling;
  return near?.dataset.issue ?? "";
}

function dropped(event) {
  const { item, from, to, oldIndex, newIndex } = event;
  if (from === to && oldIndex === newIndex) return;
  const values = { to: to.dataset.drop, before: neighbour(item, "before"), after: neighbour(item, "after") };
  // In a column that is ordered by time there is no place to choose.
  if ("fixed" in to.dataset) values.before = values.after = "";
  send(item, values);
}

function sortable(list) {
  if (Sortable.get(list)) return;
  const draggable = "[data-issue]";
  const handle = list.tagName === "TBODY" ? "[data-grip]" : undefined;
  Sortable.create(list, { group: "cards", draggable, handle, filter: "a, button, input, summary, form", preventOnFilter: false, delay: 150, delayOnTouchOnly: true, animation: 120, onEnd: dropped });
}

function orderable(list) {
  if (!Sortable.get(list)) Sortable.create(list, { handle: "[data-grip]", animation: 120 });
}

function prepare() {
  all("[data-drop]").forEach(sortable);
  all("[data-order]").forEach(orderable);
}

// Focus stays on the card: its element is the same one after the page was brought up to date, or has the same id.
async function press(event) {
  const card = event.target.closest?.("li[data-issue]");
  if (!card || event.target !== card || !event.altKey) return;
  const columns = all("[data-drop]");
  const place = columns.indexOf(card.closest("[data-drop]"));
  const beside = { ArrowLeft: columns[place - 1], ArrowRight: columns[place + 1] }[event.key];
  if (!ARROWS[event.key] && !beside) return;
  event.preventDefault();
  await send(card, beside ? { to: beside.dataset.drop } : { step: ARROWS[event.key] });
  document.getElementById(card.id)?.focus();
}

document.addEventListener("keydown", press);
document.addEventListener("htmx:wsAfterMessage", prepare);
document.addEventListener("htmx:afterSettle", prepare);
prepare();
