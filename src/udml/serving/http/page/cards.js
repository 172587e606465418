// Cards of images and of groups of images.

import { called, plural, show } from "./service.js";

const at = (id) => document.getElementById(id);
const MOST_COPIES = 200; // the API tells of no more

// `acts` says what can be done: like(item), more(item), less(item), remove(item, element); absent ones are not shown.
export function card(item, acts) {
  const element = at("card").content.firstElementChild.cloneNode(true);
  const find = (css) => element.querySelector(css);
  const score = item.similarity === undefined ? "" : `, similarity ${item.similarity.toFixed(2)}`;
  find(".picture").setAttribute("aria-label", `Search with ${called(item)}${score}`);
  find(".picture").onclick = () => acts.like(item);
  show(find("img"), item.id);
  find(".name").textContent = item.source.split("/").at(-1);
  find(".name").title = item.source;
  find(".label").textContent = item.label ?? "";
  if (score) {
    find("b").textContent = item.similarity.toFixed(2);
    find(".fill").style.width = `${100 * Math.max(0, item.similarity)}%`;
  } else {
    find(".score").hidden = true;
  }
  const words = { more: `More like ${item.source}`, less: `Less like ${item.source}`, remove: `Remove ${item.source} from the collection` };
  for (const [act, label] of Object.entries(words)) {
    const button = find(`.${act}`);
    button.hidden = !acts[act];
    button.setAttribute("aria-label", label);
    button.onclick = () => acts[act](item, element);
  }
  return element;
}

// A card with its near-duplicates behind it, opened and closed by a button: the element, and how to filter it.
export function foldedCard(hit, acts) {
  const element = card(hit, acts);
  const button = element.querySelector(".copies");
  let passing = hit.copies;
  let opened = [];
  const close = () => {
    for (const copy of opened) copy.remove();
    opened = [];
    button.setAttribute("aria-expanded", "false");
  };
  const open = () => {
    opened = passing.map((copy) => card(copy, acts));
    for (const copy of opened) copy.classList.add("copy");
    element.after(...opened);
    button.setAttribute("aria-expanded", "true");
  };
  button.onclick = () => (opened.length ? close() : open());
  const filter = (passes) => {
    const wasOpen = opened.length > 0;
    close();
    element.hidden = ![hit, ...hit.copies].some(passes);
    passing = element.hidden ? [] : hit.copies.filter(passes);
    const orMore = hit.copies.length === MOST_COPIES ? " or more" : "";
    button.hidden = passing.length === 0;
    button.textContent = `and ${plural(passing.length, "copy", "copies")}${orMore}`;
    button.setAttribute("aria-label", `${button.textContent} of ${hit.source}`);
    if (wasOpen && passing.length) open();
  };
  filter(() => true);
  return { hit, element, filter };
}

export function groupCard(group, open) {
  const element = at("group").content.firstElementChild.cloneNode(true);
  const button = element.firstElementChild;
  const count = plural(group.images, "image", "images");
  button.setAttribute("aria-label", `Group of ${count}, such as ${group.examples[0]?.source ?? "none"}`);
  button.onclick = () => open(group.cluster);
  for (const item of group.examples) {
    const image = Object.assign(new Image(), { alt: "", loading: "lazy", decoding: "async" });
    show(image, item.id);
    button.firstElementChild.append(image);
  }
  button.lastElementChild.textContent = count;
  return element;
}

// One picture of the tray: what else is asked for.
export function chip(id, side, item, takeOut) {
  const element = at("chip").content.firstElementChild.cloneNode(true);
  show(element.querySelector("img"), id);
  const button = element.querySelector("button");
  const name = (known) => {
    button.setAttribute("aria-label", `No longer ${side} like ${known ? known.source : "this picture"}`);
    element.title = known?.source ?? "";
  };
  name(item);
  button.onclick = () => takeOut(id);
  return { element, name };
}
