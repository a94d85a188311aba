// The page of one run: it shows the step at work, until somebody looks closer at one; then it stays at that.
const pane = document.getElementById("conversation");
const panel = document.getElementById("panel");
const step = () => document.getElementById("step");
let wrapper = null;

const stays = () => new URL(location.href).searchParams.get("step_run");

// The step moved on: the conversation, or the output of a script, is another one's.
function follow() {
  const { conversation = "", older = "" } = step().dataset;
  pane.hidden = "script" in step().dataset;
  if (pane.dataset.conversation === conversation) return;
  pane.dataset.older = older;
  pane.dataset.conversation = conversation;
}

function tell() {
  if (wrapper && stays()) wrapper.send(JSON.stringify({ step_run: Number(stays()) }));
}

function stay() {
  if (stays() || !step().dataset.step) return;
  const url = new URL(location.href);
  url.searchParams.set("step_run", step().dataset.step);
  history.replaceState(null, "", url);
  tell();
}

// A long pipeline begins where the step that is shown is.
function find() {
  const line = document.querySelector(".pipeline");
  const card = line.querySelector(".is-shown");
  if (!card) return;
  const [outer, inner] = [line.getBoundingClientRect(), card.getBoundingClientRect()];
  line.scrollLeft += Math.max(0, inner.right - outer.right + 16);
  line.scrollTop += Math.max(0, inner.bottom - outer.bottom + 16);
}

find();
panel.addEventListener("click", stay);
panel.addEventListener("selectstart", stay);
pane.addEventListener("touchmove", stay, { passive: true });
pane.addEventListener("wheel", (event) => event.deltaY < 0 && stay(), { passive: true });
document.addEventListener("htmx:wsAfterMessage", follow);
document.addEventListener("htmx:wsOpen", (event) => {
  wrapper = event.detail.socketWrapper;
  tell();
});
