// Runs before the first paint: "system" becomes light or dark, and stays so while the system changes.
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  root.classList.add("js");

  const apply = () => {
    const chosen = root.dataset.theme;
    const system = dark.matches ? "dark" : "light";
    root.setAttribute("data-bs-theme", chosen === "system" ? system : chosen);
  };

  dark.addEventListener("change", apply);
  new MutationObserver(apply).observe(root, { attributeFilter: ["data-theme"] });
  apply();
})();
