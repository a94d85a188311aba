// What every page does by itself: ticking times, keys, dialogs, forms that help. All of it works without, only less well.
(() => {
  const SKEW = Date.now() - Date.parse(document.body.dataset.now);
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  // The same words as the template filters in codecourier/templatetags/portal.py.
  function words(seconds, most = 2) {
    let left = Math.max(0, Math.floor(seconds));
    const parts = [];
    for (const [size, unit] of UNITS) {
      if (left >= size && parts.length < most) {
        parts.push(`${Math.floor(left / size)} ${unit}`);
        left %= size;
      } else if (parts.length) break;
    }
    return parts.join(" ") || "0 s";
  }

  const TICKS = {
    ago: (past) => `${words(past, 1)} ago`,
    since: (past) => words(past),
    until: (past) => words(-past),
  };

  function tick() {
    const now = Date.now() - SKEW;
    for (const time of all("time[data-tick]")) {
      const past = (now - Date.parse(time.dateTime)) / 1000;
      const make = TICKS[time.dataset.tick];
      const text = make ? make(past) : clock(time.dateTime);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  function clock(iso) {
    return new Date(iso).toLocaleTimeString("en-GB");
  }

  // Days of reports begin where the viewer is.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  document.cookie = `zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; SameSite=Lax${location.protocol === "https:" ? "; Secure" : ""}`;

  // Keys

  let waiting = 0;

  function typing(target) {
    return target.closest("input, textarea, select, [contenteditable], .xterm, dialog[open]");
  }

  function press(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return sendForm(event);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const going = Date.now() - waiting < 1500;
    waiting = event.key === "g" ? Date.now() : 0;
    if (going) follow(event, document.querySelector(`[data-go="${CSS.escape(event.key)}"]`));
    else if (event.key === "c") follow(event, document.querySelector("[data-create]"));
    else if (event.key === "/") focusOn(event, document.getElementById("search"));
    else if (event.key === "?") show("help");
    else follow(event, document.querySelector(`[data-key="${CSS.escape(event.key)}"]`));
  }

  function sendForm(event) {
    const form = event.target.closest("textarea, input") && event.target.form;
    if (!form) return;
    event.preventDefault();
    form.requestSubmit();
  }

  function follow(event, link) {
    if (!link) return;
    event.preventDefault();
    link.click();
  }

  function focusOn(event, field) {
    if (!field) return;
    event.preventDefault();
    field.focus();
    field.select();
  }

  // Dialogs: a question before what can't be undone

  function show(id) {
    const dialog = document.getElementById(id);
    if (!dialog.open) dialog.showModal();
  }

  function ask(text, go) {
    const dialog = document.getElementById("confirm");
    document.getElementById("confirm-text").textContent = text;
    dialog.returnValue = "";
    dialog.addEventListener("close", () => dialog.returnValue === "yes" && go(), { once: true });
    dialog.showModal();
  }

  function askBefore(event) {
    const button = event.target.closest("button[data-confirm]");
    if (!button || button.dataset.sure) return delete button?.dataset.sure;
    event.preventDefault();
    event.stopImmediatePropagation();
    ask(button.dataset.confirm, () => {
      button.dataset.sure = "yes";
      button.click();
    });
  }

  // Clicks on what has a data- attribute

  function click(event) {
    const on = (selector) => event.target.closest(selector);
    let found;
    if ((found = on("[data-open]"))) show(found.dataset.open);
    if ((found = on("[data-copy]"))) copy(found);
    if ((found = on("[data-tab]"))) openTab(event, found.dataset.tab);
    for (const menu of all("details.menu[open], details.switcher[open]")) if (!menu.contains(event.target)) menu.open = false;
  }

  async function copy(button) {
    const icon = button.querySelector(".ti");
    await navigator.clipboard.writeText(button.dataset.copy);
    icon.classList.replace("ti-copy", "ti-check");
    setTimeout(() => icon.classList.replace("ti-check", "ti-copy"), 1200);
  }

  function openTab(event, name) {
    event.preventDefault();
    for (const link of all("[data-tabs] [data-tab]")) {
      const chosen = link.dataset.tab === name;
      link.classList.toggle("active", chosen);
      chosen ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
      document.getElementById(`tab-${link.dataset.tab}`).hidden = !chosen;
    }
    const url = new URL(location.href);
    url.searchParams.set("tab", name);
    history.replaceState(null, "", url);
  }

  function switchTheme(event) {
    event.preventDefault();
    const chosen = event.submitter.value;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${chosen}; path=/; max-age=31536000; SameSite=Lax${secure}`;
    document.documentElement.dataset.theme = chosen;
    for (const button of all("[data-theme-switch] button")) button.classList.toggle("active", button.value === chosen);
  }

  // Forms

  function submit(event) {
    if (event.target.matches("[data-theme-switch]")) return switchTheme(event);
    if (!event.target.matches("[data-submit]")) return;
    // Sent once: the button waits for the answer. Back from the browser's cache it works again.
    setTimeout(() => all("button", event.target).forEach((button) => (button.disabled = true)));
  }

  function enableAll() {
    const stuck = all("[data-submit] button, [data-autosubmit] input, [data-autosubmit] select");
    for (const field of stuck) field.disabled = false;
  }

  // What was typed before the page's scripts ran, or kept by the browser over a reload, is seen by what shows it.
  function catchUp() {
    for (const part of all("[hx-include^='#']")) {
      const form = document.querySelector(part.getAttribute("hx-include"));
      const fields = all("input, textarea, select", form);
      if (fields.some(differs)) form.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }

  function differs(field) {
    if (field.matches("select")) return all("option", field).some((one) => one.selected !== one.defaultSelected);
    return field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  }

  function change(event) {
    const form = event.target.form;
    if (form?.matches("[data-autosubmit]") && !event.target.matches("[type=search]")) sendFilters(form);
    if (event.target.matches("[data-choose-all]")) {
      for (const box of all('input[form="bulk"]')) box.checked = event.target.checked;
    }
    if (event.target.matches("[data-paths]")) tellPaths(event.target);
    countChosen();
  }

  // A browser sends the files of a folder without their folders, so those are told beside them.
  function tellPaths(input) {
    const files = Array.from(input.files);
    const size = files.reduce((sum, file) => sum + file.size, 0);
    const { paths, mostFiles, mostBytes } = input.dataset;
    const large = files.length > mostFiles || size > mostBytes;
    input.setCustomValidity(large ? `At most ${mostFiles} files and ${mostBytes / 2 ** 20} MB fit into a skill.` : "");
    input.form.elements[paths].value = JSON.stringify(files.map((file) => file.webkitRelativePath || file.name));
  }

  // An address without empty fields is one that people can read and send on.
  function sendFilters(form) {
    for (const field of all("input, select", form)) if (!field.value) field.disabled = true;
    form.requestSubmit();
  }

  function countChosen() {
    const bar = document.querySelector("[data-bulk]");
    if (!bar) return;
    const chosen = all('input[form="bulk"]:checked').length;
    bar.classList.toggle("open", chosen > 0);
    bar.querySelector(".bulk-count").textContent = chosen ? `${chosen} chosen` : "";
  }

  function sent(event) {
    const form = event.target.closest("form");
    if (!form || event.detail.xhr.status !== 200) return;
    if (form.matches("[data-reset]")) form.reset();
    if (form.matches("[data-close]")) form.closest("details").open = false;
  }

  function failed() {
    const place = document.getElementById("messages");
    const note = document.createElement("div");
    note.className = "alert alert-danger";
    note.setAttribute("role", "alert");
    note.textContent = "That did not reach the portal. Check the connection, then try again.";
    place.replaceChildren(note);
  }

  document.addEventListener("keydown", press);
  document.addEventListener("click", askBefore, true);
  document.addEventListener("click", click);
  document.addEventListener("submit", submit);
  document.addEventListener("change", change);
  document.addEventListener("htmx:afterRequest", sent);
  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("htmx:wsAfterMessage", () => (tick(), countChosen()));
  window.addEventListener("pageshow", enableAll);
  window.addEventListener("pageshow", catchUp);
  setInterval(tick, 1000);
  tick();
  countChosen();
})();
