// Lists whose entries keep their elements, and glide to their new places.

import {render} from "../vendor/lit-html.js";

const GLIDE = {duration: 380, easing: "cubic-bezier(.2, .8, .2, 1)"};
const APPEAR = {duration: 260, easing: "ease-out"};

// Returns `update(entries)`, which draws them into a list: `key(entry)` names an entry, `draw(entry)` is its content. An
// entry that was there glides; nothing moves where people want less motion.
export function keyedList(list, {key, draw, tag = "li", className = ""}) {
  const elements = new Map();
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  return (entries) => {
    const before = new Map([...elements].map(([name, element]) => [name, element.getBoundingClientRect()]));
    const wanted = new Set(entries.map(key));
    for (const [name, element] of elements) {
      if (wanted.has(name)) continue;
      element.remove();
      elements.delete(name);
    }
    entries.forEach((entry, at) => {
      const name = key(entry);
      let element = elements.get(name);
      if (!element) {
        element = Object.assign(document.createElement(tag), {className});
        elements.set(name, element);
      }
      render(draw(entry, at), element);
      if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
    });
    if (calm.matches) return;
    for (const [name, element] of elements) {
      const was = before.get(name);
      const is = element.getBoundingClientRect();
      if (!was) {
        if (before.size) element.animate([{opacity: 0, transform: "translateY(6px)"}, {opacity: 1, transform: "none"}], APPEAR);
      } else if (was.top !== is.top || was.left !== is.left) {
        element.animate([{transform: `translate(${was.left - is.left}px, ${was.top - is.top}px)`}, {transform: "none"}], GLIDE);
      }
    }
  };
}
