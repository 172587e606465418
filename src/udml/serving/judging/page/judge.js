// One pair at a time; the next one's pictures are fetched while this one is looked at.

const KEYS = { ArrowRight: "same", ArrowLeft: "different", ArrowDown: "unsure", ArrowUp: "undo", Backspace: "undo" };
const SAID = { same: "The same", different: "Not the same", unsure: "Can’t say", undo: "Taken back" };
const $ = (id) => document.getElementById(id);
const pictures = [$("first"), $("second")];
const seat = sessionStorage.getItem("udml-seat") || crypto.randomUUID();
sessionStorage.setItem("udml-seat", seat);

let pair = null;
let busy = false;
let named = false; // what `--name` said is suggested once

async function send(path, body) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ seat, name: $("name").value, ...body }),
    });
  } catch {
    throw new Error("udml judge has stopped. Every answer is kept; start it again and press a key.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || `The page was answered ${response.status}.`);
  return answer;
}

async function turn(path, body, said) {
  if (busy) return;
  busy = true;
  try {
    await show(await send(path, body), said);
    $("problem").textContent = "";
  } catch (error) {
    $("problem").textContent = error.message;
  }
  busy = false;
}

async function show(turned, said) {
  pair = turned.pair;
  if (!$("name").value && !named) $("name").value = turned.name;
  named = true;
  $("pair").hidden = !pair;
  $("done").hidden = Boolean(pair);
  for (const id of ["same", "different", "unsure"]) $(id).disabled = !pair;
  $("undo").disabled = !turned.undo;
  tell(turned.standing, said);
  if (pair) await Promise.all(pictures.map((image, at) => load(image, pair[at])));
  for (const sha256 of turned.ahead) new Image().src = `v1/pictures/${sha256}`;
}

async function load(image, sha256) {
  image.src = `v1/pictures/${sha256}`;
  await image.decode().catch(() => {
    throw new Error("A picture could not be shown; say “Can’t say”, or load the page again.");
  });
}

function tell(standing, said) {
  const answers = `${standing.answers.toLocaleString("en")} ${standing.answers === 1 ? "answer" : "answers"}`;
  $("progress").textContent = `${answers} of at most ${standing.pairs.toLocaleString("en")}; ` +
    "in per cent, with 95 % intervals.";
  $("models").replaceChildren(...standing.models.map(row));
  $("comparisons").replaceChildren(...standing.comparisons.map((sentence) => {
    const item = document.createElement("li");
    item.textContent = sentence;
    return item;
  }));
  const next = pair ? "Next pair." : "Every pair is judged.";
  $("status").textContent = said ? `${SAID[said]}. ${answers}. ${next}` : next;
}

function row(model) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = model.title;
  line.append(head, cell(model.precision_at_1), cell(model.precision_at_5));
  return line;
}

function cell(estimate) {
  const place = document.createElement("td");
  if (!estimate) {
    place.textContent = "–";
    return place;
  }
  const [value, low, high] = estimate.map((share) => (100 * share).toFixed(0));
  const interval = document.createElement("span");
  interval.textContent = `${low} to ${high}`;
  place.append(value, interval);
  return place;
}

function act(what) {
  if (what === "undo") {
    if (!$("undo").disabled) turn("v1/undo", {}, what);
  } else if (pair) {
    turn("v1/answers", { pictures: pair, answer: what }, what);
  } else {
    turn("v1/next", {});
  }
}

for (const id of ["same", "different", "unsure", "undo"]) $(id).addEventListener("click", () => act(id));
document.addEventListener("keydown", (event) => {
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey;
  if (!plain || event.target === $("name") || !(event.key in KEYS)) return;
  event.preventDefault(); // the page would scroll
  if (!event.repeat) act(KEYS[event.key]);
});
$("name").addEventListener("change", () => sessionStorage.setItem("udml-name", $("name").value));

$("name").value = sessionStorage.getItem("udml-name") || "";
turn("v1/next", {}).then(() => $("answers").focus());
