// The field for a filter: what it may ask for, what was wrong with it, and when it is to be used.

const at = (id) => document.getElementById(id);
const MOST_OFFERED = 64;
const STARTS = { text: " = '*'", time: " > 2024", number: " > 0" };

const written = (name) =>
  /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !/^(and|or|not|in|is|missing)$/i.test(name) ? name : `"${name.replaceAll('"', '""')}"`;

export class WhereField {
  // `use(text)` is called with a filter, or null for none.
  constructor(use) {
    this.use = use;
    at("where-form").onsubmit = (event) => {
      event.preventDefault();
      use(at("where").value.trim() || null);
    };
    at("where-clear").onclick = () => {
      at("where").focus(); // the button goes
      use(null);
    };
  }

  offer(columns) {
    at("where-form").hidden = columns.length === 0;
    at("where-columns").replaceChildren(...columns.slice(0, MOST_OFFERED).map(({ name, kind }) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: name });
      button.setAttribute("aria-label", `Filter by ${name}, a ${kind}`);
      button.onclick = () => this.insert(`${written(name)}${STARTS[kind]}`);
      return button;
    }));
  }

  insert(test) {
    const field = at("where");
    const before = field.value.trim();
    field.value = before ? `${before} and ${test}` : test;
    field.focus();
    const end = field.value.endsWith("'") ? field.value.length - 1 : field.value.length;
    field.setSelectionRange(end - /[^ ']+$/.exec(field.value.slice(0, end))[0].length, end); // what is to be replaced
  }

  set(where) {
    at("where").value = where ?? "";
    at("where-clear").hidden = !where;
    at("where-problem").textContent = "";
    at("where").removeAttribute("aria-invalid");
  }

  fail(sentence) {
    at("where-problem").textContent = sentence;
    at("where").setAttribute("aria-invalid", "true");
    at("where").focus();
  }
}
