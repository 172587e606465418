
// --- the report's own map: thumbnails are cells of map.webp ----------------------------------------

const data = JSON.parse(document.getElementById("map-data").textContent);
const NEAR = 24; // images listed around one
const SHARP_PX = 144; // of a thumbnail
const sheet = document.querySelector("#map .map img");
sheet.loading = "eager";

function thumbnail(index) {
  const canvas = Object.assign(document.createElement("canvas"), { width: SHARP_PX, height: SHARP_PX });
  const side = data.step_px - 2;
  const [left, top] = data.cells[index].map((cell) => cell * data.step_px + 1);
  canvas.getContext("2d").drawImage(sheet, left, top, side, side, 0, 0, SHARP_PX, SHARP_PX);
  return canvas;
}

const describe = async (indices) => indices.map((i) => ({ name: data.names[i], label: data.labels[i] }));

sheet.decode().then(() => {
  const root = document.getElementById("map-view");
  const at = (axis) => Float32Array.from(data.places, (place) => place[axis] / 32767.5 - 1);
  const points = { count: data.places.length, x: at(0), y: at(1), group: Uint8Array.from(data.group) };
  const map = new ImageMap(root, points, data.groups, {
    describe,
    picture: thumbnail,
    verb: "Show what is near",
    open: (index) => {
      const near = map.nearestTo(index, NEAR);
      map.take(near, `On the map nearest to ${data.names[index]}`);
    },
  });
  root.hidden = false;
  map.resize();
});
