// The map of the collection on this page: what the service sends, as the map wants it.

import { ImageMap } from "./map.js";
import { ask, call, show } from "./service.js";

const HEAD = 4; // bytes that say how long the head is

export function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, HEAD, length)));
  let at = HEAD + length;
  const take = (bytes) => new DataView(buffer, (at += bytes) - bytes, bytes);
  const count = head.placed;
  const [ids, places, groups] = [take(8 * count), take(4 * count), take(count)];
  const points = { count, x: new Float32Array(count), y: new Float32Array(count), group: new Uint8Array(count) };
  for (let i = 0; i < count; i++) {
    points.x[i] = places.getUint16(4 * i, true) / 32767.5 - 1;
    points.y[i] = places.getUint16(4 * i + 2, true) / 32767.5 - 1;
    points.group[i] = groups.getUint8(i);
  }
  const id = (i) => ids.getBigUint64(8 * i, true).toString(16).padStart(16, "0");
  return { head, points, id };
}

// Shows the map in `root`; `open(id)` searches with an image.
export async function showMap(root, open, signal) {
  const { head, points, id } = decode(await (await call("v1/map", { signal })).arrayBuffer());
  root.hidden = false;
  if (head.missing || !head.placed) {
    root.replaceChildren(Object.assign(document.createElement("p"), { className: "faint", textContent: head.missing ?? "" }));
    return null;
  }
  const known = new Map();
  const describe = async (indices) => {
    const lacking = indices.filter((i) => !known.has(i));
    if (lacking.length) {
      const { items } = await ask(`v1/map/items?${new URLSearchParams(lacking.map((i) => ["id", id(i)]))}`);
      const byId = new Map(items.map((item) => [item.id, item]));
      for (const i of lacking) known.set(i, byId.get(id(i)));
    }
    return indices.map((i) => known.get(i) && { name: known.get(i).source, label: known.get(i).label });
  };
  const picture = (i, atOnce) => {
    const image = Object.assign(new Image(), { alt: "", draggable: false });
    show(image, id(i), atOnce);
    return image;
  };
  const source = { describe, picture, verb: "Search with", open: (i) => open(id(i)) };
  const map = new ImageMap(root, points, head.groups, source);
  if (head.placed < head.images) map.say(`${head.placed.toLocaleString()} of ${head.images.toLocaleString()} images are on the map`);
  return map;
}
