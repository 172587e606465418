// The search page: no library, nothing from anywhere but this service.

const at = (id) => document.getElementById(id);
const STEP = 24; // neighbours shown at first, and more at each press of "Show more"
const MOST = 200; // the API gives no more
const IMAGE_PX = 360; // enough for a card on a sharp display
const RETRIES = 4; // of what is refused because the service is busy

const state = {
  key: sessionStorage.getItem("udml-key"),
  file: null, // the picture that was sent last
  item: null, // the image of the collection that is asked with instead
  neighbours: [],
  k: STEP,
  service: null, // what /v1/version says
  address: null, // object URL of the preview
  touched: false, // whether the slider was moved
};
let running = new AbortController(); // what is being loaded for the present view

// --- asking the service ---------------------------------------------------------------------------

class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (state.key) headers.Authorization = `Bearer ${state.key}`;
  for (let attempt = 0; ; attempt++) {
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "The service cannot be reached.");
    }
    if (response.ok) return response;
    if ((response.status === 503 || response.status === 429) && attempt < RETRIES) {
      await new Promise((done) => setTimeout(done, 1000 * Number(response.headers.get("Retry-After") || 1)));
      continue;
    }
    const problem = await response.json().catch(() => ({}));
    throw new Problem(response.status, problem.detail || `The service answered ${response.status}.`);
  }
}

const ask = async (path, options) => (await call(path, options)).json();

// A page cannot put a key on an <img>, so with one its bytes are fetched when it comes into view.
const inView = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    inView.unobserve(target);
    call(target.dataset.address)
      .then((response) => response.blob())
      .then((blob) => {
        target.onload = () => URL.revokeObjectURL(target.src);
        target.src = URL.createObjectURL(blob);
      })
      .catch(() => {});
  }
}, { rootMargin: "200px" });

function show(image, id) {
  const address = `v1/items/${id}/image?side_px=${IMAGE_PX}`;
  if (state.key) {
    image.dataset.address = address;
    inView.observe(image);
    return;
  }
  let attempts = 0;
  image.onerror = () => attempts++ < RETRIES && setTimeout(() => (image.src = address), 1000 * attempts);
  image.src = address;
}

// --- telling --------------------------------------------------------------------------------------

const say = (text) => (at("status").textContent = text);

function fail(error) {
  if (error.name === "AbortError") return;
  at("grid").classList.remove("busy");
  if (error.status === 401) askForKey(error.message);
  else at("problem").textContent = error.message;
}

function clear() {
  running.abort();
  running = new AbortController();
  at("problem").textContent = "";
  at("more").hidden = at("nothing").hidden = at("back").hidden = at("filter").hidden = true;
  at("grid").classList.add("busy");
  return running.signal;
}

function fill(elements, heading, groups = false) {
  at("grid").replaceChildren(...elements);
  at("grid").classList.remove("busy");
  at("grid").classList.toggle("groups", groups);
  at("results-heading").textContent = heading;
}

const plural = (count, one, many) => `${count.toLocaleString()} ${count === 1 ? one : many}`;
const called = (item) => item.label ? `${item.label}, ${item.source}` : item.source;

// --- cards ----------------------------------------------------------------------------------------

function card(item) {
  const element = at("card").content.firstElementChild.cloneNode(true);
  const [picture, remove] = element.querySelectorAll("button");
  const score = item.similarity === undefined ? "" : `, similarity ${item.similarity.toFixed(2)}`;
  picture.setAttribute("aria-label", `Search with ${called(item)}${score}`);
  picture.onclick = () => (location.hash = `like=${item.id}`);
  show(picture.firstElementChild, item.id);
  element.querySelector(".name").textContent = item.source.split("/").at(-1);
  element.querySelector(".name").title = item.source;
  element.querySelector(".label").textContent = item.label ?? "";
  if (score) {
    element.querySelector("b").textContent = item.similarity.toFixed(2);
    element.querySelector(".fill").style.width = `${100 * Math.max(0, item.similarity)}%`;
  } else {
    element.querySelector(".score").hidden = true;
  }
  remove.hidden = !mayWrite();
  remove.setAttribute("aria-label", `Remove ${item.source} from the collection`);
  remove.onclick = () => removeItem(item, element);
  return element;
}

function groupCard(group) {
  const element = at("group").content.firstElementChild.cloneNode(true);
  const button = element.firstElementChild;
  const count = plural(group.images, "image", "images");
  button.setAttribute("aria-label", `Group of ${count}, such as ${group.examples[0]?.source ?? "none"}`);
  button.onclick = () => (location.hash = `group=${group.cluster}`);
  for (const item of group.examples) {
    const image = Object.assign(new Image(), { alt: "", loading: "lazy", decoding: "async" });
    show(image, item.id);
    button.firstElementChild.append(image);
  }
  button.lastElementChild.textContent = count;
  return element;
}

// --- searching ------------------------------------------------------------------------------------

function preview(address, name) {
  if (state.address) URL.revokeObjectURL(state.address);
  state.address = address;
  at("preview").hidden = !state.file && !state.item;
  at("preview").alt = name ? `Searched with: ${name}` : "";
  at("drop").classList.toggle("asked", !at("preview").hidden);
  at("prompt").textContent = at("preview").hidden
    ? "Drop a picture here, paste one, or"
    : "Drop or paste another picture, or";
  at("query-name").textContent = name;
  at("add").hidden = !state.file || Boolean(state.item) || !mayWrite();
  at("add").disabled = false;
  if (address) at("preview").src = address;
  else if (state.item) show(at("preview"), state.item.id);
  else at("preview").removeAttribute("src");
}

function searchWithFile(file) {
  Object.assign(state, { file, item: null, k: STEP });
  if (!["", "#search"].includes(location.hash)) history.pushState(null, "", "#search");
  markView("search");
  preview(URL.createObjectURL(file), file.name || "a pasted picture");
  search();
}

async function searchWithItem(id) {
  state.k = STEP;
  const signal = clear();
  try {
    state.item = (await ask(`v1/items/${id}`, { signal })).item;
    preview(null, called(state.item));
    await search();
  } catch (error) {
    fail(error);
  }
}

async function search() {
  const signal = clear();
  say("Searching");
  try {
    const found = state.item
      ? await ask(`v1/search?k=${state.k}&id=${state.item.id}`, { method: "POST", signal })
      : await ask(`v1/search?k=${state.k}`, {
          method: "POST", signal, body: state.file, headers: { "Content-Type": "application/octet-stream" },
        });
    state.neighbours = found.neighbours;
    at("filter").hidden = false;
    fill(found.neighbours.map(card), "Neighbours");
    at("more").hidden = found.neighbours.length < state.k || state.k >= MOST;
    applyThreshold();
    if (state.k === STEP) at("results-heading").focus({ preventScroll: true });
  } catch (error) {
    if (error.status) fill([], "");
    fail(error);
  }
}

function applyThreshold() {
  const lowest = Number(at("threshold").value);
  at("threshold-value").textContent = lowest.toFixed(2);
  const passes = (hit) => lowest === 0 || hit.similarity >= lowest; // at its left end it hides nothing
  const cards = at("grid").children;
  state.neighbours.forEach((hit, position) => (cards[position].hidden = !passes(hit)));
  const shown = state.neighbours.filter(passes).length;
  const all = state.neighbours.length;
  const heading = shown === all ? plural(all, "neighbour", "neighbours") : `${shown} of ${plural(all, "neighbour", "neighbours")}`;
  at("results-heading").textContent = heading;
  at("nothing").hidden = shown > 0;
  at("nothing").textContent = all ? "Nothing in the collection is that similar. Move the slider to see the nearest images." : "The collection is empty.";
  say(shown ? `${heading}, the best with similarity ${state.neighbours[0].similarity.toFixed(2)}` : "No match");
}

// --- browsing -------------------------------------------------------------------------------------

async function browse() {
  const signal = clear();
  say("Loading the groups");
  try {
    const { clusters, images, grouped } = await ask("v1/clusters", { signal });
    state.neighbours = [];
    const heading = `${plural(clusters.length, "group", "groups")} of images that look alike`;
    fill(clusters.map(groupCard), heading, true);
    if (grouped < images) at("results-heading").textContent += `, from ${grouped.toLocaleString()} of ${images.toLocaleString()}`;
    at("nothing").hidden = clusters.length > 0;
    at("nothing").textContent = "The collection is empty.";
    say(heading);
  } catch (error) {
    fail(error);
  }
}

async function openGroup(number, offset = 0) {
  const signal = clear();
  try {
    const group = await ask(`v1/clusters/${number}?offset=${offset}`, { signal });
    state.neighbours = [];
    const cards = group.items.map(card);
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

const mayWrite = () => state.service?.writes === "open" || (state.service?.writes === "key" && Boolean(state.key));

async function addItem() {
  at("add").disabled = true;
  try {
    const form = new FormData();
    form.append("image", state.file, state.file.name || `pasted-${Date.now()}.png`);
    const [added] = (await ask("v1/items", { method: "POST", body: form })).items;
    const told = { added: "Added to the collection", restored: "Back in the collection", present: "It was in the collection already" };
    at("query-name").textContent = `${told[added.status]} as ${added.name || added.source}`;
    say(told[added.status]);
    tellService();
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
      const next = (element.nextElementSibling ?? element.previousElementSibling)?.querySelector("button");
      element.remove();
      state.neighbours = state.neighbours.filter((hit) => hit.id !== item.id);
      if (state.neighbours.length) applyThreshold();
      (next ?? at("results-heading")).focus();
      say(`Removed ${item.source}`);
      tellService();
    } catch (error) {
      fail(error);
    }
  };
}

// --- the key --------------------------------------------------------------------------------------

function askForKey(why) {
  if (why) at("key-why").textContent = why;
  at("key").value = state.key ?? "";
  at("key-dialog").returnValue = "";
  if (!at("key-dialog").open) at("key-dialog").showModal();
}

for (const button of at("key-form").querySelectorAll("[type=button]")) { // Enter is for the other one
  button.onclick = () => at("key-dialog").close(button.value);
}
at("key-dialog").onclose = () => {
  const choice = at("key-dialog").returnValue;
  if (choice === "use" && at("key").value.trim()) {
    state.key = at("key").value.trim();
    sessionStorage.setItem("udml-key", state.key);
  } else if (choice === "forget") {
    state.key = null;
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
  const [view, value] = location.hash.slice(1).split("=");
  markView(view === "browse" || view === "group" ? "browse" : "search");
  at("more").onclick = () => { state.k = Math.min(MOST, state.k + STEP); search(); };
  if (view === "browse") browse();
  else if (view === "group") openGroup(Number(value));
  else if (view === "like") searchWithItem(value);
  else if (state.file) searchWithFile(state.file);
  else {
    state.item = null;
    preview(null, "");
    clear();
    fill([], "");
  }
}

async function tellService() {
  const service = (state.service = await ask("v1/version"));
  if (!state.touched) at("threshold").value = service.no_match_below ?? 0; // what is less similar is no match
  at("about").textContent = `${plural(service.images, "image", "images")}, version ${service.version}`;
  at("key-button").hidden = service.writes !== "key" && !state.key;
  at("key-button").textContent = state.key ? "Key in use" : "Use a key";
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
at("key-button").onclick = () => askForKey("");
at("home").onclick = (event) => {
  event.preventDefault();
  state.file = null;
  if (location.hash === "#search" || !location.hash) route();
  else location.hash = "search";
};
window.addEventListener("hashchange", route);
start();
