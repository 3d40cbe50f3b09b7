// Before anything is painted: the theme that was chosen here, if one was. A script of its own
// and not a module, because modules run after the first paint.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("sketchd-theme");
  } catch {
    // Storage is turned off: the system's theme it is.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
