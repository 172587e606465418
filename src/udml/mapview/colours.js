// Six colours that stay apart for every kind of colour vision, for a light and for a dark ground; as on a political
// map, groups that lie side by side get different ones.

export const PALETTES = {
  light: ["#3a86d1", "#e8500f", "#5a0b22", "#c97b84", "#7d2ae8", "#10104f"],
  dark: ["#7fd6ff", "#9a5cf0", "#ff6a2b", "#ffe34d", "#2f8299", "#ffb29c"],
};

// The number of each group's colour: the one whose nearest group of the same colour is farthest away.
export function assignColours(points, groups) {
  const middles = Array.from({ length: groups }, () => [0, 0, 0]);
  for (let i = 0; i < points.count; i++) {
    const middle = middles[points.group[i]];
    middle[0] += points.x[i];
    middle[1] += points.y[i];
    middle[2]++;
  }
  const chosen = [];
  middles.forEach(([x, y, n], number) => {
    const nearest = PALETTES.light.map(() => Infinity);
    chosen.forEach((colour, other) => {
      const [ox, oy, on] = middles[other];
      nearest[colour] = Math.min(nearest[colour], Math.hypot(x / n - ox / on, y / n - oy / on));
    });
    chosen[number] = n ? nearest.indexOf(Math.max(...nearest)) : 0;
  });
  return { chosen, middles: middles.map(([x, y, n]) => (n ? [x / n, y / n] : [0, 0])) };
}

export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
