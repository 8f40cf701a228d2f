// The address: which page, of what, and the state of the page, so that a link can be shared: `#/recommend?user=718`.

// Returns {name, args, query}: `#/data/item/42?tab=map` is the page `data` with the args `item` and `42`.
export function current() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [name = "", ...args] = path.split("/").filter(Boolean).map(decodeURIComponent);
  return {name, args, query: Object.fromEntries(new URLSearchParams(search))};
}

// Returns the address of a page: `link("data", ["item", "42"], {tab: "map"})`. What is empty in the query is left out.
export function link(name, args = [], query = {}) {
  const filled = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const search = new URLSearchParams(filled).toString();
  return `#/${[name, ...args].map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

// Goes to a page.
export const go = (name, args, query) => {
  location.hash = link(name, args, query);
};

// Puts the state of the page into the address, without drawing the page anew and without a step in the history.
export function setQuery(query) {
  const {name, args} = current();
  history.replaceState(null, "", link(name, args, query));
}
