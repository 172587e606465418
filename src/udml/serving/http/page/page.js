// The search page: no library, nothing from anywhere but this service.

import { showMap } from "./browse-map.js";
import { card, chip, foldedCard, groupCard } from "./cards.js";
import { Cropper } from "./crop.js";
import { parameters, read, write } from "./query.js";
import { access, ask, call, called, plural, show } from "./service.js";
import { WhereField } from "./where.js";

const at = (id) => document.getElementById(id);
const STEP = 24; // neighbours shown at first, and more at each press of "Show more"
const MOST = 200; // the API gives no more
const SOME = 12; // pictures of the collection on the empty page
const NONE_MEETS = "No image meets the filter.";
const FILES_KEPT = 20; // so that "back" finds them

const state = {
  query: read(location.hash), // what is asked, as the address has it
  files: new Map(), // pictures that were sent, by number
  number: 0, // of the last one
  items: new Map(), // images of the collection that were seen, by id
  folded: [], // what is shown of the neighbours
  k: STEP,
  matching: null, // images that meet the filter
  service: null, // what /v1/version says
  address: null, // object URL of the preview
  touched: false, // whether the slider was moved
};
let running = new AbortController(); // what is being loaded for the present view

// --- telling --------------------------------------------------------------------------------------

const say = (text) => (at("status").textContent = text);

function fail(error) {
  if (error.name === "AbortError") return;
  at("grid").classList.remove("busy");
  if (error.status === 401) askForKey(error.message);
  else if (error.code === "bad_filter") whereField.fail(error.message);
  else at("problem").textContent = error.message;
}

function clear() {
  running.abort();
  running = new AbortController();
  at("problem").textContent = "";
  whereField.set(state.query.where);
  for (const id of ["more", "nothing", "back", "filter", "order", "map"]) at(id).hidden = true;
  at("grid").classList.add("busy");
  return running.signal;
}

function fill(elements, heading, groups = false) {
  at("grid").replaceChildren(...elements);
  at("grid").classList.remove("busy");
  at("grid").classList.toggle("groups", groups);
  at("results-heading").textContent = heading;
}

// --- what is asked --------------------------------------------------------------------------------

const file = () => state.files.get(Number(state.query.value));
const isMixed = () => state.query.more.length + state.query.less.length > 0;
const isAsking = () => Boolean(file()) || state.query.view === "like" || state.query.more.length > 0;

// Every question is an address, so that "back" goes back to the one before.
function go(change, { replace = false } = {}) {
  const hash = write({ ...state.query, ...change });
  if (hash === location.hash) return route();
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  return route();
}

// What is asked stands above what was found, which may be far down.
function goFromCard(change) {
  scrollTo(0, 0);
  return go(change);
}

function searchWithFile(picture) {
  state.files.set(++state.number, picture);
  state.files.delete(state.number - FILES_KEPT);
  const { where } = state.query;
  state.query = read("");
  go({ view: "search", value: String(state.number), where });
}

const acts = {
  like: (item) => goFromCard({ view: "like", value: item.id, more: [], less: [], crop: null }),
  more: (item) => goFromCard({ more: [...state.query.more, item.id] }),
  less: (item) => goFromCard({ less: [...state.query.less, item.id] }),
  remove: (item, element) => removeItem(item, element),
};
// Pictures are added to a question only where there is one.
const actsHere = (asking) => ({
  like: acts.like,
  ...(asking ? { more: acts.more, less: acts.less } : {}),
  ...(mayWrite() ? { remove: acts.remove } : {}),
});

function preview() {
  if (state.address) URL.revokeObjectURL(state.address);
  const sent = file();
  const item = state.query.view === "like" ? state.items.get(state.query.value) : null;
  const name = sent ? sent.name || "a pasted picture" : item ? called(item) : "";
  state.address = sent ? URL.createObjectURL(sent) : null;
  at("cutter").hidden = !sent && state.query.view !== "like";
  at("crop-hint").hidden = at("cutter").hidden;
  at("preview").alt = name ? `Searched with: ${name}` : "Searched with this picture";
  at("drop").classList.toggle("asked", isAsking());
  at("prompt").textContent = isAsking() ? "Drop or paste another picture, or" : "Drop a picture here, paste one, or";
  at("query-name").textContent = name;
  at("add").hidden = !sent || !mayWrite();
  at("add").disabled = false;
  at("preview").onerror = () => (at("cutter").hidden = at("crop-hint").hidden = true); // a TIFF, in most browsers
  if (sent) at("preview").src = state.address;
  else if (state.query.view === "like") show(at("preview"), state.query.value);
  else at("preview").removeAttribute("src");
  cropper.set(state.query.crop);
  at("whole").hidden = !state.query.crop;
  fillTray();
}

function fillTray() {
  at("tray").hidden = !isMixed();
  for (const side of ["more", "less"]) {
    const listed = state.query[side];
    at(`${side}-like`).hidden = listed.length === 0;
    const takeOut = (id) => {
      go({ [side]: state.query[side].filter((other) => other !== id) });
      at("results-heading").focus({ preventScroll: true });
    };
    at(`${side}-list`).replaceChildren(...listed.map((id) => {
      const { element, name } = chip(id, side, state.items.get(id), takeOut);
      if (!state.items.has(id)) known(id).then(name, () => {});
      return element;
    }));
  }
}

async function known(id, options) {
  if (!state.items.has(id)) state.items.set(id, (await ask(`v1/items/${id}`, options)).item);
  return state.items.get(id);
}

// --- searching ------------------------------------------------------------------------------------

async function search({ focus = true, told = "" } = {}) {
  const signal = clear();
  say("Searching");
  try {
    const sent = file();
    const body = sent ? { body: sent, headers: { "Content-Type": "application/octet-stream" } } : {};
    const found = await ask(`v1/search?${parameters(state.query, state.k)}`, { method: "POST", signal, ...body });
    if (state.query.view === "like" && !state.items.has(state.query.value)) {
      at("query-name").textContent = called(await known(state.query.value, { signal }));
    }
    for (const hit of found.neighbours.flatMap((one) => [one, ...one.copies])) state.items.set(hit.id, hit);
    if (!state.touched) at("threshold").value = found.no_match_below ?? 0; // what is less similar is no match
    state.folded = found.neighbours.map((hit) => foldedCard(hit, actsHere(true)));
    fill(state.folded.map((one) => one.element), "Neighbours");
    at("filter").hidden = false;
    at("order").hidden = found.refine === "none" || found.neighbours.length < 3;
    at("more").hidden = found.neighbours.length < state.k || state.k >= MOST;
    state.matching = found.matching;
    applyThreshold(told);
    if (state.k === STEP && focus) at("results-heading").focus({ preventScroll: true });
  } catch (error) {
    if (error.status) fill([], "");
    fail(error);
  }
}

function applyThreshold(told = "") {
  const lowest = Number(at("threshold").value);
  at("threshold-value").textContent = lowest.toFixed(2);
  const passes = (hit) => lowest === 0 || hit.similarity >= lowest; // at its left end it hides nothing
  for (const one of state.folded) one.filter(passes);
  const shown = state.folded.filter((one) => !one.element.hidden).length;
  const all = state.folded.length;
  const heading = shown === all ? plural(all, "neighbour", "neighbours") : `${shown} of ${plural(all, "neighbour", "neighbours")}`;
  at("results-heading").textContent = heading;
  at("nothing").hidden = shown > 0;
  at("nothing").textContent = all ? "Nothing in the collection is that similar. Move the slider to see the nearest images." : state.matching === 0 ? NONE_MEETS : "There is nothing to find in the collection.";
  say(told + (shown ? `${heading}, the best with similarity ${state.folded[0].hit.similarity.toFixed(2)}` : "No match"));
}

// --- what the collection holds --------------------------------------------------------------------

async function showCollection() {
  const signal = clear();
  const { where } = state.query;
  state.folded = [];
  fill([], "");
  try {
    const { items, images } = await ask(`v1/items?${new URLSearchParams({ limit: SOME, ...(where ? { where } : {}) })}`, { signal });
    const count = `${plural(images, "image", "images")} ${where ? "that meet the filter" : "in the collection"}`;
    fill(items.map((item) => card(item, { like: acts.like })), images > items.length ? `${count}, such as these` : count);
    at("nothing").hidden = images > 0;
    at("nothing").textContent = where ? NONE_MEETS : "The collection is empty.";
    if (where) say(images ? count : NONE_MEETS);
  } catch (error) {
    fail(error);
  }
}

async function browse() {
  const signal = clear();
  say("Loading the groups");
  try {
    const { clusters, images, grouped } = await ask("v1/clusters", { signal });
    state.folded = [];
    const heading = `${plural(clusters.length, "group", "groups")} of images that look alike`;
    const open = (number) => go({ view: "group", value: String(number), more: [], less: [], crop: null });
    fill(clusters.map((group) => groupCard(group, open)), heading, true);
    if (grouped < images) at("results-heading").textContent += `, from ${grouped.toLocaleString()} of ${images.toLocaleString()}`;
    at("nothing").hidden = clusters.length > 0;
    at("nothing").textContent = "The collection is empty.";
    say(heading);
    const like = (id) => goFromCard({ view: "like", value: id, more: [], less: [], crop: null });
    if (images) await showMap(at("map"), like, signal);
  } catch (error) {
    fail(error);
  }
}

async function openGroup(number, offset = 0) {
  const signal = clear();
  try {
    const group = await ask(`v1/clusters/${number}?offset=${offset}`, { signal });
    state.folded = [];
    const cards = group.items.map((item) => card(item, actsHere(false)));
    const heading = `A group of ${plural(group.images, "image", "images")}`;
    fill(offset ? [...at("grid").children, ...cards] : cards, heading);
    at("back").hidden = false;
    at("more").hidden = offset + group.items.length >= group.images;
    at("more").onclick = () => openGroup(number, offset + group.items.length);
    say(heading);
    if (!offset) at("results-heading").focus({ preventScroll: true });
  } catch (error) {
    fail(error);
  }
}

// --- adding and removing --------------------------------------------------------------------------

const mayWrite = () => state.service?.writes === "open" || (state.service?.writes === "key" && Boolean(access.key));

async function addItem() {
  at("add").disabled = true;
  const sent = file();
  try {
    const form = new FormData();
    form.append("image", sent, sent.name || `pasted-${Date.now()}.png`);
    const [added] = (await ask("v1/items", { method: "POST", body: form })).items;
    const told = { added: "Added to the collection", restored: "Back in the collection", present: "It was in the collection already" };
    at("query-name").textContent = `${told[added.status]} as ${added.name || added.source}`;
    say(told[added.status]);
    await tellService();
    if (file() === sent) await search({ told: `${told[added.status]}. ` }); // it is among what is found now
  } catch (error) {
    at("add").disabled = false;
    fail(error);
  }
}

function removeItem(item, element) {
  const dialog = at("remove-dialog");
  at("remove-name").textContent = item.source;
  dialog.returnValue = "";
  dialog.showModal();
  dialog.onclose = async () => {
    if (dialog.returnValue !== "remove") return;
    try {
      await call(`v1/items?id=${item.id}`, { method: "DELETE" });
      state.items.delete(item.id);
      const place = [...at("grid").children].indexOf(element);
      element.remove();
      say(`Removed ${item.source}`);
      await tellService();
      if (state.folded.length) await search({ focus: false, told: `Removed ${item.source}. ` });
      const cards = at("grid").children;
      (cards[Math.min(place, cards.length - 1)]?.querySelector("button") ?? at("results-heading")).focus();
    } catch (error) {
      fail(error);
    }
  };
}

// --- the key --------------------------------------------------------------------------------------

function askForKey(why) {
  if (why) at("key-why").textContent = why;
  at("key").value = access.key ?? "";
  at("key-dialog").returnValue = "";
  if (!at("key-dialog").open) at("key-dialog").showModal();
}

for (const button of at("key-form").querySelectorAll("[type=button]")) { // Enter is for the other one
  button.onclick = () => at("key-dialog").close(button.value);
}
at("key-dialog").onclose = () => {
  const choice = at("key-dialog").returnValue;
  if (choice === "use" && at("key").value.trim()) {
    access.key = at("key").value.trim();
    sessionStorage.setItem("udml-key", access.key);
  } else if (choice === "forget") {
    access.key = null;
    sessionStorage.removeItem("udml-key");
  } else return;
  start();
};

// --- views ----------------------------------------------------------------------------------------

function markView(view) {
  for (const name of ["search", "browse"]) {
    if (name === view) at(`to-${name}`).setAttribute("aria-current", "page");
    else at(`to-${name}`).removeAttribute("aria-current");
  }
  at("query").hidden = view === "browse";
}

function route() {
  const query = (state.query = read(location.hash));
  markView(["browse", "group"].includes(query.view) ? "browse" : "search");
  state.k = STEP;
  at("more").onclick = () => { state.k = Math.min(MOST, state.k + STEP); search(); };
  if (query.view === "browse") return browse();
  if (query.view === "group") return openGroup(Number(query.value));
  if (query.view === "search" && query.value === undefined && state.files.has(state.number) && !query.more.length) {
    return go({ value: String(state.number) }, { replace: true }); // the last picture, until one goes home
  }
  preview();
  return isAsking() ? search() : showCollection();
}

async function tellService() {
  const service = (state.service = await ask("v1/version"));
  at("about").textContent = `${plural(service.images, "image", "images")}, version ${service.version}`;
  at("key-button").hidden = service.writes !== "key" && !access.key;
  at("key-button").textContent = access.key ? "Key in use" : "Use a key";
  whereField.offer(service.columns);
}

async function start() {
  try {
    await tellService();
    route();
  } catch (error) {
    at("key-button").hidden = false;
    fail(error);
  }
}

// --- a part of the picture ------------------------------------------------------------------------

function cropTo(crop) {
  if (crop || state.query.crop) go({ crop });
}
at("preview").addEventListener("load", () => { // small pictures are shown larger: a part is easier to choose
  at("cutter").style.setProperty("--shape", at("preview").naturalWidth / at("preview").naturalHeight);
});
const cropper = new Cropper(at("cutter"), at("mark"), cropTo, say);

// --- a filter -------------------------------------------------------------------------------------

const whereField = new WhereField((where) => go({ where }));

// --- ways to bring a picture ----------------------------------------------------------------------

const pictureIn = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

for (const input of [at("file"), at("camera")]) {
  input.onchange = () => {
    if (input.files[0]) searchWithFile(input.files[0]);
    input.value = "";
  };
}
document.addEventListener("paste", (event) => {
  const file = pictureIn(event.clipboardData);
  if (file) searchWithFile(file);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  const file = pictureIn(event.dataTransfer);
  if (file) searchWithFile(file);
  else at("problem").textContent = "That is not a picture. Drop a JPEG, PNG or WebP file.";
});

at("threshold").oninput = () => {
  state.touched = true;
  applyThreshold();
};
at("add").onclick = addItem;
at("back").onclick = () => (location.hash = "browse");
at("whole").onclick = () => cropTo(null);
at("key-button").onclick = () => askForKey("");
at("home").onclick = (event) => {
  event.preventDefault();
  state.number++; // the last picture is not asked with again
  state.query = read("");
  go({});
};
window.addEventListener("hashchange", route);
start();
