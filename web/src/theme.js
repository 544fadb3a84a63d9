// Runs before the first paint (see build/earlyScript.ts): whoever chose light or dark sees no flash of the other one.
(function () {
  try {
    const isEmbedded = location.pathname.startsWith("/embed/");
    const chosen = isEmbedded ? new URLSearchParams(location.search).get("theme") : localStorage.getItem("city.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage can be forbidden; then the system's choice holds.
  }
})();
