// What was chosen on the map, as a list that is read and gone through by keyboard.

const AT_ONCE = 60;
const make = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

export class ImageList {
  // `source`: describe(indices), picture(index), open(index), verb; `onFocus(index)` marks it on the map.
  constructor(root, source, onFocus) {
    Object.assign(this, { source, onFocus, indices: [], shown: 0, turn: 0 });
    this.heading = make("h3", "map-list-heading");
    this.heading.tabIndex = -1;
    this.list = make("ul", "map-list");
    this.list.setAttribute("role", "list"); // a list without marks is none to some screen readers
    this.more = Object.assign(make("button", "map-more", "Show more"), { type: "button", hidden: true });
    this.more.onclick = () => this.fill(true);
    this.list.addEventListener("keydown", (event) => this.press(event));
    root.append(this.heading, this.list, this.more);
  }

  show(indices, heading) {
    Object.assign(this, { indices, shown: 0 });
    this.turn++;
    this.heading.textContent = heading;
    this.list.replaceChildren();
    this.list.setAttribute("aria-label", heading);
    return this.fill();
  }

  async fill(focus = false) {
    const turn = this.turn;
    const some = this.indices.slice(this.shown, this.shown + AT_ONCE);
    this.more.hidden = true;
    const known = some.length ? await this.source.describe(some) : [];
    if (turn !== this.turn) return;
    const rows = some.flatMap((index, at) => (known[at] ? [this.row(index, known[at])] : []));
    const first = this.shown === 0;
    this.shown += some.length;
    this.list.append(...rows);
    this.more.hidden = this.shown >= this.indices.length;
    if (first && rows[0]) rows[0].firstElementChild.tabIndex = 0;
    if (focus && rows[0]) this.goTo(rows[0].firstElementChild);
  }

  row(index, { name, label }) {
    const row = document.createElement("li");
    const button = Object.assign(make("button", "map-item"), { type: "button", tabIndex: -1 });
    button.setAttribute("aria-label", `${this.source.verb} ${label ? `${label}, ` : ""}${name}`);
    button.append(this.source.picture(index), make("span", "map-item-name", name.split("/").at(-1)));
    if (label) button.append(make("span", "map-item-label", label));
    button.onclick = () => this.source.open(index);
    button.onfocus = () => this.onFocus(index);
    button.onpointerenter = () => this.onFocus(index);
    button.title = name;
    row.append(button);
    return row;
  }

  goTo(button) {
    for (const other of this.list.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    button.tabIndex = 0;
    button.focus();
  }

  // Left and right go on by one, up and down by a line, Home and End to the ends.
  press(event) {
    const all = [...this.list.querySelectorAll(".map-item")];
    const at = all.indexOf(document.activeElement);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const line = all.findIndex((one) => one.offsetTop > all[0].offsetTop);
    const wide = line < 0 ? all.length : line;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + wide, ArrowUp: at - wide, Home: 0, End: all.length - 1 };
    if (!(event.key in to)) return;
    event.preventDefault();
    const next = all[to[event.key]];
    if (next) this.goTo(next);
    else if (event.key === "ArrowRight" || event.key === "ArrowDown") this.more.hidden || this.more.focus();
  }
}
