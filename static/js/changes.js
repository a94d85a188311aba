// The changes tab: asked for again when more work is saved, and the tree leads to files without a new page.
const panel = document.getElementById("changes");

const head = () => document.getElementById("work")?.dataset.head || "";
let shown = head();

// Only the usual view, of everything up to the newest, follows; whoever chose two states keeps them.
function follow() {
  if (head() === shown) return;
  shown = head();
  const chosen = panel.querySelector("#changes-to");
  if (panel.offsetParent === null || (chosen && chosen.value !== "")) return;
  const form = panel.querySelector("form");
  const query = form ? `?${new URLSearchParams(new FormData(form))}` : "";
  const open = new Map(Array.from(panel.querySelectorAll(".change"), (file) => [file.id, file.open]));
  const top = document.getElementById("tab-changes").scrollTop;
  htmx.ajax("GET", `${panel.dataset.changes}${query}`, { target: panel, swap: "innerHTML" }).then(() => {
    for (const [id, state] of open) {
      const file = document.getElementById(id);
      if (file) file.open = state;
    }
    document.getElementById("tab-changes").scrollTop = top;
  });
}

// What somebody says of a line leads to it, wherever on the page it is said.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-note]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  document.querySelector('[data-tabs] [data-tab="changes"]')?.click();
  htmx.ajax("GET", link.href.split("#")[0], { target: panel, swap: "innerHTML" }).then(() => {
    const note = document.getElementById(link.dataset.note);
    note?.scrollIntoView({ block: "center" });
    note?.focus({ preventScroll: true });
  });
});

panel.addEventListener("click", (event) => {
  const link = event.target.closest("[data-file]");
  const file = link && document.getElementById(`file-${link.dataset.file}`);
  if (!link) return;
  event.preventDefault();
  if (file) {
    file.open = true;
    file.scrollIntoView({ block: "start" });
  } else {
    htmx.ajax("GET", link.href.split("#")[0], { target: panel, swap: "innerHTML" }).then(() => document.getElementById(`file-${link.dataset.file}`)?.scrollIntoView());
  }
});

new MutationObserver(follow).observe(document.getElementById("work").parentElement, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-head"] });
