// Writing to the agent: files by choosing, dropping and pasting; the queue by dragging. All of it works without, as forms.
const form = document.getElementById("composer");
const field = document.getElementById("files");
const chosen = document.getElementById("chosen-files");

function add(files) {
  const all = new DataTransfer();
  for (const file of [...field.files, ...files]) all.items.add(file);
  field.files = all.files;
  show();
}

function leaveOut(index) {
  const rest = new DataTransfer();
  [...field.files].forEach((file, at) => at === index || rest.items.add(file));
  field.files = rest.files;
  show();
}

function show() {
  const fault = tooMuch([...field.files]);
  field.setCustomValidity(fault);
  chosen.replaceChildren(...[...field.files].map(chip));
  if (!fault) return;
  const said = document.createElement("div");
  said.className = "field-error";
  said.setAttribute("role", "alert");
  said.textContent = fault;
  chosen.append(said);
}

// What the portal would refuse is said before it is sent there; it looks for itself all the same.
function tooMuch(files) {
  const limit = Number(field.dataset.file);
  const large = files.find((file) => file.size > limit);
  if (large) return `${large.name} has ${megabytes(large.size)}; a file may have ${megabytes(limit)}. Leave it out or make it smaller.`;
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const most = Number(field.dataset.message);
  return total > most ? `The files have ${megabytes(total)} together; a message may have ${megabytes(most)}.` : "";
}

function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(bytes % 2 ** 20 ? 1 : 0)} MB`;
}

function chip(file, index) {
  const made = document.createElement("span");
  made.className = "chip";
  made.append(file.name, " ", size(file.size));
  const button = document.createElement("button");
  button.type = "button";
  button.className = "btn-close";
  button.setAttribute("aria-label", `Leave out ${file.name}`);
  button.addEventListener("click", () => leaveOut(index));
  made.append(button);
  return made;
}

function size(bytes) {
  const made = document.createElement("span");
  made.className = "text-secondary";
  made.textContent = bytes < 2 ** 20 ? `${Math.ceil(bytes / 1024)} KB` : megabytes(bytes);
  return made;
}

function pasted(event) {
  if (!event.clipboardData.files.length) return;
  event.preventDefault();
  add(event.clipboardData.files);
}

function dragged(event) {
  const files = event.dataTransfer.types.includes("Files");
  if (files) event.preventDefault();
  form.classList.toggle("dropping", files && event.type === "dragover");
}

function dropped(event) {
  dragged(event);
  if (event.dataTransfer.files.length) add(event.dataTransfer.files);
}

// Model and effort were chosen for the next messages too, not only for the one that was just sent.
function keepChoices() {
  for (const input of form.querySelectorAll("#model")) input.defaultValue = input.value;
  for (const option of form.querySelectorAll("#effort option")) option.defaultSelected = option.selected;
  queueMicrotask(() => setTimeout(show));
}

// The queue's items come and go while the page is open; the element that holds them stays.
function sortable(queue) {
  new Sortable(queue, { handle: ".queue-grip", animation: 120, onEnd: moved });
}

function moved(event) {
  // What came meanwhile was not shown, so that it did not take the item away.
  if (event.oldIndex === event.newIndex) return document.dispatchEvent(new Event("courier:stale"));
  const values = { place: event.newIndex };
  htmx.ajax("POST", event.item.dataset.place, { source: event.item, swap: "none", values });
}

if (form) {
  field.addEventListener("change", show);
  form.addEventListener("reset", keepChoices);
  form.addEventListener("paste", pasted);
  form.addEventListener("dragover", dragged);
  form.addEventListener("dragleave", dragged);
  form.addEventListener("drop", dropped);
  const queue = document.getElementById("queued");
  if (queue) sortable(queue);
}
