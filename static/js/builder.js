// The builder of workflows: steps are dragged, also into blocks and out of them. Every button works without this, too.
(() => {
  const lists = () => Array.from(document.querySelectorAll("#steps [data-steps]"));
  const inBlock = (list) => list.closest(".frame") !== null;

  // The server draws anew what is chosen and in order now; nothing of it is stored.
  const look = () => document.getElementById("look").click();

  function sortable(list) {
    if (Sortable.get(list)) return;
    const put = (to, from, item) => !(inBlock(to.el) && item.matches(".block"));
    // A step leaves its place only near the far edge of another, so that there is time to aim at the inside of a block.
    new Sortable(list, {
      group: { name: "steps", put }, handle: ".grip", draggable: "li", animation: 120, invertSwap: true,
      swapThreshold: 0.4, onEnd: look,
    });
  }

  const prepare = () => lists().forEach(sortable);

  document.addEventListener("change", (event) => event.target.matches('#steps select[name$="-persona"]') && look());
  document.addEventListener("htmx:afterSettle", prepare);
  prepare();
})();
