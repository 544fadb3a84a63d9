// Runs before the first paint (see build/earlyScript.ts), so that a chosen theme appears without a flash of the other one.
(function () {
  try {
    const isEmbedded = location.pathname.startsWith("/embed/");
    const chosen = isEmbedded ? new URLSearchParams(location.search).get("theme") : localStorage.getItem("city.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden; then the system's theme applies.
  }
})();

// Preload the modules and texts of this page beside the entry, and not once it has run: on a slow network that saves a second.
(function () {
  const { parts, texts } = JSON.parse(document.currentScript.dataset.preloads);
  let chosen = null;
  try {
    chosen = localStorage.getItem("city.language");
  } catch {
    // Storage may be forbidden; then the browser's languages apply.
  }
  const languages = [chosen ?? "", ...navigator.languages].map((tag) => tag.slice(0, 2).toLowerCase());
  const files = new Set(texts[languages.find((language) => language in texts) ?? "en"]);
  for (const part of parts) {
    if (!new RegExp(part.path).test(location.pathname) || (part.media && !matchMedia(part.media).matches)) continue;
    for (const file of part.files) files.add(file);
  }
  for (const file of files) {
    const link = document.createElement("link");
    link.rel = "modulepreload";
    link.crossOrigin = "";
    link.href = `/${file}`;
    document.head.append(link);
  }
})();
