// Looks for servers every few seconds, but only while somebody looks at them.
const SECONDS = 4;

setInterval(() => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("[data-previews]")) if (element.clientHeight) htmx.trigger(element, "look");
}, SECONDS * 1000);
