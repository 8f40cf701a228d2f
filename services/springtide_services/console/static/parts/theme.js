// Light and dark: as the system has it, until somebody chooses.

const dark = matchMedia("(prefers-color-scheme: dark)");

export const theme = () => document.documentElement.dataset.theme;

// Chooses the other theme; choosing what the system has gives the choice back to the system.
export function switchTheme() {
  const wanted = theme() === "dark" ? "light" : "dark";
  if (wanted === (dark.matches ? "dark" : "light")) localStorage.removeItem("theme");
  else localStorage.setItem("theme", wanted);
  apply(wanted);
}

// Calls `draw` at each change of the theme, until `signal` is aborted.
export function onTheme(draw, signal) {
  document.addEventListener("theme", draw, {signal});
}

// Returns the value of a design token, such as `token("--accent")`.
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Returns the colours of series, in their order.
export const seriesColors = () => [1, 2, 3, 4, 5, 6, 7, 8].map((index) => token(`--series-${index}`));

function apply(wanted) {
  document.documentElement.dataset.theme = wanted;
  document.dispatchEvent(new Event("theme"));
}

dark.addEventListener("change", () => {
  if (!localStorage.getItem("theme")) apply(dark.matches ? "dark" : "light");
});
