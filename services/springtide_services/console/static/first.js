// Sets the theme before anything is drawn, so that a dark page does not flash white. `parts/theme.js` has the rest.

(() => {
  const chosen = localStorage.getItem("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = chosen ?? (dark ? "dark" : "light");
})();
