// What is asked, as the address of the page has it: #search=2&more=ID,ID&less=ID&crop=x,y,w,h&where=..., or #like=ID...

const ids = (text) => (text ? text.split(",") : []);

function decoded(text) {
  try {
    return text ? decodeURIComponent(text) : null;
  } catch {
    return null; // an address that was cut off
  }
}

export function read(hash) {
  const [first, ...rest] = hash.replace(/^#/, "").split("&");
  const [view, value] = first.split("=");
  const said = Object.fromEntries(rest.map((part) => part.split("=")));
  const crop = said.crop?.split(",").map(Number);
  return { view: view || "search", value, more: ids(said.more), less: ids(said.less), crop: crop?.length === 4 ? crop : null, where: decoded(said.where) };
}

// To four digits, and inside the picture after that, too.
function tidy([x, y, w, h]) {
  const [left, top] = [x, y].map((part) => Math.round(1e4 * part) / 1e4);
  const [wide, high] = [[left, w], [top, h]].map(([from, side]) => Math.floor(1e4 * Math.min(side, 1 - from) + 1e-6) / 1e4);
  return [left, top, wide, high];
}

export function write({ view, value, more = [], less = [], crop = null, where = null }) {
  const parts = [value === undefined ? view : `${view}=${value}`];
  if (more.length) parts.push(`more=${more}`);
  if (less.length) parts.push(`less=${less}`);
  if (crop) parts.push(`crop=${tidy(crop)}`);
  if (where) parts.push(`where=${encodeURIComponent(where).replaceAll("'", "%27")}`);
  return `#${parts.join("&")}`;
}

// The crop is of the first picture: of the file that is sent, else of the first id.
export function parameters(query, k) {
  const asked = new URLSearchParams({ k, collapse: "true" });
  for (const id of [...(query.view === "like" ? [query.value] : []), ...query.more]) asked.append("id", id);
  for (const id of query.less) asked.append("unlike", id);
  if (query.crop) asked.set("crop", query.crop.join(","));
  if (query.where) asked.set("where", query.where);
  return asked;
}
