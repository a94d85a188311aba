// Uploads: slices of each file, one after the other, with progress; chosen by the button or dropped on the folder.
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

class Upload {
  constructor(form, file) {
    Object.assign(this, { form, file, mark: crypto.randomUUID().replaceAll("-", ""), stopped: false });
    this.line = document.createElement("li");
    this.name = this.part("span", file.name);
    this.progress = this.part("progress");
    this.progress.max = Math.max(1, file.size);
    this.progress.value = 0;
    this.said = this.part("span", "", "text-secondary small");
    this.button = this.part("button", "Cancel", "btn btn-sm btn-ghost-secondary");
    this.button.type = "button";
    this.button.addEventListener("click", () => this.stop());
    form.parentElement.querySelector(".upload-list").append(this.line);
  }

  part(tag, text = "", classes = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    made.className = classes;
    this.line.append(made);
    return made;
  }

  stop() {
    this.stopped = true;
    this.line.remove();
  }

  async run(replace = false) {
    if (this.file.size > Number(this.form.dataset.most)) return this.fail("This file is larger than an upload may be.");
    const size = Number(this.form.dataset.slice);
    let offset = 0;
    do {
      const end = Math.min(offset + size, this.file.size);
      const answer = await this.send(offset, end, replace);
      if (this.stopped) return false;
      if (answer.status === 200) return this.ask();
      if (answer.status !== 204) return this.fail(await this.reason(answer));
      this.progress.value = offset = end;
    } while (offset < this.file.size);
    this.said.textContent = "Done";
    this.progress.value = this.progress.max;
    this.button.remove();
    return true;
  }

  async send(offset, end, replace) {
    const url = new URL(this.form.action);
    const words = { name: this.file.name, upload: this.mark, offset, ...(end === this.file.size && { last: 1 }), ...(replace && { replace: 1 }) };
    for (const [name, value] of Object.entries(words)) url.searchParams.set(name, value);
    const headers = { "X-CSRFToken": this.form.elements.csrfmiddlewaretoken.value, "Content-Type": "application/octet-stream" };
    try {
      return await fetch(url, { method: "POST", headers, body: this.file.slice(offset, end) });
    } catch {
      return new Response("It did not arrive: the connection was lost, or this is a folder. Try again; pack a folder first.", { status: 599 });
    }
  }

  async reason(answer) {
    const plain = answer.status === 599 || (answer.headers.get("content-type") || "").startsWith("text/plain");
    return plain ? answer.text() : `The portal answered ${answer.status}. Reload the page and try again.`;
  }

  ask() {
    this.said.textContent = "There is a file of this name already.";
    const button = this.part("button", "Replace", "btn btn-sm");
    button.type = "button";
    button.addEventListener("click", () => (button.remove(), this.run(true).then((done) => done && refresh(this.form.dataset.folder))));
    return false;
  }

  fail(text) {
    this.said.textContent = text;
    this.said.className = "text-danger small";
    this.button.textContent = "Dismiss";
    return false;
  }
}

async function bring(form, files) {
  let done = 0;
  for (const upload of Array.from(files, (file) => new Upload(form, file))) done += await upload.run();
  if (done) refresh(form.dataset.folder);
}

// The folder is drawn anew; what is still said of uploads stays.
async function refresh(folder) {
  for (const branch of all("[data-branch]")) if (branch.dataset.branch === folder) htmx.trigger(branch, "files-changed");
  const form = document.querySelector("[data-upload]");
  if (!form || form.dataset.folder !== folder) return;
  const left = all(".upload-list > li");
  await htmx.ajax("GET", `${document.querySelector("[data-files]").dataset.files}?path=${encodeURIComponent(folder)}`, "#files-view");
  document.querySelector(".upload-list")?.append(...left);
}

function dropped(event) {
  const form = event.target.closest(".files-view")?.querySelector("[data-upload]");
  if (!form || !event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  form.classList.toggle("over", event.type === "dragover");
  if (event.type === "drop") bring(form, event.dataTransfer.files);
}

for (const type of ["dragover", "dragleave", "drop"]) document.addEventListener(type, dropped);
document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-upload]");
  if (!form) return;
  bring(form, Array.from(event.target.files));
  event.target.value = "";
});
// A folder that was changed is also changed in the tree.
document.addEventListener("htmx:afterSwap", (event) => {
  const { target, requestConfig } = event.detail;
  if (target?.id !== "files-view" || requestConfig?.verb !== "post") return;
  const folder = document.querySelector("[data-upload]")?.dataset.folder;
  for (const branch of all("[data-branch]")) if (branch.dataset.branch === folder) htmx.trigger(branch, "files-changed");
});
